"""The one place that reads PyTorch: what a network executes, in a vocabulary of our own.

    record = read_network(model, InputShape(1, 28, 28))
    for operation in record.flowing: ...

Counting, the native kernels and the quantiser are readers of that record.
"""

from smidgen.network import operations
from smidgen.network.consistency import read_network
from smidgen.network.guess import guess_input
from smidgen.network.operations import Call, Operation, Value
from smidgen.network.record import (
    Record,
    forward,
    keeps_order,
    noise,
    one_thread_per_operator,
    private_copy,
    record,
)

__all__ = [
    "Call",
    "Operation",
    "Record",
    "Value",
    "forward",
    "guess_input",
    "keeps_order",
    "noise",
    "one_thread_per_operator",
    "operations",
    "private_copy",
    "read_network",
    "record",
]
