"""Runs a token-classification model on onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.compression.neural.model_folder import extra_module
from thrift_core.errors import ConfigurationError


class OnnxTokenModel:
    """An ONNX file with the usual inputs: `input_ids`, and `attention_mask` and `token_type_ids` where it has them.

    Args:
        file: the ONNX file.
        providers: onnxruntime's execution providers, in order of preference.
        threads: of the runtime; None: as many as there are cores.

    Raises:
        MissingExtra: onnxruntime is not installed.
        ConfigurationError: the model wants inputs that cannot be given.
    """

    def __init__(
        self, file: Path, *, providers: Sequence[str] = ("CPUExecutionProvider",), threads: int | None = None
    ) -> None:
        onnxruntime = extra_module("onnxruntime", "a compression model in ONNX", "neural-onnx")
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that wait do not spin: an app has better uses for its cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(str(file), options, providers=list(providers))
        self._inputs = [given.name for given in self._session.get_inputs()]
        unknown = set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown or "input_ids" not in self._inputs:
            raise ConfigurationError(
                f"{file.name} takes {', '.join(self._inputs)}; a token-classification model takes input_ids,"
                " attention_mask and token_type_ids"
            )
        outputs = [given.name for given in self._session.get_outputs()]
        self._output = "logits" if "logits" in outputs else outputs[0]

    def logits(self, ids: NDArray[np.int64], mask: NDArray[np.int64], /) -> NDArray[Any]:
        """Return logits by row, piece and label."""
        given = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            given["token_type_ids"] = np.zeros_like(ids)
        (found,) = self._session.run([self._output], {name: given[name] for name in self._inputs})
        return np.asarray(found, np.float32)
