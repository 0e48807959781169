"""Run a fuzz target: `python -m tests.fuzz.run link --runs 1000000`, or `make fuzz`.

With `atheris` at hand (`make fuzz` installs it) what is run is guided by coverage; without it, or with
`--plain`, inputs of the same mutator are drawn blindly, the same on every run of a seed. An input that breaks
a target is kept in `tests/fuzz/findings/`, which the default tests replay.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import logging
import random
import resource
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

FINDINGS = Path(__file__).parent / "findings"
CORPORA = Path(__file__).parents[2] / ".fuzzer" / "corpus"
"""What a guided run keeps of its inputs, until the next begins."""
NAMES = ("link", "envelope")
MOST_MEBIBYTES = 512
"""Memory of the whole process: one that needs more has kept what it heard."""
SLOWEST_SECONDS = 5


class Broken(Exception):
    """A target is broken; by this input, and its cause says how."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"broken by {data[:60].hex()}… ({len(data)} bytes)")
        self.data = data


def saved(target: str) -> list[Path]:
    """Return the inputs that once broke a target."""
    return sorted(FINDINGS.glob(f"{target}-*"))


def drawn(target: str, *, runs: int, seed: int) -> Counter[str]:
    """Run mutated seeds, blindly; return how often each word came back. Raises `Broken`."""
    from tests.fuzz.mutator import Mutator
    from tests.fuzz.seeds import LARGEST, ROOTS, SEEDS
    from tests.fuzz.targets import TARGETS

    mutator, act = Mutator(ROOTS[target], seed), TARGETS[target]
    pool, words, dice = list(SEEDS[target]()), Counter[str](), random.Random(seed)
    began = len(pool)
    for _ in range(runs):
        data = mutator.mutate(dice.choice(pool), dice.choice(pool), LARGEST)
        try:
            word = act(data)
        except Exception as error:
            raise Broken(data) from error
        words[word] += 1
        if words[word] == 1 and len(pool) < began + 500:  # what got somewhere new is changed further
            pool.append(data)
    return words


def keep(target: str, data: bytes) -> Path:
    """Write an input that broke a target among the findings; return where."""
    FINDINGS.mkdir(exist_ok=True)
    path = FINDINGS / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without coverage, also where atheris is there")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is None or options.plain:
        return _plain(options)
    return _guided(atheris, options)


def _plain(options: argparse.Namespace) -> int:
    began = time.monotonic()
    try:
        words = drawn(options.target, runs=options.runs, seed=options.seed)
    except Broken as broken:
        print(f"kept in {keep(options.target, broken.data)}")
        raise
    _report(options.target, "drawn blindly", options.runs, time.monotonic() - began, words)
    return 0


def _guided(atheris: Any, options: argparse.Namespace) -> int:
    """Let atheris choose among inputs by the branches of `comity` that they reach; it ends the process."""
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["comity"]):
        from tests.fuzz.mutator import Mutator
        from tests.fuzz.seeds import LARGEST, ROOTS, SEEDS
        from tests.fuzz.targets import TARGETS
    act, words, began, done = TARGETS[options.target], Counter[str](), time.monotonic(), 0
    mutator, seeds = Mutator(ROOTS[options.target], options.seed), list(SEEDS[options.target]())

    def once(data: bytes) -> None:
        nonlocal done
        done += 1
        words[act(data)] += 1
        if done == options.runs:  # libFuzzer leaves without coming back here
            _report(options.target, "guided by coverage", done, time.monotonic() - began, words)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        mutator.dice.seed(seed)
        return mutator.mutate(data, mutator.dice.choice(seeds), most)

    corpus = CORPORA / options.target
    shutil.rmtree(corpus, ignore_errors=True)
    for folder in (corpus, FINDINGS):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    settings = {
        "runs": options.runs,
        "seed": options.seed,
        "max_len": LARGEST,
        "rss_limit_mb": MOST_MEBIBYTES,
        "timeout": SLOWEST_SECONDS,
        "verbosity": 0,
        "artifact_prefix": f"{FINDINGS}/{options.target}-",
    }
    arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in settings.items()), str(corpus)]
    atheris.Setup(arguments, once, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


def _report(target: str, how: str, runs: int, seconds: float, words: Counter[str]) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{target}: {runs:,} executions {how} in {seconds:.0f} s, {runs / seconds:,.0f} a second, "
        f"{len(words)} different ends, at most {memory} MiB"
    )
    for word, times in words.most_common():
        print(f"  {times:>9,}  {word}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
