"""A float network as ONNX, and ONNX Runtime to run it."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smidgen.data import normalise
from smidgen.errors import MissingExtraError
from smidgen.inputs import Preprocess


class _Preprocessed(nn.Module):
    """A network that takes uint8 images (batch, H, W, C) and normalises them itself."""

    def __init__(self, model: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.model, self.preprocess = model, preprocess

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.model(normalise(image.permute(0, 3, 1, 2), self.preprocess))
        return logits


def write_onnx(model: nn.Module, preprocess: Preprocess, with_preprocessing: bool = False) -> bytes:
    """The network as one ONNX file: normalised float images (batch, C, H, W) in, logits out.

    With `with_preprocessing` uint8 images (batch, H, W, C) in, which the file normalises itself.
    It holds no metadata, which would name this machine's paths.
    Raises MissingExtraError without the extra `export`.
    """
    require_onnx()
    channels, *sides = preprocess.shape
    example = torch.zeros(2, channels, *sides)
    if with_preprocessing:
        model = _Preprocessed(model, preprocess)
        example = torch.zeros(2, *sides, channels, dtype=torch.uint8)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of torchvision, which no network here needs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own deprecations
            program = torch.onnx.export(
                model.eval(),
                (example,),
                dynamo=True,
                external_data=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["image"],
                output_names=["logits"],
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    document = program.model_proto
    _strip(document)
    data: bytes = document.SerializeToString()
    return data


def require_onnx() -> None:
    """Raises MissingExtraError unless the extra `export` is installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"{package} is not installed; pip install 'smidgen[export]'")


def _strip(message: Any) -> None:
    """Clears all metadata and documentation: they hold names and paths of the machine."""
    for field, value in list(message.ListFields()):
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)


def open_onnx(data: bytes, threads: int = 0) -> Any:
    """A session of ONNX Runtime on the processor; 0 threads are as many as there are cores.

    Raises MissingExtraError without the extra `export`.
    """
    require_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run_onnx(data: bytes, images: NDArray[Any], batch: int = 500) -> NDArray[np.float32]:
    """The logits (N, classes) by ONNX Runtime of images as the file takes them."""
    session = open_onnx(data)
    parts = [
        session.run(["logits"], {"image": images[start : start + batch]})[0]
        for start in range(0, len(images), batch)
    ]
    return np.concatenate(parts)
