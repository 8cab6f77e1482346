"""What smidgen finds on this machine, and the command that brings what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata, util

# What each extra is for, and its packages by the names that they are imported by.
EXTRAS = {
    "export": ("ONNX", ("onnx", "onnxscript", "onnxruntime")),
    "search": ("smidgen search", ("optuna",)),
    "ray": ("a search on a cluster", ("optuna", "ray")),
    "postgresql": ("a search by many shells", ("optuna", "psycopg")),
    "tensorboard": ("--tensorboard of train and search", ("tensorboard",)),
    "hub": ("the Hugging Face Hub", ("huggingface_hub",)),
    "docs": ("make docs", ("mkdocs", "material", "mkdocstrings")),
}
DATA = ("mnist", "fashion_mnist", "kmnist", "cifar10")
# What each program is for, and Debian's packages that hold it.
TOOLS = {
    "gcc": ("the proof of C exports", "gcc libc6-dev"),
    "arm-none-eabi-gcc": ("boards", "gcc-arm-none-eabi libnewlib-arm-none-eabi"),
    "arm-none-eabi-size": ("the weight of firmware", "binutils-arm-none-eabi"),
    "qemu-system-arm": ("the proof of firmware", "qemu-system-arm"),
    "node": ("the proof of pages", "nodejs"),
}
BROWSERS = ("chromium", "google-chrome", "chrome", "firefox")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for: what it is, where it is or None, and what it is for.

    `command` brings what is missing; it is empty where nothing has to be done.
    """

    section: str
    name: str
    found: str | None
    purpose: str = ""
    command: str = ""


def diagnose() -> list[Finding]:
    """Everything that smidgen can use on this machine. Nothing is built, downloaded or changed."""
    found = [*_versions(), *_torch_and_data(), *_tools(), *_extras()]
    return [each if each.found is None else replace(each, command="") for each in found]


def _versions() -> Iterator[Finding]:
    yield Finding("smidgen", "smidgen", metadata.version("smidgen"))
    yield Finding("smidgen", "Python", platform.python_version())
    for package in ("torch", "numpy"):
        try:
            found = metadata.version(package)
        except metadata.PackageNotFoundError:
            found = None
        yield Finding("smidgen", package, found, "everything", f"pip install {package}")
    yield Finding("machine", "system", platform.platform())


def _torch_and_data() -> Iterator[Finding]:
    """What only torch can say; where it cannot be imported, that alone."""
    try:
        import torch
    except Exception as problem:  # what a damaged installation raises is not known
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        command = "pip install --force-reinstall torch"
        yield Finding("smidgen", "torch works", None, f"everything; {reason}", command)
        return
    from smidgen.data import find_data
    from smidgen.train.native.library import built_library, find_compiler
    from smidgen.train.record import hardware

    yield Finding("machine", "processor", f"{hardware()['cpu']}, {os.cpu_count()} cores")
    there = {"cpu": True, "cuda": torch.cuda.is_available()}
    there["mps"] = torch.backends.mps.is_available()
    yield Finding("machine", "devices", ", ".join(name for name, here in there.items() if here))
    gcc = "apt-get install gcc libc6-dev"
    yield Finding("machine", "C compiler", find_compiler(), "the kernels, for speed", gcc)
    built, command = built_library(), "smidgen quickstart" if find_compiler() else gcc
    library = str(built) if built else None
    yield Finding("machine", "kernels", library, "speed; the first training builds them", command)
    for name in DATA:
        place = find_data(name)
        yield Finding(
            "data", name, str(place) if place else None, "its images", f"smidgen data {name}"
        )


def _tools() -> Iterator[Finding]:
    for program, (purpose, package) in TOOLS.items():
        command = f"apt-get install {package}"
        yield Finding("tools", program, shutil.which(program), purpose, command)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    yield Finding("tools", "browser", browser, "pages", "apt-get install chromium")


def _extras() -> Iterator[Finding]:
    for extra, (purpose, packages) in EXTRAS.items():
        is_whole = all(util.find_spec(name) for name in packages)
        found = ", ".join(packages) if is_whole else None
        yield Finding("extras", extra, found, purpose, f"pip install 'smidgen[{extra}]'")
