"""The backend that has Microsoft's own package choose: LLMLingua-2, LLMLingua, LongLLMLingua."""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from thrift_core.compression.compressed import Span
from thrift_core.compression.neural import alignment, model_folder
from thrift_core.compression.neural.reading import windows
from thrift_core.errors import ConfigurationError
from thrift_core.token_counters import TiktokenCounter, default_counter

Method = Literal["llmlingua2", "llmlingua", "longllmlingua"]
WHAT, EXTRA = "the LLMLingua backend", "llmlingua"
# The package tells by these names, found in the model's, how words are put together of pieces.
_WORD_PIECES, _SENTENCE_PIECES = "bert-base-multilingual-cased", "xlm-roberta-large"
_PARAGRAPH = re.compile(r"\n\s*\n")
_BETWEEN_WORDS, _BEFORE_LABEL = "\x1e", "\x1f"
# The package takes a percentile of 100 times what goes, and one more.
_LEAST_SHARE = 0.01
# What stands round a question in the package's prompts, and then some.
_MARGIN = 32


class LLMLinguaBackend:
    """Has the package `llmlingua` choose what stays: the extra `llmlingua`, for torch.

    What it gives back is found in the text again, so that what stays is verbatim; protected stretches and the budget
    are seen to by the compressor. One text is done at a time. `TokenClassifierBackend` does LLMLingua-2 without this
    package, faster.

    Args:
        model: the folder of a saved model in safetensors; with `allow_download` also a name on the Hugging Face hub.
        method: `llmlingua2` for a token-classification model; `llmlingua` for a causal language model, which keeps what
            surprises it; `longllmlingua` for the same, with regard to the question where there is one.
        device: torch's.
        iterative_size: tokens that `llmlingua` and `longllmlingua` go on by. None: each window of the model at once,
            which is all that llmlingua 0.2.2 can do with a transformers of version 5.
        allow_download: whether a model that is no folder may be downloaded from the hub, and OpenAI's token ranks,
            which the package counts with. No code that comes with a model is ever run.
        revision: the version of a downloaded model; None: the newest.

    Raises:
        MissingExtra: llmlingua is not installed.
        ConfigurationError: there is no such folder, a file is missing in it, or there is no such method.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        method: Method = "llmlingua2",
        device: str = "cpu",
        iterative_size: int | None = None,
        allow_download: bool = False,
        revision: str | None = None,
    ) -> None:
        if method not in get_args(Method):
            raise ConfigurationError(f"method={method!r}: give one of {', '.join(get_args(Method))}")
        model_folder.needed(("llmlingua",), WHAT, EXTRA)
        self._model, self._revision, self._may_download = model, revision, allow_download
        self.method = method
        self._device = device
        self._iterative_size = iterative_size
        self._lock = threading.Lock()
        self._compressor: Any = None
        folder = model_folder.local_folder(model, allow_download=allow_download)
        if folder is not None:
            model_folder.read_config(folder)

    def keep(self, text: str, *, question: str | None, max_tokens: int) -> list[tuple[Span, float]]:
        """Return the words that the package keeps; of these the shorter ones are wanted less.

        Args:
            text: the text.
            question: what is to be answered from it; only `longllmlingua` looks at it.
            max_tokens: about how many tokens may stay.
        """
        share = max_tokens / max(1, default_counter().count(text))
        if share >= 1 or not text.strip():
            spans = [hit.span() for hit in re.finditer(r"\S+", text)]
        else:
            with self._lock:
                spans = self._chosen(text, question, max(_LEAST_SHARE, share))
        return [((start, end), float(end - start)) for start, end in spans]

    def prepare(self) -> None:
        """Load the model; otherwise the first text does."""
        with self._lock:
            self._loaded()

    def _chosen(self, text: str, question: str | None, share: float) -> list[Span]:
        if self.method == "llmlingua2":
            return self._by_label(text, share)
        return self._by_surprise(text, question if self.method == "longllmlingua" else None, share)

    def _by_label(self, text: str, share: float) -> list[Span]:
        done = self._loaded().compress_prompt(
            [text], rate=share, return_word_label=True, word_sep=_BETWEEN_WORDS, label_sep=_BEFORE_LABEL
        )
        pairs = [item.rpartition(_BEFORE_LABEL) for item in done["fn_labeled_original_prompt"].split(_BETWEEN_WORDS)]
        places = alignment.places_of_words(text, [word for word, _, _ in pairs])
        return [place for place, (_, _, label) in zip(places, pairs, strict=True) if place is not None and label == "1"]

    def _by_surprise(self, text: str, question: str | None, share: float) -> list[Span]:
        tokenizer = self._loaded().tokenizer
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        room = self._loaded().max_position_embeddings - _MARGIN
        if question:
            room -= len(tokenizer(question).input_ids)
        if room < 1:
            raise ValueError(f"the question leaves no room for the text in the model's {room + _MARGIN} positions")
        spans: list[Span] = []
        for first, stop in windows(*_cuts(text, offsets), room):
            start, end = offsets[first][0], offsets[stop - 1][1]
            kept = self._kept_tokens(text[start:end], question, share)
            spans += alignment.places_of_tokens(kept, ids[first:stop], offsets[first:stop])
        return alignment.whole_words(text, spans)

    def _kept_tokens(self, part: str, question: str | None, share: float) -> list[int]:
        """Return the tokens that the package keeps of a part, in order, from the step that has them."""
        compressor = self._loaded()
        found: list[int] = []
        step: Any = compressor.iterative_compress_prompt

        def watched(*args: Any, **options: Any) -> Any:
            done: Any = step(*args, **options)
            found.extend(done[0][0].tolist())
            return done

        compressor.iterative_compress_prompt = watched
        try:
            compressor.compress_prompt(
                [piece for piece in _PARAGRAPH.split(part) if piece.strip()],
                rate=share,
                iterative_size=self._iterative_size or compressor.max_position_embeddings,
                concate_question=False,
                **_for_question(question),
            )
        except AssertionError as error:
            raise RuntimeError("llmlingua cannot find its question again with this model's tokenizer") from error
        finally:
            del compressor.iterative_compress_prompt
        return found

    def _loaded(self) -> Any:
        if self._compressor is None:
            folder = Path(self._model)
            if not folder.is_dir():
                folder = model_folder.downloaded(self._model, self._revision)
            self._compressor = self._load(folder)
        return self._compressor

    def _load(self, folder: Path) -> Any:
        self._put_ranks_ready()
        llmlingua = model_folder.extra_module("llmlingua", WHAT, EXTRA)
        is_second = self.method == "llmlingua2"
        with _own_chance():
            compressor = llmlingua.PromptCompressor(
                str(folder),
                device_map=self._device,
                use_llmlingua2=is_second,
                model_config={"trust_remote_code": False, "use_safetensors": True, "local_files_only": True},
            )
        if is_second:
            tells = any(piece.startswith("##") for piece in compressor.tokenizer.get_vocab())
            compressor.model_name = _WORD_PIECES if tells else _SENTENCE_PIECES
        return compressor

    def _put_ranks_ready(self) -> None:
        """See that the package finds the ranks it counts with, without the network where that was not allowed."""
        from tiktoken import registry  # noqa: PLC0415 - a large import

        try:
            registry.ENCODINGS.setdefault("cl100k_base", TiktokenCounter("cl100k_base").encoding)
        except ConfigurationError:
            if not self._may_download:
                raise


def _for_question(question: str | None) -> dict[str, Any]:
    """Return LongLLMLingua's settings, as in its authors' own example."""
    if not question:
        return {}
    return {
        "question": question,
        "rank_method": "longllmlingua",
        "condition_in_question": "after_condition",
        "condition_compare": True,
    }


def _cuts(text: str, offsets: Sequence[Span]) -> tuple[Any, Any]:
    """Return of each token whether a sentence or line ends with it, and whether a word begins with it."""
    ends = [text[start:end].rstrip(" ")[-1:] in {".", "!", "?", "\n", "。"} for start, end in offsets]
    starts = [text[start : start + 1].isspace() or text[start - 1 : start].isspace() for start, _ in offsets]
    return np.array(ends, bool), np.array(starts, bool)


@contextmanager
def _own_chance() -> Generator[None]:
    """Leave the app's random numbers as they are: the package seeds them all when it is loaded."""
    torch = model_folder.extra_module("torch", WHAT, EXTRA)
    python, arrays, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()
    hashing = os.environ.get("PYTHONHASHSEED")
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(tensors)
        if hashing is None:
            os.environ.pop("PYTHONHASHSEED", None)
        else:
            os.environ["PYTHONHASHSEED"] = hashing
