#!/usr/bin/env bash
# Renew the lock files: exact versions with hashes, for every supported Python, without an index URL.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="${UV:-uv}"
compile=("$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate)
"${compile[@]}" pyproject.toml --all-extras --group dev -o requirements/dev.txt
"${compile[@]}" pyproject.toml --only-group proto -o requirements/proto.txt 2>/dev/null ||
    "${compile[@]}" --group proto -o requirements/proto.txt
"${compile[@]}" --group fuzz -o requirements/fuzz.txt
! grep -nE '://' requirements/*.txt
