"""Networks as files: a small language of layers, read from and written as TOML.

    network = document.load_network("net.toml")
    module = build.make(network, input=InputShape(3, 32, 32), classes=10)

`document` is the language, `parts` what a document comes to for images of a shape, `build` makes
the modules of it. docs/networks.md is the guide. Only `document` and `parts` need pydantic, and
only `build` and `modules` torch.
"""
