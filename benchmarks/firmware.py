"""Fits `smidgen.search.firmware` to real builds, and measures how far it is off on others.

    python benchmarks/firmware.py build 170     # builds that many networks, kept in firmware.jsonl
    python benchmarks/firmware.py fit           # writes the coefficients, prints the errors
    python benchmarks/firmware.py rate          # candidates weighed in a second of a core

Building needs gcc for Arm and the emulator. The networks are drawn from the shipped spaces by
seeds; the last 50 built are not fitted to but compared with.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smidgen.blocks.build import build
from smidgen.blocks.parts import expand
from smidgen.errors import ExportError, ModelError
from smidgen.export.footprint import footprint, quantize_on_noise
from smidgen.export.schedule import plan_memory
from smidgen.inputs import InputShape, Preprocess
from smidgen.search.count import count
from smidgen.search.firmware import examine
from smidgen.search.skeleton import skeleton
from smidgen.search.space import RandomTrial, list_spaces, load_space
from smidgen.search.weigh import Limits, weigh

BUILT = Path(__file__).parent / "firmware.jsonl"
FITTED = Path(__file__).parents[1] / "src" / "smidgen" / "search" / "firmware.json"
GREY = Preprocess("glyph", InputShape(1, 28, 28), (0.1307,), (0.3081,))
COLOUR = Preprocess("photo", InputShape(3, 32, 32), (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
MOST_MACS = 3_000_000  # what the emulator computes in seconds
HELD_OUT = 50


def build_one(seed: int) -> dict[str, Any] | None:
    """What the firmware of the seed's network holds and takes; None for one that is too large."""
    chance = random.Random(seed)
    space, preprocess = chance.choice(list_spaces()), chance.choice([GREY, COLOUR])
    try:
        network = load_space(space).draw(RandomTrial(seed)).network
        parts = expand(network, preprocess.shape, 10)
    except ModelError:
        return None
    if count(parts).macs > MOST_MACS:
        return None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build(parts)
        for norm in module.modules():  # as after a training: no two biases are the same
            if isinstance(norm, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(norm.bias, 0, 0.3)
    try:
        measured = footprint(quantize_on_noise(module, preprocess, "net"))
    except (ExportError, AssertionError) as problem:
        print(seed, problem, file=sys.stderr)
        return None
    start = time.process_time()
    graph = skeleton(parts, preprocess)
    contents = examine(graph, plan_memory(graph))
    return {
        "seed": seed, "space": space, "seconds": time.process_time() - start,
        "flash_bytes": measured.flash_bytes, "static": measured.static_bytes,
        "stack": measured.stack_bytes, "constants": contents.constant_bytes,
        "own_static": contents.static_bytes, "features": dict(contents.features),
    }  # fmt: skip


def build_many(wanted: int) -> None:
    torch.set_num_threads(1)
    rows = read()
    seed = 1 + max((row["seed"] for row in rows), default=-1)
    while len(rows) < wanted:
        row = build_one(seed)
        seed += 1
        if row is not None:
            rows.append(row)
            with BUILT.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def read() -> list[dict[str, Any]]:
    lines = BUILT.read_text("utf-8").splitlines() if BUILT.exists() else []
    return [json.loads(line) for line in lines]


def least_squares(rows: list[dict[str, Any]], values: list[float]) -> dict[str, float]:
    """The bytes of each feature; small ones where the rows cannot tell two features apart."""
    names = sorted({name for row in rows for name in row["features"]})
    matrix = np.array([[row["features"].get(name, 0) for name in names] for row in rows], float)
    ridge = 0.1 * np.eye(len(names))
    ridge[names.index("always")] = 0
    fitted = np.linalg.lstsq(
        np.vstack([matrix, ridge]), np.append(values, np.zeros(len(names))), rcond=None
    )[0]
    return {name: round(float(number), 1) for name, number in zip(names, fitted, strict=True)}


def fit() -> None:
    rows = read()
    known, other = rows[:-HELD_OUT], rows[-HELD_OUT:]
    code = least_squares(known, [row["flash_bytes"] - row["constants"] for row in known])
    stack = least_squares(known, [ram_of(row) - row["own_static"] for row in known])
    FITTED.write_text(json.dumps({"code": code, "stack": stack}, indent=1) + "\n", "utf-8")
    for name, group in (("fitted to", known), ("held out", other)):
        flash = [(r["constants"] + total(code, r)) / r["flash_bytes"] - 1 for r in group]
        ram = [(r["own_static"] + total(stack, r)) / ram_of(r) - 1 for r in group]
        for quantity, errors in (("flash", np.abs(flash)), ("RAM", np.abs(ram))):
            shares = f"{100 * errors.mean():.2f} % | {100 * errors.max():.2f} %"
            print(f"| {name} | {len(group)} | {quantity} | {shares} |")


def ram_of(row: dict[str, Any]) -> int:
    """The measured RAM: static data and the deepest stack."""
    return int(row["static"] + row["stack"])


def total(fitted: dict[str, float], row: dict[str, Any]) -> float:
    """The bytes of all features of a row."""
    return sum(fitted.get(name, 0.0) * value for name, value in row["features"].items())


def rate(trials: int = 300) -> None:
    """Prints how many candidates a core draws, weighs and judges in a second, by space."""
    torch.set_num_threads(1)
    small = Limits(flash_bytes=16_384, ram_bytes=16_384)
    known = {"8,000 parameters": Limits(params=8_000), "mcu-16k": small}
    for name in list_spaces():
        space = load_space(name)
        for title, limits in known.items():
            spent = {True: 0.0, False: 0.0}
            judged = {True: 0, False: 0}
            for seed in range(-1, trials):
                start = time.process_time()
                candidate = space.draw(RandomTrial(seed))
                fits = weigh(candidate.network, GREY, 10, limits).broken is None
                if seed >= 0:  # the first one loads modules
                    spent[fits] += time.process_time() - start
                    judged[fits] += 1
            rates = " | ".join(f"{judged[k]} | {judged[k] / spent[k]:.0f}" for k in (False, True))
            print(f"| `{name}` | {title} | {rates} | {trials / sum(spent.values()):.0f} |")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build", wanted]:
            build_many(int(wanted))
        case ["fit"]:
            fit()
        case ["rate"]:
            rate()
        case _:
            sys.exit(__doc__)
