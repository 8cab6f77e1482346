"""TensorFlow: a step is one tf.function, (N, H, W, C); compiled by XLA where that is argued.

python tensorflow_loop.py MODEL BATCH COUNT CORES graph|xla
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import tensorflow as tf
from networks import LEARNING_RATE, MOMENTUM, Layer, check, images_of, layers_of, normalised, serve

name, batch, count, cores = sys.argv[1], *map(int, sys.argv[2:5])
tf.config.threading.set_intra_op_parallelism_threads(cores)
tf.config.threading.set_inter_op_parallelism_threads(1)
layers = layers_of(name)
weights = [
    [None if each is None else tf.Variable(each) for each in (layer.weight, layer.bias)]
    for layer in layers
]
variables = [each for pair in weights for each in pair if each is not None]
speeds = [tf.Variable(tf.zeros_like(each)) for each in variables]


def apply(layer: Layer, weight: Any, bias: Any, x: Any, other: Any) -> Any:
    match layer.kind:
        case "convolution":
            high, wide = layer.padding
            pads = [[0, 0], [high, high], [wide, wide], [0, 0]]
            if layer.groups == 1:
                x = tf.nn.conv2d(x, weight, 1, pads)
            else:
                x = tf.nn.depthwise_conv2d(x, tf.transpose(weight, [0, 1, 3, 2]), [1] * 4, pads)
            x = x if bias is None else x + bias
        case "batch norm":
            x, _, _ = tf.compat.v1.nn.fused_batch_norm(x, weight, bias, epsilon=layer.eps)
            x = x if other is None else x + other
        case "max pool":
            x = tf.nn.max_pool2d(x, layer.kernel, layer.kernel, "VALID")
        case "average pool":
            x = tf.nn.avg_pool2d(x, layer.kernel, layer.kernel, "VALID")
        case "add":
            x = x + other
    return tf.nn.leaky_relu(x, layer.slope) if layer.has_relu else x


def loss_of(images: Any, labels: Any) -> Any:
    maps = {0: images}
    for layer, (weight, bias) in zip(layers, weights, strict=True):
        maps[layer.output] = apply(layer, weight, bias, maps[layer.source], maps.get(layer.other))
    logits = tf.reshape(maps[layers[-1].output], [len(labels), -1])
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


@tf.function(jit_compile="xla" in sys.argv)
def step(places: Any) -> Any:
    with tf.GradientTape() as tape:
        loss = loss_of(tf.gather(images, places), tf.gather(labels, places))
    for variable, speed, slope in zip(
        variables, speeds, tape.gradient(loss, variables), strict=True
    ):
        speed.assign(MOMENTUM * speed + slope)
        variable.assign_sub(LEARNING_RATE * (slope + MOMENTUM * speed))
    return loss


pixels, labels_ = images_of(name, count)
images = tf.constant(normalised(pixels).transpose(0, 2, 3, 1))
labels = tf.constant(labels_)
check(name, float(loss_of(images[:batch], labels[:batch])), pixels[:batch], labels_[:batch])
random = np.random.default_rng(1)


def epoch() -> None:
    order = random.permutation(count)[: count // batch * batch].reshape(-1, batch)
    for places in order:
        loss = step(tf.constant(places))
    loss.numpy()


serve(f"tensorflow {tf.__version__}", epoch)
