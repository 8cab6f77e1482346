r"""Proves every export of every shipped model on all test images, and weighs the C code.

    python benchmarks/ship.py                # all shipped models under 80,000 parameters
    python benchmarks/ship.py smidgen_8k     # these, or run folders; the others keep their rows

The row `grey_96` is that of the run that these make, where cifar10-jpeg is CIFAR-10 as JPEG:

    smidgen train benchmarks/networks/grey_96.toml --data folder:cifar10-jpeg --size 96x96 --grey \
        --epochs 3 --out grey_96
    python benchmarks/ship.py grey_96

Each is fed with the test images of the data that it was trained on. Figures are kept in
benchmarks/ship.json, and docs/ship-parity.md is written from them. The emulated cores take most of
the time, minutes for each model; large networks get fewer images there.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from smidgen.anatomy import count_parameters, describe
from smidgen.data import Data, load_data, normalise
from smidgen.export.c import write_c
from smidgen.export.footprint import footprint
from smidgen.export.formats import is_small
from smidgen.export.onnx import run_onnx, write_onnx
from smidgen.export.parity import Parity, compare, run_cortex_m, run_host_c, run_javascript
from smidgen.export.qdq import write_qdq
from smidgen.inference import accuracy, logits
from smidgen.quantize import Graph, quantize_for, to_document
from smidgen.target import Target, load
from smidgen.train.record import hardware, versions
from smidgen.zoo import has_weights, list_models, weights_header

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "ship.json"
LARGEST = 80_000  # parameters
EMULATED = 50_000_000_000  # multiply-accumulates that an emulated core is asked for
SANITIZED = 50_000_000_000  # the same of a sanitized build
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
BUILDS = {
    "C, gcc -O3 -march=native": ("-O3", "-march=native"),
    "C, -Os, sanitizers": ("-Os", *SANITIZERS),
    "C, -O2 -march=native, sanitizers": ("-O2", "-march=native", *SANITIZERS),
}
CORES = {"Cortex-M0+ (emulated)": "cortex-m0plus", "Cortex-M4 (emulated)": "cortex-m4"}


def measure(target: Target, data: Data) -> dict[str, Any]:
    """Everything that the document says of one model."""
    graph = quantize_for(data, target.model, target.preprocess, target.name)
    floats = logits(target.model, data.test.images, target.preprocess).numpy()
    integers = graph.run(data.test.images.numpy())
    header = target.run.weights_header() if target.run else weights_header(target.name)
    found: dict[str, Any] = {
        "params": count_parameters(target.model),
        "weights": header["fingerprint"],
        "data": target.data,
        "weight_bytes": graph.weight_bytes,
        "float": accuracy(torch.from_numpy(floats), data.test.labels),
        "integer": accuracy(torch.from_numpy(integers), data.test.labels),
        "proofs": {},
    }
    for core in ("cortex-m0plus", "cortex-m4"):
        weighed = footprint(graph, core)
        found[core] = {"flash": weighed.flash_bytes, "ram": weighed.ram_bytes}
    for proof in prove(target, graph, floats, integers, data):
        print(f"  {proof}", flush=True)
        found["proofs"][proof.runner] = {
            "images": proof.images,
            "label_mismatches": proof.label_mismatches,
            "max_abs_diff": proof.max_abs_diff,
        }
    return found


def prove(
    target: Target, graph: Graph, floats: np.ndarray, integers: np.ndarray, data: Data
) -> Iterator[Parity]:
    """Every runner on all test images, the host's C on as many images of noise, too.

    Sanitized builds and emulated cores take long: they get fewer images of a large network.
    """
    images = data.test.images.numpy()
    noise = np.random.default_rng(0).integers(0, 256, images.shape).astype(np.uint8)
    # In turn, so that the first few are of both.
    both = np.stack([images, noise], axis=1).reshape(-1, *images.shape[1:])
    answers = np.stack([integers, graph.run(noise)], axis=1).reshape(len(both), -1)
    macs = describe(target.model, target.preprocess.shape).macs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in write_c(graph).items():
            (folder / file).write_text(text, encoding="utf-8")
        for build, flags in BUILDS.items():
            most = SANITIZED // macs if "-fsanitize" in " ".join(flags) else len(both)
            yield compare(build, answers[:most], run_host_c(folder, both[:most], flags))
        few = EMULATED // macs
        large = not is_small(footprint(graph), graph)
        for runner, core in CORES.items():
            found, _ = run_cortex_m(folder, images[:few], core, large)
            yield compare(runner, integers[:few], found)
    yield compare("JavaScript, Node", integers, run_javascript(to_document(graph), images))
    inputs = normalise(data.test.images, target.preprocess).numpy()
    yield compare(
        "ONNX float", floats, run_onnx(write_onnx(target.model, target.preprocess), inputs)
    )
    yield compare(
        "ONNX int8",
        integers * graph.logit_scale,
        run_onnx(write_qdq(graph, target.preprocess), inputs),
    )


def write(figures: dict[str, Any]) -> None:
    """Writes docs/ship-parity.md."""
    models = figures["models"]
    drops: dict[str, list[float]] = defaultdict(list)  # in points, by data
    for m in models.values():
        drops[m["data"]].append(100 * (m["float"] - m["integer"]))
    runners = list(next(iter(models.values()))["proofs"])
    machine = figures["hardware"]
    lines = [
        "# Exports, proven",
        "",
        "Written by `python benchmarks/ship.py`: the shipped models that have been run, on all "
        "10,000 test images of their data; the host's C on 10,000 images of noise as well. The "
        "sanitized builds and the emulated cores get fewer images of a network that is large.",
        "",
        "| model | data | parameters | bytes of weights | float | integers | points lost |"
        " flash, M0+ | RAM, M0+ | flash, M4 | RAM, M4 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| `{name}` | {m['data']} | {m['params']:,} | {m['weight_bytes']:,} | "
            f"{m['float']:.2%} | {m['integer']:.2%} | {100 * (m['float'] - m['integer']):+.2f} | "
            + " | ".join(
                f"{m[core][what]:,}"
                for core in ("cortex-m0plus", "cortex-m4")
                for what in ("flash", "ram")
            )
            + " |"
            for name, m in models.items()
        ),
        "",
        *(
            f"On {data} eight bits cost {fmean(lost):.3f} points on the mean, {max(lost):.2f} at "
            f"most (allowed: {'0.05 and 0.10' if data == 'mnist' else '0.15'})."
            for data, lost in drops.items()
        ),
        "",
        "Flash and RAM are those of the smallest firmware that holds the network, at `-Os`, code, "
        "vectors, start-up and measured stack included; the image is the caller's.",
        "",
        "## Images whose logits differ in any bit",
        "",
        "| model | " + " | ".join(runner for runner in runners if "ONNX" not in runner) + " |",
        "| --- |" + " ---: |" * sum("ONNX" not in runner for runner in runners),
        *(
            f"| `{name}` | "
            + " | ".join(_bits(m["proofs"][r]) for r in runners if "ONNX" not in r)
            + " |"
            for name, m in models.items()
        ),
        "",
        "The source is the integer graph in numpy. Sanitizers are gcc's for addresses and "
        "undefined behaviour; any finding would have ended the run.",
        "",
        "## ONNX Runtime",
        "",
        "| model | float: labels that differ | float: largest difference |"
        " int8: labels that differ | int8: largest difference |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(f"| `{name}` | {_onnx(m['proofs'])} |" for name, m in models.items()),
        "",
        "The float file is held to eager torch (1e-4 allowed), the eight-bit one to the integer "
        "graph, from which a runtime's own rounding may stray by a step of a grid.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores; "
        + ", ".join(f"{name} {version}" for name, version in figures["versions"].items()),
    ]
    (ROOT / "docs" / "ship-parity.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _bits(proof: dict[str, Any]) -> str:
    same = proof["max_abs_diff"] == 0
    return f"0 of {proof['images']:,}" if same else f"**up to {proof['max_abs_diff']:.0f}**"


def _onnx(proofs: dict[str, Any]) -> str:
    both = (proofs["ONNX float"], proofs["ONNX int8"])
    return " | ".join(f"{p['label_mismatches']:,} | {p['max_abs_diff']:.1e}" for p in both)


def main() -> None:
    known = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {"models": {}}
    names = sys.argv[1:] or [name for name in list_models() if has_weights(name)]
    for name in names:
        target = load(name)
        if count_parameters(target.model) >= LARGEST:
            continue
        print(name, flush=True)
        row = target.run.path.name if target.run else target.name
        known["models"][row] = measure(target, load_data(target.data))
        known["models"] = dict(sorted(known["models"].items(), key=lambda m: m[1]["params"]))
        known |= {"hardware": hardware(), "versions": versions()}
        FIGURES.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        write(known)


if __name__ == "__main__":
    main()
