"""JAX: a step is one compiled function, (N, H, W, C)."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from networks import LEARNING_RATE, MOMENTUM, Layer, check, images_of, layers_of, normalised, serve

name, batch, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
layers = layers_of(name)
Weights = list[tuple[Any, Any]]


def apply(layer: Layer, weight: Any, bias: Any, x: Any, other: Any) -> Any:
    match layer.kind:
        case "convolution":
            pads = [(pad, pad) for pad in layer.padding]
            dimensions = ("NHWC", "HWIO", "NHWC")
            x = lax.conv_general_dilated(
                x, weight, (1, 1), pads, dimension_numbers=dimensions,
                feature_group_count=layer.groups,
            )  # fmt: skip
            x = x if bias is None else x + bias
        case "batch norm":
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            x = (x - mean) * (lax.rsqrt(variance + layer.eps) * weight) + bias
            x = x if other is None else x + other
        case "max pool" | "average pool":
            n, h, w, c = x.shape
            high, wide = layer.kernel
            x = x[:, : h // high * high, : w // wide * wide]
            x = x.reshape(n, h // high, high, w // wide, wide, c)
            x = x.max((2, 4)) if layer.kind == "max pool" else x.mean((2, 4))
        case "add":
            x = x + other
    return jnp.where(x > 0, x, layer.slope * x) if layer.has_relu else x


def loss_of(weights: Weights, images: Any, labels: Any) -> Any:
    maps = {0: images}
    for layer, (weight, bias) in zip(layers, weights, strict=True):
        maps[layer.output] = apply(layer, weight, bias, maps[layer.source], maps.get(layer.other))
    logits = maps[layers[-1].output].reshape(len(labels), -1)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def step(state: tuple[Weights, Weights], places: Any) -> tuple[tuple[Weights, Weights], Any]:
    weights, speeds = state
    loss, slopes = jax.value_and_grad(loss_of)(weights, images[places], labels[places])
    speeds = jax.tree.map(lambda v, g: MOMENTUM * v + g, speeds, slopes)
    moved = jax.tree.map(
        lambda w, v, g: w - LEARNING_RATE * (g + MOMENTUM * v), weights, speeds, slopes
    )
    return (moved, speeds), loss


pixels, labels_ = images_of(name, count)
images, labels = jnp.asarray(normalised(pixels).transpose(0, 2, 3, 1)), jnp.asarray(labels_)
first: Weights = [(layer.weight, layer.bias) for layer in layers]
loss = jax.jit(loss_of)(first, images[:batch], labels[:batch])
check(name, float(loss), pixels[:batch], labels_[:batch])
state = jax.tree.map(jnp.asarray, first), jax.tree.map(jnp.zeros_like, first)
run = jax.jit(step, donate_argnums=0)
random = np.random.default_rng(1)


def epoch() -> None:
    global state
    order = random.permutation(count)[: count // batch * batch].reshape(-1, batch)
    for places in order:
        state, loss = run(state, places)
    loss.block_until_ready()


serve(f"jax {jax.__version__}", epoch)
