"""Counts the tokens of a text, without ever asking the network.

OpenAI's tokenizer is used where its ranks are on disk already, an estimate where they are not. Neither is exact for
another provider's models: Anthropic and Google publish no tokenizer and no ratio that holds across texts, so their
tokens are counted with OpenAI's and no made-up factor. What a call really used is what its provider reports.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol

from thrift_core.errors import ConfigurationError

if TYPE_CHECKING:
    from tiktoken import Encoding

DEFAULT_ENCODING = "o200k_base"
# tiktoken overflows its stack on about a million blanks in a row, so a long text is counted in parts, cut where a word
# begins: there the count is the same.
_PART_CHARS = 100_000
_WORD_BEGINS = re.compile(r"(?<=[A-Za-z]) (?=[A-Za-z])")
_loading = threading.Lock()


class TokenCounter(Protocol):
    """Says how many tokens a text has."""

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        ...


class TiktokenCounter:
    """Counts with OpenAI's tokenizer, from ranks that are on disk.

    Attributes:
        name: what counts, for reports.
        is_exact: whether the count is the one that the provider bills, for text alone.
        encoding: tiktoken's own object.

    Args:
        encoding: tiktoken's name of the encoding.
        is_exact: whether the models counted for really use it.

    Raises:
        ConfigurationError: the ranks are not on disk, or are broken; says where they were looked for.
    """

    def __init__(self, encoding: str = DEFAULT_ENCODING, *, is_exact: bool = True) -> None:
        self.name = f"tiktoken {encoding}"
        self.is_exact = is_exact
        self.encoding = _load(encoding)

    def count(self, text: str) -> int:
        """Return the number of tokens; special tokens in the text count as the text that they are written with."""
        if len(text) <= _PART_CHARS:
            return len(self.encoding.encode_ordinary(text))
        return sum(len(self.encoding.encode_ordinary(part)) for part in _parts(text))


class EstimatedCounter:
    """Counts by an estimate fitted to `o200k_base`, see `token_estimate`."""

    name = f"estimate of {DEFAULT_ENCODING}"
    is_exact = False

    def count(self, text: str) -> int:
        """Return about how many tokens a text has."""
        from thrift_core.token_estimate import estimate_tokens  # noqa: PLC0415 - compiles its patterns

        return estimate_tokens(text)


def default_counter(model: str | None = None) -> TiktokenCounter | EstimatedCounter:
    """Return the best counter at hand for a model; the same object each time, and never by way of the network.

    Args:
        model: the model's name, gateway prefixes allowed; None or an unknown one: counted as OpenAI's current models.
    """
    encoding, is_exact = _encoding_of(model)
    return _counter(encoding, is_exact)


@lru_cache(maxsize=64)
def _counter(encoding: str, is_exact: bool) -> TiktokenCounter | EstimatedCounter:
    try:
        return TiktokenCounter(encoding, is_exact=is_exact)
    except ConfigurationError:
        return EstimatedCounter()


@lru_cache(maxsize=1024)
def _encoding_of(model: str | None) -> tuple[str, bool]:
    if not model:
        return DEFAULT_ENCODING, False
    try:
        from tiktoken.model import encoding_name_for_model  # noqa: PLC0415 - optional at import

        return encoding_name_for_model(model.rpartition("/")[2].lower()), True
    except (ImportError, KeyError):
        return DEFAULT_ENCODING, False


@lru_cache(maxsize=8)
def _load(name: str) -> Encoding:
    """Return an encoding from the files at hand; the failure to find them is remembered by `default_counter`."""
    try:
        import tiktoken  # noqa: PLC0415 - a large import
        from tiktoken import registry  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"encoding {name!r} needs tiktoken: pip install tiktoken") from error
    with _loading:
        if name in registry.ENCODINGS:
            return registry.ENCODINGS[name]
        return tiktoken.Encoding(**_definition(name))


def _definition(name: str) -> dict[str, Any]:
    """Return what tiktoken builds an encoding from, with its own definition but with ranks from disk only.

    tiktoken's definition calls a loader that would go to the network for a file that is missing. It is run here with
    another loader in that one's place, which is the only way to be sure.
    """
    constructors: dict[str, object] = importlib.import_module("tiktoken_ext.openai_public").ENCODING_CONSTRUCTORS
    define = constructors.get(name)
    if not isinstance(define, FunctionType):
        known = ", ".join(sorted(constructors))
        raise ConfigurationError(f"unknown encoding {name!r}; tiktoken knows {known}")
    loaders: dict[str, Callable[..., Any]] = {
        "load_tiktoken_bpe": _ranks_on_disk,
        "data_gym_to_mergeable_bpe_ranks": _refuse,
    }
    own: dict[str, Any] = {**define.__globals__, **loaders}
    for other, constructor in constructors.items():
        if isinstance(constructor, FunctionType):
            own[other] = FunctionType(constructor.__code__, own)  # some are made from others
    definition: dict[str, Any] = own[name]()
    return definition


def _ranks_on_disk(address: str, expected_hash: str | None = None) -> dict[bytes, int]:
    """Return the ranks that tiktoken keeps of an address: one line a token, in base 64, and its rank."""
    cache_key = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    folders = list(_rank_folders())
    for folder in folders:
        try:
            content = (folder / cache_key).read_bytes()
        except OSError:
            continue
        if expected_hash in (None, hashlib.sha256(content).hexdigest()):
            pairs = (line.split() for line in content.splitlines() if line)
            return {base64.b64decode(token): int(rank) for token, rank in pairs}
    places = ", ".join(map(str, folders)) or "no folder"
    raise ConfigurationError(
        f"the token ranks of {address.rpartition('/')[2]} are not on disk (looked in {places});"
        " set TIKTOKEN_CACHE_DIR to a folder that has them, or use EstimatedCounter"
    )


def _rank_folders() -> Iterator[Path]:
    """Yield where ranks may lie: tiktoken's cache, and the copy that llama-index-core brings (without importing it)."""
    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    yield Path(named) if named else Path(tempfile.gettempdir()) / "data-gym-cache"
    # `find_spec` of a submodule would import its parents; of a top-level name it only looks.
    package = importlib.util.find_spec("llama_index")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        yield Path(folder) / "core" / "_static" / "tiktoken_cache"


def _refuse(*_: object, **__: object) -> dict[bytes, int]:
    raise ConfigurationError("this encoding's ranks are in a format of GPT-2's time; use 'o200k_base' or 'cl100k_base'")


def _parts(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _PART_CHARS:
        end = start + _PART_CHARS
        cut = next(_WORD_BEGINS.finditer(text, end - 1000, end), None)
        end = cut.start() if cut is not None else end
        yield text[start:end]
        start = end
    yield text[start:]
