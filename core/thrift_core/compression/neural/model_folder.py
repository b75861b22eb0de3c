"""Finds a model's files: in a folder of the user's, or, only where that was allowed, on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from thrift_core.errors import ConfigurationError, MissingExtra

TOKENIZER, CONFIG = "tokenizer.json", "config.json"
ONNX_FILES = ("model.onnx", "onnx/model.onnx")
# Weights in pickles are never asked for: reading one may run code.
_WANTED = ("*.json", "*.safetensors", "*.onnx", "*.onnx_data", "*.model", "*.txt")


def local_folder(model: str | Path, *, allow_download: bool) -> Path | None:
    """Return the folder a model lies in, or None where it has to be downloaded first, which must have been allowed.

    Raises:
        ConfigurationError: there is no such folder, and no download was allowed.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if not allow_download:
        raise ConfigurationError(
            f"model={str(model)!r}: there is no such folder. Give the folder of a saved model, or, for the name of a"
            " model on the Hugging Face hub, allow_download=True"
        )
    return None


def downloaded(model: str | Path, revision: str | None) -> Path:
    """Return the folder of a model that was allowed to be downloaded; what is in the hub's cache is not asked for anew.

    Raises:
        MissingExtra: huggingface_hub is not installed.
    """
    hub = extra_module("huggingface_hub", f"downloading {model}", "neural-onnx")
    return Path(hub.snapshot_download(str(model), revision=revision, allow_patterns=list(_WANTED)))


def needed(modules: Sequence[str], what: str, extra: str) -> None:
    """See that modules are installed, without importing them.

    Raises:
        MissingExtra: one is not.
    """
    if any(find_spec(module) is None for module in modules):
        raise MissingExtra(what, f"thrift-core[{extra}]")


def extra_module(name: str, what: str, extra: str) -> Any:
    """Return a module of an extra; a type checker need not have it.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(what, f"thrift-core[{extra}]") from error


def read_config(folder: Path) -> Mapping[str, Any]:
    """Return what a saved model says of itself.

    Raises:
        ConfigurationError: the folder has no such file, or it is no JSON object.
    """
    try:
        config: object = json.loads(file_of(folder, CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"{folder / CONFIG} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigurationError(f"{folder / CONFIG} holds a {type(config).__name__}; a saved model's is an object")
    return cast("dict[str, Any]", config)


def file_of(folder: Path, *names: str) -> Path:
    """Return the first of some files that a folder has.

    Raises:
        ConfigurationError: it has none of them; says how they are made.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    hint = {
        TOKENIZER: "transformers' AutoTokenizer.from_pretrained(...).save_pretrained(...) writes one",
        CONFIG: "save_pretrained(...) of the model writes one",
    }.get(names[0], "thrift_core.compression.neural.export_onnx(...) writes one, or leave runtime to 'torch'")
    raise ConfigurationError(f"{folder} has no {' or '.join(names)}; {hint}")


def keep_columns(config: Mapping[str, Any], labels: str | Sequence[str] | None) -> tuple[int, ...]:
    """Return which of a model's outputs mean that a piece is to be kept.

    Without a word on it: the label `keep`, else the second of two (LLMLingua-2's models name none), else the only one.

    Raises:
        ConfigurationError: a label that the model does not have, or it cannot be told; says which there are.
    """
    given = config.get("id2label") or {number: f"LABEL_{number}" for number in range(int(config.get("num_labels", 2)))}
    names = {str(name): int(number) for number, name in given.items()}
    wanted = [labels] if isinstance(labels, str) else labels
    if wanted is None:
        wanted = [name for name in names if name.lower() == "keep"]
        if not wanted and len(names) <= 2:
            return (len(names) - 1,)
    if not wanted or any(label not in names for label in wanted):
        said = f"keep_labels={labels!r}: " if labels is not None else "it cannot be told which label means keep: "
        raise ConfigurationError(f"{said}give some of {', '.join(sorted(names))}")
    return tuple(sorted({names[label] for label in wanted}))
