#!/usr/bin/env bash
# Generate the Python code of the contract beside each .proto; usage: scripts/generate_proto.sh [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-proto}"
python="${PROTO_PYTHON:-python3}"
mkdir -p "$out"
"$python" -m grpc_tools.protoc -I proto --python_out="$out" --pyi_out="$out" proto/comity/v1/*.proto
"$python" -m grpc_tools.protoc -I proto --grpc_python_out="$out" proto/comity/v1/link.proto proto/comity/v1/query_service.proto proto/comity/v1/audit_service.proto
