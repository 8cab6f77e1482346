"""The layer table of a network and its totals."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from smidgen.anatomy.cost import macs, peak_activations, stored
from smidgen.anatomy.layout import Layout
from smidgen.anatomy.rules import layouts
from smidgen.anatomy.structure import Structure, examine
from smidgen.errors import ModelError, shown
from smidgen.escape import html_text, markdown
from smidgen.inputs import InputShape
from smidgen.network import (
    Call,
    Operation,
    Record,
    Value,
    guess_input,
    noise,
    one_thread_per_operator,
    private_copy,
    read_network,
    record,
)
from smidgen.network.operations import PartlyOverwritten
from smidgen.notebook import html_table


@dataclass(frozen=True)
class Layer:
    """One executed layer: a call of one of torch's modules, or a functional call.

    `output_shape` is that of one image, without the batch. `params` counts a tensor where it is
    read first. `receptive_field` and `jump` are in input pixels, the larger of the two axes.
    The shares are of the network's totals.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    params: int
    macs: int
    receptive_field: int
    jump: int | float
    params_share: float
    macs_share: float


@dataclass(frozen=True)
class Anatomy:
    """What one network weighs, counted from one executed forward pass of one image.

    Bytes are given for float32, and for int8 engines: one byte a weight and four a bias, one
    byte an activation.
    """

    model: str
    params: int
    trainable_params: int
    stored_numbers: int
    macs: int
    receptive_field: int
    weight_bytes: int
    weight_bytes_int8: int
    peak_activation_bytes: int
    peak_activation_bytes_int8: int
    input_shape: InputShape
    output_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    unused: dict[str, int]  # layers and parameters that nothing reads, with their numbers
    structure: Structure = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The document that `smidgen describe --json` prints."""
        document = asdict(self)
        del document["structure"]
        document["input"] = list(document.pop("input_shape"))
        return document

    def rows(self) -> list[tuple[str, ...]]:
        """The layer table as text, heading first and totals last."""
        heading = ("layer", "type", "output", "params", "share", "MACs", "share", "RF", "jump")
        body = [
            (
                layer.name,
                layer.type,
                "×".join(map(str, layer.output_shape)),
                f"{layer.params:,}",
                f"{layer.params_share:.1%}",
                f"{layer.macs:,}",
                f"{layer.macs_share:.1%}",
                str(layer.receptive_field),
                f"{layer.jump:g}",
            )
            for layer in self.layers
        ]
        field = str(self.receptive_field)
        total = ("total", "", "", f"{self.params:,}", "", f"{self.macs:,}", "", field, "")
        return [heading, *body, total]

    def facts(self) -> list[str]:
        """The totals that no column holds, one line each."""
        lines = [
            f"{self.trainable_params:,} of {self.params:,} parameters are trainable",
            f"{self.stored_numbers:,} numbers to store once batch norm is folded: "
            f"{self.weight_bytes:,} bytes as float32, {self.weight_bytes_int8:,} as int8",
            f"{self.peak_activation_bytes:,} bytes of activations at once as float32, "
            f"{self.peak_activation_bytes_int8:,} as int8",
        ]
        for name, count in self.unused.items():
            lines.append(f"never used: {name} ({count:,} parameters)")
        return lines

    def to_markdown(self) -> str:
        """The layer table and the totals in Markdown."""
        heading, *body = (tuple(map(markdown, row)) for row in self.rows())
        rule = ("---", "---", "---", *("---:",) * (len(heading) - 3))
        lines = ["| " + " | ".join(row) + " |" for row in (heading, rule, *body)]
        facts = (f"- {markdown(fact)}" for fact in self.facts())
        return "\n".join([f"**{markdown(self.model)}**", "", *lines, "", *facts])

    def _repr_html_(self) -> str:
        heading, *body = self.rows()
        facts = "".join(f"<li>{html_text(fact)}</li>" for fact in self.facts())
        return f"{html_table(body, heading, self.model)}<ul>{facts}</ul>"


@one_thread_per_operator()
def describe(
    model: nn.Module, input_shape: InputShape | None = None, name: str | None = None
) -> Anatomy:
    """What the network weighs: its layer table, totals and structure, without training.

    The model itself is left as it is; a copy runs forward once in eval mode and once in train
    mode, on noise. Without an `input_shape` it is guessed; `name` is what the result calls the
    network (its class name otherwise). Raises ModelError where the forward pass fails on
    (1, *input_shape), and where what is executed depends on what is in the image.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{shown(model)} is no module; smidgen.load gives one: load('tiny_mnist').model"
        )
    input_shape = input_shape or guess_input(model)
    evaluated = read_network(model, input_shape)
    trained = _trained(model, input_shape)
    assert evaluated.output is not None
    seen = layouts(evaluated)
    layers, name_of = _table(evaluated, seen)
    params = _params_read(evaluated)
    cost, peak = stored(evaluated), peak_activations(evaluated)
    return Anatomy(
        model=name or type(model).__name__,
        params=sum(params.values()),
        trainable_params=sum(n for name, n in params.items() if name in evaluated.trainable),
        stored_numbers=cost.numbers,
        macs=sum(layer.macs for layer in layers),
        receptive_field=_size(seen.get(evaluated.output)),
        weight_bytes=cost.bytes_float32,
        weight_bytes_int8=cost.bytes_int8,
        peak_activation_bytes=4 * peak,
        peak_activation_bytes_int8=peak,
        input_shape=input_shape,
        output_shape=evaluated.output.shape[1:],
        layers=tuple(layers),
        unused=_unused(evaluated, trained),
        structure=examine(evaluated, trained, seen, name_of),
    )


def count_parameters(model: nn.Module, input_shape: InputShape | None = None) -> int:
    """How many numbers of its parameters a network's forward pass reads: `params` of `describe`.

    Raises ModelError where the forward pass fails on (1, *input_shape).
    """
    input_shape = input_shape or guess_input(model)
    evaluated = record(private_copy(model, input_shape).eval(), noise(1, input_shape))
    return sum(_params_read(evaluated).values())


def _trained(model: nn.Module, input_shape: InputShape) -> Record:
    """The record in train mode; an empty one where only a batch of one goes through."""
    try:
        return record(private_copy(model, input_shape).train(), noise(2, input_shape))
    except ModelError:
        return Record()


def _size(layout: Layout | None) -> int:
    return 0 if layout is None else max(field.size for field in layout.fields)


def _jump(layout: Layout | None) -> int | float:
    jump = 0 if layout is None else max(field.jump for field in layout.fields)
    return int(jump) if jump == int(jump) else float(jump)


@dataclass
class _Row:
    start: int
    name: str
    kind: str
    ops: list[Operation]
    output: Value | None


def _table(record: Record, seen: dict[Value, Layout]) -> tuple[list[Layer], dict[Operation, str]]:
    """The executed layers in the order they ran, and the layer of each operation."""
    rows = sorted(_module_rows(record) + _functional_rows(record), key=lambda row: row.start)
    all_params = sum(_params_read(record).values()) or 1
    all_macs = sum(macs(op) for row in rows for op in row.ops) or 1
    calls: Counter[str] = Counter()
    counted: set[str] = set()
    layers: list[Layer] = []
    name_of: dict[Operation, str] = {}
    for row in rows:
        calls[row.name] += 1
        name = row.name if calls[row.name] == 1 else f"{row.name}#{calls[row.name]}"
        name_of |= dict.fromkeys(row.ops, name)
        read = {n for op in row.ops for v in op.inputs for n in v.state} - counted
        counted |= read
        params = sum(record.parameters.get(n, 0) for n in read)
        row_macs = sum(macs(op) for op in row.ops)
        layout = None if row.output is None else seen.get(row.output)
        layers.append(
            Layer(
                name=name,
                type=row.kind,
                output_shape=row.output.shape[1:] if row.output else (),
                params=params,
                macs=row_macs,
                receptive_field=_size(layout),
                jump=_jump(layout),
                params_share=params / all_params,
                macs_share=row_macs / all_macs,
            )
        )
    return layers, name_of


def _module_rows(record: Record) -> list[_Row]:
    """A row for each call of one of torch's own layers, whatever it executes (even nothing)."""
    own: dict[Call, list[Operation]] = {call: [] for call in record.calls if call.builtin}
    for op in record.flowing:
        if op.call in own:
            own[op.call].append(op)
    return [
        _Row(call.start, call.path or call.kind, call.kind, ops, call.output)
        for call, ops in own.items()
        if ops or (not call.children and call.output is not None and call.output.flows)
    ]


def _functional_rows(record: Record) -> list[_Row]:
    """A row for each operation that a module of the network's own calls; views are none."""
    rows = []
    for start, op in enumerate(record.operations):
        is_hidden = op.is_view or isinstance(op, PartlyOverwritten)
        if op.flows and not op.call.builtin and not is_hidden:
            name = f"{op.call.path}.{op.name}" if op.call.path else op.name
            rows.append(_Row(start, name, op.name, [op], op.outputs[0]))
    return rows


def _params_read(record: Record) -> dict[str, int]:
    return {name: record.parameters[name] for name in record.read & record.parameters.keys()}


def _unused(evaluated: Record, trained: Record) -> dict[str, int]:
    """Layers never called and parameters never read, in neither mode, with their numbers."""
    idle = [
        path for path in evaluated.uncalled if not trained.operations or path in trained.uncalled
    ]
    unread = evaluated.parameters.keys() - evaluated.read - trained.read
    unused = dict.fromkeys(idle, 0)
    for name in sorted(unread):
        layer = name.rpartition(".")[0]
        owner = layer if layer in unused else name
        unused[owner] = unused.get(owner, 0) + evaluated.parameters[name]
    return unused
