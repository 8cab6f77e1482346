"""Feeds the readers of tests/fuzz/targets.py what atheris makes up, and says how often.

    python tests/fuzz/run.py                        # every target, 60 seconds in all
    python tests/fuzz/run.py picture --seconds 600
    python tests/fuzz/run.py --runs 200000 --corpus /tmp/corpus   # keeps what covers new code

A finding ends with exit code 1; its input is a file crash-… or timeout-… in the current folder. It
needs atheris, which has wheels for Linux on x86-64: pip install atheris
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ONE = "--one"  # feeds one target in this process, with the arguments of libFuzzer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("targets", nargs="*", help="all, where none is named")
    parser.add_argument("--seconds", type=int, default=60, help="in all")
    parser.add_argument("--runs", type=int, default=-1, help="of each target, at most")
    parser.add_argument("--corpus", type=Path, help="a folder, with one folder for each target")
    chosen = parser.parse_args()
    from targets import TARGETS, examples

    names = chosen.targets or list(TARGETS)
    executions, failed = 0, []
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            corpus = chosen.corpus / name if chosen.corpus else Path(temporary)
            corpus.mkdir(parents=True, exist_ok=True)
            for number, content in enumerate(examples(name)):
                (corpus / f"example-{number}").write_bytes(content)
            count, seconds, code = fuzz(name, corpus, chosen.seconds // len(names), chosen.runs)
        executions += count
        failed += [name] if code else []
        print(f"{name:8} {count:>9,} executions, {seconds:.0f} s, {'FOUND' if code else 'nothing'}")
    print(f"{executions:,} executions; findings in: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def fuzz(name: str, corpus: Path, seconds: int, runs: int) -> tuple[int, float, int]:
    """How often libFuzzer executed a target, for how long, and its exit code."""
    command = [
        sys.executable, __file__, ONE, name, str(corpus), f"-max_total_time={seconds}",
        f"-runs={runs}", "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=4096",
        "-max_len=8192", "-verbosity=0",
    ]  # fmt: skip
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    printed = done.stdout.decode(errors="replace")
    if done.returncode:
        print(printed[-4000:])
    count = re.search(r"number_of_executed_units: (\d+)", printed)
    return int(count[1]) if count else 0, time.monotonic() - start, done.returncode


def fuzz_here(name: str, arguments: list[str]) -> None:
    """Hands this process to libFuzzer, which ends it."""
    import atheris

    with atheris.instrument_imports(include=["smidgen", "tomllib", "json", "PIL"]):
        from targets import check
    atheris.Setup([sys.argv[0], *arguments], lambda content: check(name, content))
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == [ONE]:
        fuzz_here(sys.argv[2], sys.argv[3:])
    sys.exit(main())
