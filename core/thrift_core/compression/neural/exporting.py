"""Writes a saved torch model as ONNX, once, so that torch need not be there where prompts are compressed."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

from thrift_core.compression.neural import model_folder
from thrift_core.compression.neural.torch_model import EXTRA, WHAT
from thrift_core.errors import ConfigurationError

_OPSET = 17
_SAMPLE = ([[1, 2, 3, 4]], [[1, 1, 1, 1]])


def export_onnx(model: str | Path, folder: str | Path, *, is_eight_bit: bool = False) -> Path:
    """Write a token-classification model of a local folder as ONNX, with its tokenizer; return the new folder.

    Needs the extras `neural` and `neural-onnx`, and the package onnx.

    Args:
        model: the folder of the saved model.
        folder: where to write; made if it is not there.
        is_eight_bit: whether matrices are kept in 8 bits: a quarter of the size, faster on a CPU, not quite the same
            answers.

    Raises:
        MissingExtra: torch, transformers or onnxruntime is not installed.
        ConfigurationError: a file of the model is missing, or the new folder is the model's own.
    """
    source, target = Path(model), Path(folder)
    if source.resolve() == target.resolve():
        raise ConfigurationError(f"folder={str(folder)!r} is the model's own; give another")
    model_folder.needed(("torch", "transformers"), WHAT, EXTRA)
    model_folder.needed(("onnx", "onnxruntime"), "writing ONNX", "neural-onnx]' 'onnx")
    copied = [model_folder.file_of(source, name) for name in (model_folder.CONFIG, model_folder.TOKENIZER)]
    target.mkdir(parents=True, exist_ok=True)
    for file in copied:
        shutil.copyfile(file, target / file.name)
    written = target / model_folder.ONNX_FILES[0]
    _export(source, written)
    if is_eight_bit:
        _to_eight_bits(written)
    return target


def _export(source: Path, written: Path) -> None:
    torch = model_folder.extra_module("torch", WHAT, EXTRA)
    transformers = model_folder.extra_module("transformers", WHAT, EXTRA)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        str(source), local_files_only=True, trust_remote_code=False, use_safetensors=True, attn_implementation="eager"
    )
    model.eval().config.return_dict = False
    names = ["input_ids", "attention_mask"]
    axes = {0: "text", 1: "piece"}
    # The exporter warns of everything that it takes for constant; the test of equality with torch says whether it was.
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            tuple(torch.tensor(part) for part in _SAMPLE),
            str(written),
            input_names=names,
            output_names=["logits"],
            dynamic_axes=dict.fromkeys([*names, "logits"], axes),
            opset_version=_OPSET,
            dynamo=False,
        )


def _to_eight_bits(written: Path) -> None:
    quantization: Any = model_folder.extra_module("onnxruntime.quantization", "8 bits", "neural-onnx")
    whole = written.with_name("whole.onnx")
    written.rename(whole)
    quantization.quantize_dynamic(whole, written, weight_type=quantization.QuantType.QInt8)
    whole.unlink()
