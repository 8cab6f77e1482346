"""Writes tests/preprocess_vectors.json and tests/photo_vectors.json, the pictures that Python and
the pages preprocess alike.

    python tests/make_preprocess_vectors.py

Each has its name, width, height, channels (1: ink, 4: red, green, blue, alpha), the bytes, and the
bytes of the image (null: blank), all in base64; a photo also has the shape of its image. Run it
only when preprocessing changes.
"""

import base64
import json
from pathlib import Path

import numpy as np

from smidgen.inputs import InputShape
from smidgen.preprocess import extract_ink, photo, scale_and_centre, to_grey


def text(values):
    return base64.b64encode(np.asarray(values, np.uint8).tobytes()).decode()


def vector(name, pixels, image):
    height, width, channels = np.atleast_3d(pixels).shape
    return {
        "name": name,
        "width": width,
        "height": height,
        "channels": channels,
        "data": text(pixels),
        "image": None if image is None else text(image),
    }


def ink_vector(name, ink):
    return vector(name, ink, scale_and_centre(np.asarray(ink, float)))


def picture_vector(name, rgba, blank=False):
    rgba = np.asarray(rgba, np.uint8)
    return vector(name, rgba, None if blank else scale_and_centre(extract_ink(to_grey(rgba))))


def opaque(grey):
    return np.dstack([grey] * 3 + [np.full_like(grey, 255)])


def vectors():
    rng = np.random.default_rng(7)

    def blob(height, width, share=0.4):
        return rng.integers(1, 256, (height, width)) * (rng.random((height, width)) < share)

    yield ink_vector("blank", np.zeros((5, 7)))
    yield ink_vector("one pixel", np.eye(9, dtype=int) * (np.arange(9) == 4) * 200)
    yield ink_vector("a line, enlarged", np.full((1, 7), 90))
    yield ink_vector("a diagonal, symmetric", np.eye(40) * 255)
    yield ink_vector("exactly twenty", blob(20, 20))
    yield ink_vector("8 × 8, enlarged", blob(8, 8))
    yield ink_vector("19 × 11, enlarged a little", blob(19, 11))
    yield ink_vector("21 × 30, reduced a little", blob(21, 30))
    yield ink_vector("61 × 43, thirds and primes", blob(61, 43))
    yield ink_vector("3 × 97, long", blob(3, 97, 0.9))
    yield ink_vector(
        "all mass at one end",
        np.pad(np.full((4, 40), 255), ((0, 60), (0, 0)))
        + np.pad(np.full((60, 1), 1), ((4, 0), (20, 19))),
    )

    paper = np.full((24, 18), 236) + rng.integers(-4, 5, (24, 18))
    paper[5:19, 8:11] = 60
    yield picture_vector("dark on grainy paper", opaque(paper))
    yield picture_vector("light on dark", opaque(255 - paper))
    colour = np.dstack([np.full((16, 16), 250), np.full((16, 16), 240), np.full((16, 16), 200)])
    colour[3:12, 4:7] = (20, 60, 200)
    yield picture_vector("blue on cream", np.dstack([colour, np.full((16, 16), 255)]))
    alpha = np.zeros((15, 15), int)
    alpha[2:12, 6:9] = rng.integers(60, 256, (10, 3))
    for name, ink in (("black", 0), ("white", 255)):
        yield picture_vector(
            f"{name} on nothing", np.dstack([np.full((15, 15), ink)] * 3 + [alpha])
        )
    yield picture_vector("nearly one grey", opaque(rng.integers(120, 140, (12, 12))), blank=True)
    yield picture_vector("nothing at all", np.zeros((10, 10, 4)), blank=True)


def photo_vectors():
    rng = np.random.default_rng(8)
    shapes = ["1x8x8", "3x8x8", "3x8x13", "1x13x8", "3x16x9", "3x9x16"]
    sides = [(8, 8), (16, 16), (37, 23), (23, 37), (13, 8), (8, 13), (5, 7), (3, 40), (1, 1)]
    for shape in map(InputShape.parse, shapes):
        for height, width in sides:
            rgba = rng.integers(0, 256, (height, width, 4)).astype(np.uint8)
            if rng.random() < 0.5:
                rgba[..., 3] = 255
            image = np.moveaxis(photo(rgba, shape), 0, -1)
            name = f"{height} × {width} as {shape}"
            yield vector(name, rgba, image) | {"shape": shape}


def write(name, given):
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in given)
    Path(__file__).with_name(name).write_text(f"[\n{lines}\n]\n", "utf-8")


if __name__ == "__main__":
    write("preprocess_vectors.json", vectors())
    write("photo_vectors.json", photo_vectors())
