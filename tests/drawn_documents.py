"""Network documents for tests: any that the language can say, as plain dictionaries."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

WIDTHS = st.integers(1, 12)
ACTIVATIONS = st.sampled_from(["none", "relu", "leaky_relu", "relu6", "hardswish"])


def _some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


CONVOLVING = {
    "kernel": st.integers(1, 5),
    "stride": st.integers(1, 2),
    "padding": st.integers(0, 2),
    "activation": ACTIVATIONS,
    "residual": st.booleans(),
    "repeat": st.integers(1, 3),
    "flat": st.booleans(),
}
SHAREABLE = CONVOLVING | {
    "norm": st.sampled_from(["batch", "gainless", "none"]),
    "share": st.booleans(),
}
SINGLE = st.one_of(
    _some({"conv": WIDTHS}, SHAREABLE),
    _some({"separable": WIDTHS}, SHAREABLE),
    _some({"bottleneck": WIDTHS}, CONVOLVING | {"expand": st.integers(1, 4)}),
    _some(
        {"pool": st.integers(2, 3)},
        {"kind": st.sampled_from(["max", "average"]), "activation": ACTIVATIONS},
    ),
    _some({"dropout": st.floats(0.01, 0.9)}, {}),
    _some({"activation": st.sampled_from(["relu", "leaky_relu", "relu6", "hardswish"])}, {}),
)
GROUP = _some(
    {"layers": st.lists(SINGLE, min_size=1, max_size=3)},
    {"residual": st.booleans(), "activation": ACTIVATIONS, "repeat": st.integers(1, 2)},
)
HEAD = _some({"head": st.sampled_from(["gap", "gap_linear", "linear"])}, {})
DOCUMENTS = st.builds(
    lambda layers, head, input: {"layers": [*layers, head]} | input,
    st.lists(SINGLE | GROUP, max_size=6),
    HEAD,
    _some({}, {"input": st.sampled_from([[1, 28, 28], [3, 32, 40]]), "classes": st.just(7)}),
)
