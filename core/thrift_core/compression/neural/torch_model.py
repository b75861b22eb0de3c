"""Runs a token-classification model on transformers and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.compression.neural.model_folder import extra_module

WHAT, EXTRA = "a compression model in torch", "neural"


class TorchTokenModel:
    """A saved model in safetensors; no code that comes with a model is run, and no pickle is read.

    Args:
        folder: where the model was saved.
        device: torch's name of the device.

    Raises:
        MissingExtra: torch or transformers is not installed.
        OSError: the folder holds no weights in safetensors.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        self._torch = extra_module("torch", WHAT, EXTRA)
        transformers = extra_module("transformers", WHAT, EXTRA)
        model: Any = transformers.AutoModelForTokenClassification.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        self._device = device
        self._model = model.eval().to(device)

    def logits(self, ids: NDArray[np.int64], mask: NDArray[np.int64], /) -> NDArray[Any]:
        """Return logits by row, piece and label."""
        torch = self._torch
        with torch.inference_mode():
            found = self._model(
                input_ids=torch.from_numpy(ids).to(self._device),
                attention_mask=torch.from_numpy(mask).to(self._device),
            ).logits
        return np.asarray(found.float().cpu().numpy(), np.float32)
