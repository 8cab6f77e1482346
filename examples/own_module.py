"""A network of your own, in PyTorch: weighed, held to a budget, trained and scored.

python own_module.py [DATA]

DATA is "mnist" (downloaded once), or "digits", which needs no download.
"""

import sys

from torch import Tensor, nn

import smidgen


class Net(nn.Module):
    """Images (N, 1, 28, 28), normalised, to logits (N, classes)."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Conv2d(16, classes, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


if __name__ == "__main__":  # this file is imported again when the run is opened
    anatomy = smidgen.describe(Net())
    print(f"{anatomy.params:,} parameters, {anatomy.macs:,} multiply-accumulates an image")
    for rule in smidgen.check(Net(), "era-8k").rules:
        print("ok" if rule.passed else "BROKEN", rule.rule, rule.actual)

    data = sys.argv[1] if len(sys.argv) > 1 else "mnist"
    run = smidgen.train(Net, data=data, epochs=3, out="runs/own_module")
    score = smidgen.evaluate(run.path)
    print(f"{score['accuracy']:.2%} of {score['n']:,} test images, in {run.path}")
