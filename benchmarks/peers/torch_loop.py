"""The best plain loop of torch: resident tensors, a fused optimizer; how it is laid out is argued.

python torch_loop.py MODEL BATCH COUNT CORES eager|compile nchw|nhwc
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F
from networks import LEARNING_RATE, MOMENTUM, images_of, module_of, normalised, serve

name, batch, count, cores = sys.argv[1], *map(int, sys.argv[2:5])
torch.set_num_threads(cores)
layout = torch.channels_last if "nhwc" in sys.argv else torch.contiguous_format
module = module_of(name).train().to(memory_format=layout)
pixels, labels_ = images_of(name, count)
images = torch.from_numpy(normalised(pixels)).to(memory_format=layout)
labels = torch.from_numpy(labels_)
optimizer = torch.optim.SGD(
    module.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True, fused=True
)
run = torch.compile(module) if "compile" in sys.argv else module


def epoch() -> None:
    for places in torch.randperm(count).split(batch):
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(run(images[places]), labels[places]).backward()
        optimizer.step()


serve(f"torch {torch.__version__}", epoch)
