"""A folder that is ready for the Hugging Face hub: weights, config and a model card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from smidgen.anatomy import Anatomy, describe
from smidgen.data import Data
from smidgen.errors import ExportError
from smidgen.escape import json_text, markdown
from smidgen.export.formats import Export
from smidgen.export.parity import compare
from smidgen.files import write_whole
from smidgen.hub import CONFIG, LIBRARY, NETWORK, WEIGHTS
from smidgen.inference import count_correct, logits
from smidgen.metrics import wilson_interval
from smidgen.run import fingerprint, serialise
from smidgen.source import is_network, is_source
from smidgen.target import Target, load
from smidgen.zoo import has_weights, shipped_robustness, weights_header

USE = """\
## Use

```
pip install 'smidgen[hub]'
smidgen predict OWNER/NAME picture.png
```

```python
import smidgen

network = smidgen.load("OWNER/NAME")  # as it is called on the hub
network.model                         # the torch.nn.Module, in eval mode
```"""


def make_hub(targets: Sequence[Target], data: Data, bits: int) -> Export:
    """`config.json`, `model.safetensors` and the card; opened again and run on all test images.

    A network's file goes along as `net.toml`. Raises ExportError for a network of Python code,
    which opening a bundle would have to run.
    """
    (target,) = targets
    if bits != 8:
        raise ExportError(f"--bits {bits} is for integers; the hub's folder has the float weights")
    if is_source(target.name):
        raise ExportError(
            f"{target.name!r} is Python code, which opening a bundle does not run; write the "
            "network as net.toml (docs/networks.md), or export it as onnx"
        )
    state = target.model.state_dict()
    files = {WEIGHTS: serialise(state, {"format": "pt"})}
    if is_network(target.name):
        files[NETWORK] = Path(target.name).read_bytes()
    files[CONFIG] = (json_text(_config(target)) + "\n").encode()
    expected = logits(target.model, data.test.images, target.preprocess)
    with tempfile.TemporaryDirectory() as name:
        for file, content in files.items():
            write_whole(Path(name, file), content)
        opened = load(name)
        found = logits(opened.model, data.test.images, opened.preprocess)
    proof = compare("smidgen.load", expected.numpy(), found.numpy())
    correct = int(count_correct(expected, data.test.labels))
    anatomy = describe(target.model, target.preprocess.shape, target.title)
    files["README.md"] = _card(target, data, anatomy, correct).encode()
    accuracy = {"float": correct / len(data.test)}
    return Export(files, [proof], len(files[WEIGHTS]), accuracy)


def _public(data: str) -> str:
    """The name of a data set without the folders in which it lies on this machine."""
    kind, colon, path = data.partition(":")
    return f"{kind}:{Path(path).name}" if colon else data


def _config(target: Target) -> dict[str, object]:
    return {
        "library_name": LIBRARY,
        "model": NETWORK if is_network(target.name) else target.name,
        "data": _public(target.data),
        "classes": list(target.classes),
        **target.preprocess.document(),
    }


def _ships(target: Target) -> bool:
    """Whether these are weights that ship with smidgen."""
    shipped = has_weights(target.name) and weights_header(target.name).get("fingerprint")
    return shipped == fingerprint(target.model.state_dict())


def _robustness(target: Target) -> dict[str, str]:
    """A card's rows of what `smidgen evaluate --robust` measured of weights that ship."""
    found = shipped_robustness(target.name) if _ships(target) else None
    if not found:
        return {}
    from smidgen.report.figures import percent

    return {
        "corrupted images": f"{percent(found['mean_corruption_accuracy'])} are classified "
        "correctly, the mean over sixteen corruptions at five strengths",
        "calibration error": f"{percent(found['ece'])}, and "
        f"{percent(found['mean_corruption_ece'])} on corrupted images",
        "surest 90 % of the images": f"{percent(found['surest_90'])} are classified correctly",
    }


def _card(target: Target, data: Data, anatomy: Anatomy, correct: int) -> str:
    from smidgen.report.card import front_matter, limits  # with matplotlib, half a second
    from smidgen.report.figures import NOT_MNIST, data_title, percent

    name, data_name, count = target.title, _public(target.data), len(data.test)
    low, high = wilson_interval(correct, count)
    rows = {
        "parameters": f"{anatomy.params:,}",
        "work": f"{anatomy.macs:,} multiply–accumulates an image",
        "receptive field": f"{anatomy.receptive_field} pixels",
        "image": f"{target.preprocess.shape}, channels × height × width, "
        f"{target.preprocess.kind}; mean {json.dumps(target.preprocess.mean)}, deviation "
        f"{json.dumps(target.preprocess.std)}",
        "classes": ", ".join(map(markdown, target.classes)),
        **_robustness(target),
    }
    license = "mit" if _ships(target) else "unknown"  # only its owner can say that of others
    sections = [
        front_matter(name, data_name, correct / count, "these weights", license),
        f"# {markdown(name)} on {data_title(data_name)}",
        f"**{percent(correct / count)}** of {count:,} test images are classified correctly (95 % "
        f"interval over images, Wilson: {percent(low)} to {percent(high)}), by "
        f"{anatomy.params:,} parameters.",
        *([NOT_MNIST] if target.data == "digits" else []),
        USE,
        "## Figures",
        "| | |\n| --- | --- |\n" + "\n".join(f"| {key} | {value} |" for key, value in rows.items()),
        "## Limits",
        limits(data.preprocess),
    ]
    if target.run:
        from smidgen.recipe import to_toml

        public = {"model": name, "data": data_name}
        recipe = to_toml(target.run.recipe.model_copy(update=public))
        sections[-2:-2] = ["## Recipe", f"```toml\n{recipe}```"]
    return "\n\n".join(sections) + "\n"
