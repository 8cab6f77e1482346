"""smidgen's own engine, by its kernels."""

from __future__ import annotations

import sys

import torch
from networks import LEARNING_RATE, images_of, module_of, preprocess_of, serve

import smidgen
from smidgen.data import Split
from smidgen.recipe import parse_recipe
from smidgen.train import train_epoch
from smidgen.train.data_parallel import DataParallel
from smidgen.train.distributed import Process
from smidgen.train.optimizer import Optimizer
from smidgen.train.progress import Meter
from smidgen.train.resolve import resolve

name, batch, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
cpu, module, preprocess = torch.device("cpu"), module_of(name), preprocess_of(name)
optimizer = {"name": "sgd", "lr": LEARNING_RATE}
document = {"model": name, "data": "digits", "batch_size": batch, "optimizer": optimizer}
recipe = resolve(parse_recipe(document, "peers"), module, preprocess, cpu, Process())
split = Split(*map(torch.from_numpy, images_of(name, count)))


with DataParallel(module, recipe, preprocess, cpu, Process()) as engine:
    steps = Optimizer(engine.weights, recipe.optimizer)

    def epoch() -> None:
        meter = Meter(0, recipe, len(split), 0.0, lambda progress: None)
        train_epoch(engine, steps, split, 0, meter)
        meter.finish()

    serve(f"smidgen {smidgen.__version__}", epoch)
