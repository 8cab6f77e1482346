"""The kernels as other compilers' flags build them, on networks drawn from seeds.

    python tests/kernel_builds.py avx2                  # and `plain`: x86-64 without AVX
    python tests/kernel_builds.py neon                  # for arm64, emulated by qemu
    python tests/kernel_builds.py address --count 300   # under the address and undefined sanitizers
    python tests/kernel_builds.py thread --count 300    # under the thread sanitizer, three threads

Each network's step is compared with torch in float64, and its shards on threads with those on one.
A digest of all that the shards add up is printed: the same for all builds that multiply and add in
one rounding, so for all but `plain` and the sanitizers'. Ends with exit code 1 where a network is
wrong or a sanitizer speaks up. gcc on Linux.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SANITIZED = ("-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
BUILDS = {
    "native": (),
    "avx2": ("-mno-avx512f", "-mavx2", "-mfma"),
    "plain": ("-march=x86-64",),
    "neon": ("-march=x86-64",),  # prepares the steps
    "address": (*SANITIZED, "-fsanitize=address,undefined"),
    "thread": (*SANITIZED, "-fsanitize=thread"),
}
RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so"}  # Python has to load them first
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "halt_on_error=1"}


def start_again(build: str) -> None:
    """Replaces this process by one with the sanitizer's runtime, at fixed addresses."""
    asked = ["gcc", f"-print-file-name={RUNTIMES[build]}"]
    runtime = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    os.environ |= OPTIONS | {"LD_PRELOAD": runtime, "OMP_NUM_THREADS": "1"}
    os.execvp("setarch", ["setarch", "-R", sys.executable, *sys.argv])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", choices=BUILDS)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=100, help="networks")
    options = parser.parse_args()
    if options.build in RUNTIMES and "LD_PRELOAD" not in os.environ:
        start_again(options.build)
    import torch

    from smidgen.train.native import library

    torch.set_num_threads(1)
    module = sys.modules["smidgen.train.native.library"]
    module.FLAGS = (*module.FLAGS, *BUILDS[options.build])  # type: ignore[attr-defined]
    os.environ.pop("LD_PRELOAD", None)  # not for the compiler
    built = library()
    if built is None:
        raise SystemExit("the kernels could not be built")
    if options.build == "neon":
        from kernels_elsewhere import take_steps_elsewhere

        folder = tempfile.TemporaryDirectory()  # until this process ends
        take_steps_elsewhere(Path(folder.name))
    from torch_oracle import digest_of_drawn, shards_of_drawn, step_of_drawn

    wrong, seeds = 0, range(options.first, options.first + options.count)
    checks = [step_of_drawn]
    if options.build != "neon":  # whose shards are computed one after the other
        checks.append(shards_of_drawn)
    for seed in seeds:
        bad = [verdict for check in checks if (verdict := check(seed)).startswith("wrong")]
        wrong += bool(bad)
        if bad:
            print(f"seed {seed}: {bad}", flush=True)
    print(
        f"{options.build}, {built.smidgen_lanes()} lanes: {options.count} networks, {wrong} wrong, "
        f"digest {digest_of_drawn(seeds)}"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
