"""Rules and measurements become a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from smidgen.budget.rules import Budget
from smidgen.notebook import html_table

if TYPE_CHECKING:  # this module loads without torch
    from smidgen.anatomy import Anatomy, Behaviour

Value = int | float | str


def shown(value: Value) -> str:
    """A limit or a measurement as people read it; a float is a share."""
    if isinstance(value, float):
        return f"{100 * value:.2f} %"
    return f"{value:,}" if isinstance(value, int) else value


@dataclass(frozen=True)
class Rule:
    """One rule: its limit, what was measured, and, where it fails, what to change."""

    rule: str
    limit: Value
    actual: Value
    passed: bool
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """Every rule that could be measured; `unmeasured` names those that need a run folder."""

    rules: tuple[Rule, ...]
    unmeasured: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    def to_dict(self) -> dict[str, Any]:
        """The document that `smidgen check --json` prints."""
        return {
            "passed": self.passed,
            "rules": [asdict(rule) for rule in self.rules],
            "unmeasured": list(self.unmeasured),
        }

    def _repr_html_(self) -> str:
        rows = [
            (rule.rule, shown(rule.limit), shown(rule.actual),
             "ok" if rule.passed else "BROKEN", rule.note)
            for rule in self.rules
        ]  # fmt: skip
        left_out = f"<p>Not measured: {', '.join(self.unmeasured)}</p>" if self.unmeasured else ""
        caption = "passed" if self.passed else "failed"
        return html_table(rows, ("rule", "limit", "actual", "verdict", ""), caption) + left_out


@dataclass(frozen=True)
class Score:
    """A measured share with its 95 % interval, and what that interval is over."""

    value: float
    interval: tuple[float, float]
    over: str  # "10,000 images", "5 seeds"


@dataclass(frozen=True)
class Training:
    """How one training went, or several seeds of it; None where it was not recorded."""

    epochs: int
    images_seen: int
    images_per_epoch: int  # the size of the training split, drawn digits counted
    first_epoch_accuracy: Score | None
    train_accuracy: float | None
    accuracy: Score
    last_accuracy: Score | None  # the lowest of the last epochs
    test_reads: int


@dataclass(frozen=True)
class Firmware:
    """What the smallest firmware with a network takes, in bytes, or why that is not known."""

    flash_bytes: int = 0
    ram_bytes: int = 0
    problem: str = ""


def judge(
    budget: Budget,
    anatomy: Anatomy,
    behaviour: Behaviour,
    training: Training | None = None,
    firmware: Firmware | None = None,
) -> Verdict:
    """The verdict of a budget over one network, and over its training and firmware where known.

    How a network behaves is judged by every budget: its output shape, finite outputs and
    gradients, dropout in training only, nothing unused, no image that depends on its neighbours.
    """
    rules = [
        *_weight(budget, anatomy),
        *_field(budget, anatomy),
        *_kinds(budget, anatomy),
        *_behaviour(budget, anatomy, behaviour),
        *(_firmware(budget, firmware) if firmware else ()),
        *(_training(budget, training) if training else ()),
    ]
    judged = {rule.rule for rule in rules}
    outside = (*_FIRMWARE_RULES, *_TRAINING_RULES)
    wanted = [key for key in outside if getattr(budget, key) is not None]
    return Verdict(tuple(rules), tuple(key for key in wanted if key not in judged))


_FIRMWARE_RULES = ("max_flash_bytes", "max_ram_bytes")
_TRAINING_RULES = (
    "max_epochs", "max_images_seen", "min_first_epoch_accuracy", "min_train_accuracy",
    "min_accuracy", "min_last_accuracy", "max_test_reads",
)  # fmt: skip


def _rule(rule: str, limit: Value, actual: Value, passed: bool, advice: str) -> Rule:
    """The rule, with the advice where it is broken."""
    return Rule(rule, limit, actual, passed, "" if passed else advice)


def _at_most(rule: str, limit: int | None, actual: int, advice: str) -> Iterator[Rule]:
    """The rule that a figure may not pass a limit, if there is a limit."""
    if limit is not None:
        advice = f"{actual - limit:,} too many: {advice}"
        yield _rule(rule, limit, actual, actual <= limit, advice)


def _weight(budget: Budget, anatomy: Anatomy) -> Iterator[Rule]:
    if not anatomy.layers:
        return  # views and nothing else: it weighs nothing
    narrow = f"narrow {_heaviest(anatomy, 'params')}"
    earlier = f"pool or stride before {_heaviest(anatomy, 'macs')}"
    smaller = "pool or stride earlier, or narrow the first layers"
    hints = {
        "params": narrow,
        "stored_numbers": narrow,
        "macs": earlier,
        "weight_bytes": narrow,
        "weight_bytes_int8": narrow,
        "peak_activation_bytes": smaller,
        "peak_activation_bytes_int8": smaller,
    }
    for figure, hint in hints.items():
        rule = f"max_{figure}"
        yield from _at_most(rule, getattr(budget, rule), getattr(anatomy, figure), hint)


def _firmware(budget: Budget, firmware: Firmware) -> Iterator[Rule]:
    """What was measured of a firmware; a limit that could not be measured is not kept."""
    measured = (firmware.flash_bytes, firmware.ram_bytes)
    hints = ("narrow the layers with the most weights", "pool earlier, or narrow the first layers")
    for rule, actual, hint in zip(_FIRMWARE_RULES, measured, hints, strict=True):
        limit = getattr(budget, rule)
        if limit is not None and firmware.problem:
            yield Rule(rule, limit, "not measured", False, firmware.problem)
        else:
            yield from _at_most(rule, limit, actual, hint)


def _heaviest(anatomy: Anatomy, figure: str) -> str:
    """The layer with the most parameters or MACs, and its share."""
    layer = max(anatomy.layers, key=lambda layer: float(getattr(layer, figure)))
    what = {"params": "parameters", "macs": "MACs"}[figure]
    return f"layer {layer.name}, which has {getattr(layer, f'{figure}_share'):.0%} of the {what}"


def _field(budget: Budget, anatomy: Anatomy) -> Iterator[Rule]:
    actual, least = anatomy.receptive_field, budget.min_receptive_field
    if least is not None:
        advice = "add a convolution or a pool, or dilate one"
        yield _rule("min_receptive_field", least, actual, actual >= least, advice)
    most, advice = budget.max_receptive_field, "remove a pool or shrink a kernel"
    yield from _at_most("max_receptive_field", most, actual, advice)


def _kinds(budget: Budget, anatomy: Anatomy) -> Iterator[Rule]:
    found = {
        "batch_norm": _batch_norm(anatomy),
        "dropout": _present(anatomy.structure.dropouts, "dropout", "add nn.Dropout(0.05)"),
        "residual": _present(
            anatomy.structure.residuals, "residual connection", "add x + block(x) somewhere"
        ),
        "global_average_pool": _global_pool(anatomy),
        "linear": _present(anatomy.structure.linears, "linear layer", "add one"),
    }
    for kind in budget.require:
        present, actual, advice = found[kind]
        yield _rule(kind, "required", actual, present, advice)
    for kind in budget.forbid:
        present, actual, _ = found[kind]
        advice = f"replace it ({actual}), such as by a 1 × 1 convolution and a global average pool"
        yield _rule(kind, "forbidden", actual, not present, advice)


def _present(names: tuple[str, ...], what: str, advice: str) -> tuple[bool, str, str]:
    """Whether there are such layers, which, and what to do where there are none."""
    return bool(names), ", ".join(dict.fromkeys(names)) or f"no {what}", advice


def _batch_norm(anatomy: Anatomy) -> tuple[bool, str, str]:
    last = anatomy.structure.convolutions[-1:]
    bare = [name for name in anatomy.structure.without_batch_norm if name not in last]
    if not anatomy.structure.convolutions:
        return False, "no convolution", "add convolutions with batch norm after each"
    if bare:
        where = f"{'layer' if len(bare) == 1 else 'layers'} {', '.join(bare)}"
        return False, f"none after {where}", f"add nn.BatchNorm2d after {where}"
    if anatomy.structure.without_batch_norm == anatomy.structure.convolutions:
        return False, "no batch norm", "add nn.BatchNorm2d after the convolution"
    return True, "after every convolution but the last", ""


def _global_pool(anatomy: Anatomy) -> tuple[bool, str, str]:
    pool = anatomy.structure.pool
    if pool is None:
        return False, "no global average pool", "end in nn.AdaptiveAvgPool2d(1)"
    (rows, columns), (read_rows, read_columns) = pool.map_shape, pool.read
    actual = f"layer {pool.name} reads {read_rows * read_columns} of {rows * columns} cells"
    note = (
        f"layer {pool.name} sees {read_rows} × {read_columns} of a {rows} × {columns} map; "
        "use nn.AdaptiveAvgPool2d(1)"
    )
    return pool.is_global, actual, note


def _behaviour(budget: Budget, anatomy: Anatomy, behaviour: Behaviour) -> Iterator[Rule]:
    yield _output_shape(budget.classes, behaviour.output_shapes)
    bad = [*behaviour.failures, *behaviour.not_finite]
    yield _rule(
        "finite",
        "everywhere",
        "; ".join(bad[:1] + [f"and {len(bad) - 1} more"] * (len(bad) > 1)) or "finite",
        not bad,
        "outputs and gradients must be finite for every batch size; look for a fixed batch size, "
        "a division by zero or a logarithm of zero",
    )
    yield _probabilities(behaviour)
    random = ", ".join(dict.fromkeys(anatomy.structure.random_in_eval))
    changes = bool(random) or behaviour.varies_in_eval
    yield _rule(
        "dropout_in_training_only",
        "none in eval mode",
        f"random in {random or 'eval mode'}" if changes else "none in eval mode",
        not changes,
        "pass training=self.training to F.dropout, or use nn.Dropout",
    )
    yield _dead(anatomy, behaviour)
    moves = behaviour.depends_on_batch
    yield _rule(
        "independent_of_batch",
        "in eval mode",
        f"outputs move by {moves:.1%} with the batch" if moves else "independent",
        not moves,
        "an image's output must not depend on its neighbours: pass training=self.training to "
        "batch norm, and choose dim=1 for sums and softmax",
    )


def _output_shape(classes: int, shapes: dict[int, tuple[int, ...]]) -> Rule:
    wanted = actual = f"(N, {classes})"
    for size, shape in shapes.items():
        if shape != (size, classes):
            rest = ", ".join(map(str, shape[1:]))
            known = len(shape) > 1 and shape[0] == size
            actual = f"(N, {rest})" if known else f"{shape} for a batch of {size}"
            break
    advice = f"return logits {wanted}, for a batch of one too"
    return _rule("output_shape", wanted, actual, actual == wanted, advice)


def _probabilities(behaviour: Behaviour) -> Rule:
    reads_as = behaviour.reads_as
    note = {
        "probabilities over the batch": "softmax over dim=1, the classes, or return the logits",
        "probabilities": "the network ends in a softmax and cross-entropy adds one of its own; "
        "return the logits",
    }.get(reads_as, "")
    if behaviour.not_finite:
        return Rule("probabilities", "sum to 1", "not finite", False, "see the rule `finite`")
    passed = reads_as != "probabilities over the batch"
    return Rule("probabilities", "sum to 1", reads_as, passed, note)


def _dead(anatomy: Anatomy, behaviour: Behaviour) -> Rule:
    unused = list(anatomy.unused)
    cut_off = [
        name
        for name in behaviour.without_gradient
        if name not in unused and name.rpartition(".")[0] not in unused
    ]
    dead = unused + [f"{name} (no gradient)" for name in cut_off]
    numbers = sum(anatomy.unused.values())
    advice = f"call or delete them; {numbers:,} parameters are never used"
    return _rule("dead_layers", "none", ", ".join(dead) or "none", not dead, advice)


def _training(budget: Budget, training: Training) -> Iterator[Rule]:
    yield from _at_most("max_epochs", budget.max_epochs, training.epochs, "train for fewer epochs")
    seen, advice = training.images_seen, "train on fewer images"
    yield from _at_most("max_images_seen", budget.max_images_seen, seen, advice)
    passes = training.images_per_epoch * training.epochs
    advice = "an epoch is one pass over the training images; count the passes as epochs"
    yield from _at_most("one_pass_per_epoch", passes, seen, advice)
    yield from _scores(budget, training)
    advice = "look at the validation split while you choose, and at the test images once"
    yield from _at_most("max_test_reads", budget.max_test_reads, training.test_reads, advice)


def _scores(budget: Budget, training: Training) -> Iterator[Rule]:
    scores = {
        "min_first_epoch_accuracy": training.first_epoch_accuracy,
        "min_accuracy": training.accuracy,
        "min_last_accuracy": training.last_accuracy,
    }
    if training.train_accuracy is not None and budget.min_train_accuracy is not None:
        least, actual = budget.min_train_accuracy, training.train_accuracy
        advice = f"{100 * (least - actual):.2f} points short; train longer"
        yield _rule("min_train_accuracy", least, actual, actual >= least, advice)
    for rule, score in scores.items():
        least = getattr(budget, rule)
        if least is None or score is None:
            continue
        low, high = (100 * bound for bound in score.interval)
        note = f"95 % interval {low:.2f} to {high:.2f} % over {score.over}"
        if score.value < least:
            note += f"; {100 * (least - score.value):.2f} points short, try a `_best` recipe"
        yield Rule(rule, least, score.value, score.value >= least, note)
