"""The model registry. A model is a function that returns a module; its name is the function's.

    model = create_model("tiny_mnist", pretrained=True)
    list_models("smidgen_*")

Modules take float32 images (N, C, H, W), normalised, and return logits (N, classes). Packages
add models of their own through the entry-point group `smidgen.models`.
"""

from smidgen.zoo import mnist_classifier, mnist_net, net, photos, skip_13k, smidgen, tiny_mnist
from smidgen.zoo.registry import (
    create_model,
    default_input,
    has_weights,
    list_models,
    network_input,
    register_model,
    shipped_accuracy,
    shipped_robustness,
    weights,
    weights_header,
)

FAMILIES = (
    mnist_classifier,
    mnist_net,
    net,
    photos,
    skip_13k,
    smidgen,
    tiny_mnist,
)  # register themselves

__all__ = [
    "create_model",
    "default_input",
    "has_weights",
    "list_models",
    "network_input",
    "register_model",
    "shipped_accuracy",
    "shipped_robustness",
    "weights",
    "weights_header",
]
