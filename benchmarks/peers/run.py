"""Training steps beside the best plain loops of torch, JAX and TensorFlow.

    pip install jax tensorflow-cpu        # where they are wanted; what is missing is left out
    python benchmarks/performance.py peers

All train the same network from the same weights on the same random images, in float32, by SGD with
momentum, without augmentation; JAX and TensorFlow end where the loss of their first batch is not
torch's. Each is a process of its own, on as many cores as the table says, that waits while another
one trains: an epoch each, in turn, round by round. The figures are medians over the rounds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from smidgen.bench.rates import matmul_flops, training_flops
from smidgen.mnist import INPUT_SHAPE
from smidgen.zoo import create_model, default_input

ROUNDS = 5
ALL = os.cpu_count() or 1
SETTINGS = [  # model, images of a batch, of an epoch, cores
    ("skip_13k", 64, 3_200, 1),
    ("tiny_mnist", 64, 12_800, 1),
    ("smidgen_8k", 64, 6_400, 1),
    ("smidgen_cifar_78k", 128, 1_280, ALL),
]
OURS = "smidgen"
LOOPS = {
    OURS: ("smidgen_loop.py",),
    "torch, (N, C, H, W)": ("torch_loop.py", "eager", "nchw"),
    "torch, channels last": ("torch_loop.py", "eager", "nhwc"),
    "torch.compile, (N, C, H, W)": ("torch_loop.py", "compile", "nchw"),
    "torch.compile, channels last": ("torch_loop.py", "compile", "nhwc"),
    "TensorFlow": ("tensorflow_loop.py", "graph"),
    "JAX": ("jax_loop.py",),
}


def measure() -> list[dict[str, Any]]:
    """A row for each setting: each round's seconds by loop, and the matrix product's FLOP/s."""
    return [_measure(*setting) for setting in SETTINGS]


def _measure(model: str, batch: int, count: int, cores: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {}
    versions, product = [], []
    with ExitStack() as stack:
        running = {}
        for name, (file, *how) in LOOPS.items():
            if find_spec(file.removesuffix("_loop.py")) is None:
                continue
            arguments = [file, model, str(batch), str(count), str(cores), *how]
            loop: Any = stack.enter_context(_start(arguments, cores))
            versions.append(json.loads(loop.stdout.readline()))
            running[name], seconds[name] = loop, []
        for _ in range(ROUNDS):
            for name, loop in running.items():
                print(file=loop.stdin, flush=True)
                seconds[name].append(float(loop.stdout.readline()))
            product.append(matmul_flops() / ALL * cores)
    shape = default_input(model) or INPUT_SHAPE
    return {
        "model": model, "batch": batch, "images": count, "cores": cores, "seconds": seconds,
        "versions": sorted(set(versions)), "matmul_flops_per_second": product,
        "flops_per_image": training_flops(create_model(model), shape),
    }  # fmt: skip


def _start(arguments: Sequence[str], cores: int) -> subprocess.Popen[str]:
    """A loop, which says its version when it has warmed up."""
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=Path(__file__).parent, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(cores)},
        preexec_fn=lambda: os.sched_setaffinity(0, range(cores)),
    )  # fmt: skip


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """The tables of docs/performance.md."""
    heads = [f"{r['model']}, batch {r['batch']}, {_cores(r['cores'])}" for r in rows]
    lines = ["## Beside the best plain loops of other libraries, images/s\n"]
    lines += [f"| | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(rows)}"]
    for name in LOOPS:
        rates = [_rate(row, name) for row in rows]
        shown = [f"{rate:,.0f}" if rate else "–" for rate in rates]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    for about, ratio in (
        ("smidgen / the best of torch", lambda row: f"{_against_torch(row):.2f} ×"),
        ("smidgen / a matrix product's FLOP/s", lambda row: f"{100 * _of_product(row):.0f}%"),
    ):
        lines.append(f"| {about} | {' | '.join(map(ratio, rows))} |")
    versions = sorted({version for row in rows for version in row["versions"]})
    lines.append(
        "\nThe same network from the same weights, random images, SGD with momentum, no "
        f"augmentation; medians of {ROUNDS} rounds in turn (`benchmarks/peers`). "
        f"{', '.join(versions)}.\n"
    )
    return "\n".join(lines)


def _cores(count: int) -> str:
    return "one core" if count == 1 else f"{count} cores"


def _rate(row: Mapping[str, Any], name: str) -> float | None:
    seconds = row["seconds"].get(name)
    return row["images"] / statistics.median(seconds) if seconds else None


def _against_torch(row: Mapping[str, Any]) -> float:
    """The median of the rounds' ratios to that loop of torch which is the fastest of the round."""
    torch = [times for name, times in row["seconds"].items() if name.startswith("torch")]
    pairs = zip(row["seconds"][OURS], zip(*torch, strict=True), strict=True)
    return statistics.median(min(others) / own for own, others in pairs)


def _of_product(row: Mapping[str, Any]) -> float:
    rates = (row["images"] / taken for taken in row["seconds"][OURS])
    both = zip(rates, row["matmul_flops_per_second"], strict=True)
    return statistics.median(rate * row["flops_per_image"] / most for rate, most in both)
