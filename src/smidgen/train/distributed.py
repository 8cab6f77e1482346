"""The processes that train together under torchrun."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Process:
    """This process's rank among `world_size` processes that train together; by default alone."""

    rank: int = 0
    world_size: int = 1

    def sum(self, vector: Tensor) -> Tensor:
        """The vector, which becomes its sum over all processes."""
        if self.world_size > 1:
            dist.all_reduce(vector)
        return vector

    def leave(self) -> None:
        """Ends the process group."""
        if self.world_size > 1:
            dist.destroy_process_group()


def join_processes() -> Process:
    """This process's place under torchrun, once all have joined the group; alone elsewhere."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return Process()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Process(dist.get_rank(), world_size)


def is_main_process() -> bool:
    """Whether this process prints and reports: rank 0 under torchrun, any process elsewhere."""
    return os.environ.get("RANK", "0") == "0"
