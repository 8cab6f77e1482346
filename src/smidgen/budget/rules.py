"""The keys of a budget file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from smidgen.errors import BudgetError
from smidgen.mnist import NUM_CLASSES
from smidgen.schema import Frozen, list_shipped, load_document

Limit = Annotated[int, Field(ge=0, le=10**15)] | None
Share = Annotated[float, Field(ge=0, le=1)] | None
Kind = Literal["batch_norm", "dropout", "residual", "global_average_pool", "linear"]


class Budget(Frozen):
    """The rules of one budget; what is not set is not limited.

    Limits are inclusive: "under 8,000 parameters" is `max_params = 7_999`. `batch_norm` is one
    after every convolution but the last, and `global_average_pool` one that reads the whole map.
    Flash and RAM are those of a firmware with the network in eight bits, built for Cortex-M0+ and
    measured; the other bytes are counted from the network.
    The figures of a training need a run folder; accuracies are fractions on the test images, the
    mean over the seeds where there are several, and `min_last_accuracy` holds for every one of
    the last `last_epochs` epochs.
    """

    title: Annotated[str, Field(min_length=1, max_length=1000)]
    source: Annotated[str, Field(max_length=1000)] = ""
    classes: Annotated[int, Field(ge=2, le=1_000_000)] = NUM_CLASSES

    max_params: Limit = None
    max_stored_numbers: Limit = None
    max_macs: Limit = None
    max_weight_bytes: Limit = None
    max_weight_bytes_int8: Limit = None
    max_peak_activation_bytes: Limit = None
    max_peak_activation_bytes_int8: Limit = None
    max_flash_bytes: Limit = None
    max_ram_bytes: Limit = None
    min_receptive_field: Limit = None
    max_receptive_field: Limit = None
    require: list[Kind] = Field(default_factory=list)
    forbid: list[Kind] = Field(default_factory=list)

    max_epochs: Limit = None
    max_images_seen: Limit = None
    min_first_epoch_accuracy: Share = None
    min_train_accuracy: Share = None
    min_accuracy: Share = None
    min_last_accuracy: Share = None
    last_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    max_test_reads: Limit = None

    @property
    def weighs_firmware(self) -> bool:
        """Whether a rule asks for what only a built firmware can say."""
        return self.max_flash_bytes is not None or self.max_ram_bytes is not None


def list_budgets() -> list[str]:
    """The names of the shipped budgets, sorted."""
    return list_shipped("budgets")


def load_budget(name_or_path: str | Path) -> Budget:
    """The budget of that name, or of that TOML file.

    Raises BudgetError for an unknown name, a file that is not TOML, and every key or value that
    is not allowed, with the key.
    """
    return load_document(Budget, "budgets", name_or_path, BudgetError)
