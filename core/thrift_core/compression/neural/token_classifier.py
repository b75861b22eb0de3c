"""The backend for token-classification models, LLMLingua-2's among them: they say of each word whether it is needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thrift_core.compression.compressed import Span
from thrift_core.compression.neural import model_folder
from thrift_core.compression.neural.onnx_model import OnnxTokenModel
from thrift_core.compression.neural.pieces import PieceReader
from thrift_core.compression.neural.reading import keep_probabilities, windows
from thrift_core.compression.neural.scored_words import ScoredWords, words_of
from thrift_core.compression.neural.token_model import TokenModel
from thrift_core.compression.neural.torch_model import TorchTokenModel
from thrift_core.errors import ConfigurationError
from thrift_core.token_counters import default_counter

Runtime = Literal["onnx", "torch"]
Scope = Literal["text", "window"]
_NEEDS = {"onnx": (("onnxruntime", "tokenizers"), "neural-onnx"), "torch": (("torch", "transformers"), "neural")}
# LLMLingua-2's models were trained on windows of so many pieces.
_USUAL_WINDOW = 512
# Families whose positions are counted from behind the padding's number.
_SHIFTED_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl"})
# More is proposed than there is room for: the compressor takes the most wanted words that fit, by exact count.
_GENEROUS = 1.3


class TokenClassifierBackend:
    """Keeps the words that a token-classification model of yours labels as needed, such as LLMLingua-2's.

    The text is read in windows that end with sentences, several at once; everything else is done on arrays. The model
    is loaded by the first text. It sees no question: it keeps what it would keep for any.

    Args:
        model: the folder of a saved model: `config.json`, `tokenizer.json`, and `model.onnx` or `model.safetensors`.
            With `allow_download` also a name on the Hugging Face hub.
        runtime: `onnx` (extra `neural-onnx`) or `torch` (extra `neural`); None: ONNX where the folder has such a file.
        keep_labels: which of the model's labels mean that a word is needed, if it is several, any of them; None: the
            label `keep`, else the second of two, as LLMLingua-2 has it.
        scope: what words compete with: those of the whole `text`, or, as LLMLingua-2 has it, of their `window`.
        window: how many pieces are read together at most; None: 512, or as many as the model can.
        batch: how many windows are read at once.
        onnx_file: the ONNX file in the folder; None: `model.onnx` or `onnx/model.onnx`.
        providers: onnxruntime's execution providers.
        threads: onnxruntime's; None: as many as there are cores.
        device: torch's.
        allow_download: whether a model that is no folder may be downloaded from the hub. No code that comes with a
            model is ever run.
        revision: the version of a downloaded model; None: the newest.

    Raises:
        MissingExtra: what the runtime needs is not installed.
        ConfigurationError: there is no such folder, a file is missing in it, or a label is not the model's.

    Example:
        >>> TokenClassifierBackend("no/such/folder")
        Traceback (most recent call last):
        thrift_core.errors.ConfigurationError: model='no/such/folder': there is no such folder. Give the folder of a
        saved model, or, for the name of a model on the Hugging Face hub, allow_download=True
    """

    def __init__(
        self,
        model: str | Path,
        *,
        runtime: Runtime | None = None,
        keep_labels: str | Sequence[str] | None = None,
        scope: Scope = "text",
        window: int | None = None,
        batch: int = 16,
        onnx_file: str | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int | None = None,
        device: str = "cpu",
        allow_download: bool = False,
        revision: str | None = None,
    ) -> None:
        _check(runtime, scope, window, batch)
        self._model, self._revision = model, revision
        self._keep_labels, self._window, self._batch, self._scope = keep_labels, window, batch, scope
        self._onnx_names = (onnx_file,) if onnx_file is not None else model_folder.ONNX_FILES
        self._runtime_options: dict[str, Any] = {"providers": tuple(providers), "threads": threads, "device": device}
        self._runtime: Runtime | None = runtime
        self._loading = threading.Lock()
        self._reader: _Reader | None = None
        folder = model_folder.local_folder(model, allow_download=allow_download)
        if folder is not None:
            self._plan(folder)
        else:
            # Which runtime a model to be downloaded has files for is not known yet; either brings what downloads it.
            _see_installed(runtime or "onnx", ("huggingface_hub",) if runtime is None else None)

    def keep(self, text: str, *, question: str | None, max_tokens: int) -> list[tuple[Span, float]]:
        """Return the words most wanted, rather more of them than fit, each with how much it is wanted.

        Args:
            text: the text.
            question: not used: the model does not look at it.
            max_tokens: about how many tokens may stay.
        """
        words = self.words(text)
        share = _GENEROUS * max_tokens / max(1, default_counter().count(text))
        worth = words.probabilities if self._scope == "text" else words.ranks()
        order = np.argsort(-worth, kind="stable")
        before = np.cumsum(words.pieces[order]) - words.pieces[order]
        kept = np.sort(order[before < share * words.pieces.sum()])
        return list(zip(_spans(words, kept), worth[kept].tolist(), strict=True))

    def chosen(self, text: str, share: float) -> list[Span]:
        """Return the words that LLMLingua-2's own rule keeps at a share of the pieces, without budget or protection."""
        words = self.words(text)
        return _spans(words, np.flatnonzero(words.kept_at(share)))

    def words(self, text: str) -> ScoredWords:
        """Return the words of a text, each with the model's probability that it is needed."""
        return self._loaded().words(text)

    def prepare(self) -> None:
        """Load the model; otherwise the first text does."""
        self._loaded()

    def _loaded(self) -> _Reader:
        with self._loading:
            if self._reader is None:
                folder = Path(self._model)
                if not folder.is_dir():
                    folder = model_folder.downloaded(self._model, self._revision)
                self._reader = self._load(self._plan(folder))
            return self._reader

    def _plan(self, folder: Path) -> _Plan:
        """Return how a model is to be read, its files and settings checked, nothing loaded."""
        has_onnx = any((folder / name).is_file() for name in self._onnx_names)
        usual: Runtime = "onnx" if has_onnx else "torch"
        runtime: Runtime = usual if self._runtime is None else self._runtime
        _see_installed(runtime)
        config = model_folder.read_config(folder)
        return _Plan(
            runtime=runtime,
            folder=folder,
            weights=model_folder.file_of(folder, *self._onnx_names) if runtime == "onnx" else folder,
            tokenizer=model_folder.file_of(folder, model_folder.TOKENIZER),
            columns=model_folder.keep_columns(config, self._keep_labels),
            padding=int(config.get("pad_token_id") or 0),
            window=_window(config, self._window),
        )

    def _load(self, plan: _Plan) -> _Reader:
        options = self._runtime_options
        model: TokenModel = (
            OnnxTokenModel(plan.weights, providers=options["providers"], threads=options["threads"])
            if plan.runtime == "onnx"
            else TorchTokenModel(plan.folder, device=options["device"])
        )
        pieces = PieceReader(plan.tokenizer, padding=plan.padding, extra=_NEEDS[plan.runtime][1])
        return _Reader(model, pieces, plan.columns, plan.window, self._batch)


@dataclass(frozen=True, slots=True)
class _Plan:
    runtime: Runtime
    folder: Path
    weights: Path
    tokenizer: Path
    columns: tuple[int, ...]
    padding: int
    window: int


@dataclass(frozen=True, slots=True)
class _Reader:
    """A loaded model with its tokenizer."""

    model: TokenModel
    pieces: PieceReader
    columns: tuple[int, ...]
    window: int
    batch: int

    def words(self, text: str) -> ScoredWords:
        found = self.pieces.read(text)
        bounds = windows(found.ends, found.starts, self.window - self.pieces.frame.size)
        probabilities = keep_probabilities(
            self.model, found.ids, bounds, frame=self.pieces.frame, columns=self.columns, batch=self.batch
        )
        window_of = np.repeat(np.arange(len(bounds)), [stop - start for start, stop in bounds])
        return words_of(found.offsets, found.starts, probabilities, window_of.astype(np.int64))


def _see_installed(runtime: Runtime, modules: Sequence[str] | None = None) -> None:
    usual, extra = _NEEDS[runtime]
    model_folder.needed(usual if modules is None else modules, f"a compression model in {runtime}", extra)


def _spans(words: ScoredWords, places: NDArray[np.intp]) -> list[Span]:
    return list(zip(words.starts[places].tolist(), words.ends[places].tolist(), strict=True))


def _window(config: Mapping[str, Any], given: int | None) -> int:
    """Return how many pieces a model reads together.

    Raises:
        ConfigurationError: more were asked for than the model has positions for.
    """
    positions = config.get("max_position_embeddings")
    most = int(positions) if isinstance(positions, int) and positions > 0 else None
    if most is not None and config.get("model_type") in _SHIFTED_POSITIONS:
        most -= int(config.get("pad_token_id") or 0) + 1
    if given is not None and most is not None and given > most:
        raise ConfigurationError(f"window={given}: the model reads at most {most} pieces together")
    return given if given is not None else min(_USUAL_WINDOW, most or _USUAL_WINDOW)


def _check(runtime: object, scope: object, window: object, batch: object) -> None:
    if runtime not in (None, "onnx", "torch"):
        raise ConfigurationError(f"runtime={runtime!r}: give 'onnx', 'torch' or None")
    if scope not in ("text", "window"):
        raise ConfigurationError(f"scope={scope!r}: give 'text' or 'window'")
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 8):
        raise ConfigurationError(f"window={window!r}: give 8 or more pieces, or None")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ConfigurationError(f"batch={batch!r}: give 1 or more windows")
