"""From a folder of your own pictures to a network in C.

    python own_pictures.py fruit

`fruit` holds a folder for each class (docs/data.md): fruit/apple/1.jpg, fruit/pear/2.png.
"""

import sys
from pathlib import Path

import smidgen

folder = sys.argv[1]
data = smidgen.load_data(f"folder:{folder}", size=(32, 32))
print(f"{len(data.train)} pictures to train, {len(data.test)} to test: {', '.join(data.classes)}")

# A small convolutional network for pictures of any size; flip and crop make more of few pictures.
run = smidgen.train(
    "smidgen_residual",
    recipe="default",
    data=data,
    epochs=10,
    batch_size=16,
    augment={"flip": 0.5, "crop_padding": 2},
    out="runs/pictures",
)
score = smidgen.evaluate(run.path)
low, high = score["interval"]
print(f"{score['accuracy']:.1%} of the test pictures, 95 % interval {low:.1%} to {high:.1%}")

first = next(path for path in sorted(Path(folder).rglob("*")) if path.is_file())
(answer,) = smidgen.predict(run.path, first)
print(f"{first}: {answer['label']} ({answer['probability']:.1%})")

# model.h, model.c and the preprocessing of a camera's frame, proven equal on the test pictures.
written = smidgen.export(run.path, "c", "exports/pictures", data=data)
print(f"{written['weight_bytes']:,} bytes of weights in {len(written['files'])} files")
