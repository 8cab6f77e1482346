"""Budget files, and what check says of networks that make the field's mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from smidgen.anatomy import describe, probe
from smidgen.budget import Budget, Rule, Verdict, judge, list_budgets, load_budget
from smidgen.budget.formats import to_github, to_junit
from smidgen.errors import BudgetError
from smidgen.testing import assert_fits
from smidgen.zoo import create_model


class Net(nn.Module):
    """A sound network of a few numbers; the mistakes below are one change away from it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False)  # 28 to 14
        self.norm1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 2, stride=3, bias=False)  # 14 to 5
        self.norm2 = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.1)
        self.conv3 = nn.Conv2d(4, 10, 1)

    def body(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        return self.conv3(self.dropout(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))


class NeverCalled(Net):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(10, 10)


class CutOff(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3)).detach() + self.conv3.bias


class NineOfTwentyFiveCells(Net):
    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.body(x), 3).flatten(1)


class ThirtyTwoOutputs(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(4, 32, 1)


class DropoutAtTest(Net):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.body(x), 0.5).mean((2, 3))


class SoftmaxOverTheBatch(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(0)


class BatchStatisticsAtTest(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(4, track_running_stats=False)


class FixedBatchSize(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).reshape(1, 10, -1).mean(2)


class SqueezedBatch(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze()


class DividesByContrast(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / x.std((1, 2, 3), keepdim=True))


class NoNormAfterTheFirst(Net):
    def body(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        return self.conv3(self.dropout(F.relu(self.norm2(self.conv2(x)))))


class DenseHead(Net):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(250, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).flatten(1))


class NoDropout(Net):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.0)


ARCHITECTURE = Budget(
    title="test",
    max_params=200,
    require=["batch_norm", "dropout", "global_average_pool"],
    forbid=["linear"],
)

MISTAKES: list[tuple[type[Net], set[str], str]] = [
    (NeverCalled, {"dead_layers"}, "fc"),
    (CutOff, {"dead_layers"}, "conv1.weight (no gradient)"),
    (NineOfTwentyFiveCells, {"global_average_pool"}, "layer avg_pool2d reads 9 of 25 cells"),
    (ThirtyTwoOutputs, {"output_shape", "max_params"}, "(N, 32)"),
    (DropoutAtTest, {"dropout_in_training_only"}, "random in forward"),
    (SoftmaxOverTheBatch, {"probabilities", "independent_of_batch"}, "over the batch"),
    (BatchStatisticsAtTest, {"independent_of_batch"}, "with the batch"),
    (FixedBatchSize, {"output_shape"}, "(1, 10) for a batch of 2"),
    (SqueezedBatch, {"output_shape"}, "(10,) for a batch of 1"),
    (DividesByContrast, {"finite", "probabilities"}, "outputs in eval mode, batch of 2"),
    (NoNormAfterTheFirst, {"batch_norm", "dead_layers"}, "none after layer conv1"),
    (DenseHead, {"linear", "global_average_pool", "max_params"}, "fc"),
    (NoDropout, {"dropout"}, "no dropout"),
]


def verdict_over(model: nn.Module, budget: Budget = ARCHITECTURE) -> Verdict:
    return judge(budget, describe(model), probe(model))


def broken(verdict: Verdict) -> dict[str, Rule]:
    return {rule.rule: rule for rule in verdict.rules if not rule.passed}


def test_sound_network_passes() -> None:
    verdict = verdict_over(Net())
    assert verdict.passed, broken(verdict)


@pytest.mark.parametrize(("mistake", "rules", "said"), MISTAKES)
def test_mistake_is_named(mistake: type[Net], rules: set[str], said: str) -> None:
    found = broken(verdict_over(mistake()))
    assert found.keys() == rules
    assert any(said in str(rule.actual) for rule in found.values())
    assert all(rule.note for rule in found.values())


def test_numbers_are_limited_inclusively() -> None:
    anatomy = describe(Net())
    limits: dict[str, Any] = {
        "max_params": anatomy.params,
        "max_stored_numbers": anatomy.stored_numbers,
        "max_macs": anatomy.macs,
        "max_weight_bytes": anatomy.weight_bytes,
        "max_weight_bytes_int8": anatomy.weight_bytes_int8,
        "max_peak_activation_bytes": anatomy.peak_activation_bytes,
        "max_peak_activation_bytes_int8": anatomy.peak_activation_bytes_int8,
        "max_receptive_field": anatomy.receptive_field,
    }
    assert verdict_over(Net(), Budget(title="exact", **limits)).passed
    tighter = {rule: limit - 1 for rule, limit in limits.items()}
    tighter["min_receptive_field"] = anatomy.receptive_field + 1
    found = broken(verdict_over(Net(), Budget(title="tighter", **tighter)))
    assert found.keys() == tighter.keys()
    assert found["max_params"].note.startswith("1 too many: narrow layer conv2")


def test_residual_connection_is_a_sum_of_two_branches() -> None:
    budget = Budget(title="test", require=["residual"])
    assert "residual" in broken(verdict_over(Net(), budget))
    assert "residual" not in broken(verdict_over(create_model("skip_13k"), budget))


def test_softmax_at_the_end_passes_with_a_warning() -> None:
    verdict = verdict_over(nn.Sequential(Net(), nn.Softmax(1)))
    (rule,) = [rule for rule in verdict.rules if rule.rule == "probabilities"]
    assert (rule.passed, rule.actual) == (True, "probabilities")
    assert "cross-entropy adds one of its own" in rule.note


def test_shipped_budgets_load_and_say_what_they_are() -> None:
    assert {"era-25k-first-epoch", "era-20k", "era-10k", "era-8k", "mcu-16k"} < set(list_budgets())
    assert len(list_budgets()) >= 10
    assert load_budget("era-8k").max_params == 7_999
    assert all(load_budget(name).title for name in list_budgets())


@pytest.mark.parametrize(
    ("model", "budget"),
    [
        ("tiny_mnist", "tiny-mnist"),
        ("mnist_net_13k", "mnist-net"),
        ("mnist_classifier", "mnist-classifier"),
        ("skip_13k", "skip-13k"),
        ("tiny_net", "tiny-net"),
        ("mnist_net_25k", "era-25k-first-epoch"),
    ],
)
def test_each_system_keeps_its_documents_budget(model: str, budget: str) -> None:
    assert_fits(create_model(model), budget)


def test_assert_fits_names_every_broken_rule() -> None:
    with pytest.raises(AssertionError, match="max_params: limit 7999, actual 1191370") as caught:
        assert_fits(create_model("net"), "era-8k")
    assert {"batch_norm", "dropout", "linear"} < {
        line.partition(":")[0] for line in str(caught.value).splitlines()
    }


BAD_FILES = [
    ("max_parms = 1\ntitle = 'x'", "unknown key 'max_parms'; did you mean 'max_params'"),
    ("max_params = 1", "the key 'title' is missing"),
    ("title = 'x'\nmax_params = -1", "max_params = -1: .*greater than or equal to 0"),
    ("title = 'x'\nmax_params = '8k'", "max_params = '8k': .*valid integer"),
    ("title = 'x'\nmin_accuracy = 99.4", "min_accuracy = 99.4: .*less than or equal to 1"),
    ("title = 'x'\nrequire = ['batchnorm']", r"require\[0\] = 'batchnorm': .*'batch_norm'"),
    ("title =", "is not TOML"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_bad_budget_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(BudgetError, match=message):
        load_budget(path)


def test_unknown_and_missing_budgets_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="unknown budget 'era-8'; did you mean 'era-8k'"):
        load_budget("era-8")
    with pytest.raises(BudgetError, match=r"cannot read .*: No such file"):
        load_budget(tmp_path / "none.toml")


RULES = [
    Rule("max_params", 7_999, 8_000, False, "1 too many: 100 % of it, too: more"),
    Rule("min_accuracy", 0.994, 0.9952, True),
]


def test_github_annotations_are_escaped() -> None:
    assert to_github(RULES, "net: a, b").splitlines() == [
        "::error title=net%3A a%2C b%3A max_params::"
        "limit 7,999, actual 8,000; 1 too many: 100 %25 of it, too: more",
        "::notice title=net%3A a%2C b::1 of 2 rules kept",
    ]


def test_junit_has_a_case_for_each_rule_and_a_failure_for_each_broken_one() -> None:
    suite = ElementTree.fromstring(to_junit(RULES, "net <8k>"))
    assert suite.attrib == {"name": "net <8k>", "tests": "2", "failures": "1", "errors": "0"}
    cases = {case.attrib["name"]: case.find("failure") for case in suite}
    assert cases["min_accuracy"] is None
    failure = cases["max_params"]
    assert failure is not None
    assert failure.attrib["message"].startswith("limit 7,999, actual 8,000")


def test_verdict_is_the_document_of_the_contract() -> None:
    document = json.loads(
        json.dumps(verdict_over(create_model("net"), load_budget("era-8k")).to_dict())
    )
    assert document["passed"] is False
    assert all(
        rule.keys() == {"rule", "limit", "actual", "passed", "note"} for rule in document["rules"]
    )
    assert document["unmeasured"] == ["max_epochs", "min_accuracy", "min_last_accuracy"]
