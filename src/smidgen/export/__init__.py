"""Exports of networks, each verified against its source: C, ONNX, one HTML file.

document = export([load("tiny_mnist")], load_data("mnist"), "c", Path("exports/tiny_mnist"))
"""

from smidgen.export.ship import FORMATS, export

__all__ = ["FORMATS", "export"]
