"""Networks on the Hugging Face hub: `owner/name` becomes a folder on this machine."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path

from smidgen.errors import MissingExtraError, RunError

# The files of a bundle; the last one only of a network that is no model of the zoo.
CONFIG, WEIGHTS, NETWORK = "config.json", "model.safetensors", "net.toml"
LIBRARY = "smidgen"  # what a bundle's config.json names as its library
LARGEST = 2**20  # bytes of a config.json
TIMEOUT = 10  # seconds until the hub answers
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def is_hub_id(target: str) -> bool:
    """Whether a TARGET is `owner/name` on the hub, and not a path that was mistyped.

    It is a path where there is a folder `owner`, and below `runs`, where trainings go.
    """
    owner = target.partition("/")[0]
    return bool(_ID.fullmatch(target)) and owner != "runs" and not os.path.isdir(owner)


def fetch(target: str) -> Path:
    """The folder, in the cache of huggingface_hub, of the bundle that is `owner/name` on the hub.

    `$HF_ENDPOINT`, `$HF_HOME`, `$HF_TOKEN` and `$HF_HUB_OFFLINE` are as everywhere with the hub.
    What was fetched before is used where there is no network. Raises MissingExtraError without the
    extra, RunError for what is not there or no bundle of smidgen's; of that no weights are
    downloaded.
    """
    config = _download(target, CONFIG)
    model = _model(config)
    if model is None:
        raise RunError(
            f"{target!r} on the hub is not a network of smidgen's; name one that "
            "`smidgen export --format hub` wrote"
        )
    for name in (WEIGHTS, NETWORK)[: 1 + (model == NETWORK)]:
        _download(target, name, revision=config.parent.name)
    return config.parent


def _download(target: str, name: str, revision: str | None = None) -> Path:
    """A file of a repository, in a folder that is called like the revision."""
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.utils.logging import set_verbosity
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError:
        raise MissingExtraError(
            f"there is no folder or file {target!r}; check the path, or to take it from the "
            "Hugging Face hub: pip install 'smidgen[hub]'"
        ) from None
    disable_progress_bars()
    set_verbosity(logging.ERROR)
    reason = ""
    try:  # a download would try again for half a minute
        get_hf_file_metadata(hf_hub_url(target, name, revision=revision), timeout=TIMEOUT)
    except Exception as problem:  # its own, of a HTTP library that has changed, of the system
        reason = _said(problem)
    try:
        found = hf_hub_download(target, name, revision=revision, local_files_only=bool(reason))
    except Exception as problem:
        raise RunError(
            f"there is no folder or file {target!r}, and it cannot be had from the hub; check the "
            f"name and the connection: {reason or _said(problem)}"
        ) from None
    return Path(found)


def _said(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200] or type(problem).__name__


def _model(config: Path) -> str | None:
    """The model that a config.json of smidgen's names; None of any other file."""
    try:
        with config.open("rb") as file:
            document = json.loads(file.read(LARGEST))
    except (ValueError, RecursionError):
        return None
    ours = isinstance(document, dict) and document.get("library_name") == LIBRARY
    return str(document.get("model")) if ours else None
