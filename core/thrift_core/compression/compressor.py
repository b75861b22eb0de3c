"""The compressor: knows what kind of text it is given, and shortens it as that kind can be shortened."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cached_property

from thrift_core.compression.backend import CompressionBackend
from thrift_core.compression.compressed import KINDS, Compressed, Kind, Span
from thrift_core.compression.kinds import SURE, Found, kind_of
from thrift_core.compression.protected import Protector
from thrift_core.compression.work import Draft, Job
from thrift_core.errors import ConfigurationError
from thrift_core.notation.documents import MARK
from thrift_core.recall.store import RecallStore
from thrift_core.token_counters import TokenCounter, default_counter

logger = logging.getLogger("thrift")
CUT_HEAD = f"{MARK}cut, recall "
# Our own outputs begin with one of these; what was compressed before is left as it is.
MARKS = (
    f"{MARK}(",
    CUT_HEAD,
    *(f"{MARK}{sign}(" for sign in "~¤¦"),
    *(f"{MARK}log ", f"{MARK}lines("),
    *(f"{comment}{MARK}fold " for comment in ("", "# ", "// ")),
)
_REMEMBERED = 512
# Counting a shorter text takes no longer than looking it up saves.
_LONG = 256
_LAST = 4


class Compressor:
    """Shortens texts by what they are, verbatim, lossless where that is enough, exact in its budget.

    Without a budget, structure is shortened: JSON and tables are written in a compact notation that reads back the
    same; of logs every kind of line stays with an example and a count; comments and long bodies of code are folded,
    with line numbers; repeats in prose go. With a budget (`max_tokens` or `ratio`) it is kept by exact count, whatever
    the text.
    The same text and settings give the same bytes, and what was compressed is not compressed again.

    Args:
        counter: what counts tokens; None: the default of `thrift_core`.
        store: keeps the whole text of what is cut; then the shortened text begins with the id to recall it by.
        protect: a user's own patterns of what may not be cut inside, in the syntax of the `regex` module.
        backend: a model that chooses what stays of prose; None: the built-in scorer.

    Raises:
        ConfigurationError: a pattern that cannot be compiled.

    Example:
        >>> rows = ", ".join('{"sku": "SKU-%d", "warehouse": "Rotterdam"}' % n for n in range(9))
        >>> done = Compressor().compress(f"[{rows}]")
        >>> done.kind, done.is_lossless, done.tokens < done.tokens_before
        ('json', True, True)
    """

    def __init__(
        self,
        *,
        counter: TokenCounter | None = None,
        store: RecallStore | None = None,
        protect: Iterable[str] = (),
        backend: CompressionBackend | None = None,
    ) -> None:
        self._given_counter = counter
        self.store = store
        self._protector = Protector(protect)
        self._backend = backend
        self._written: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def compress(
        self,
        text: str,
        question: str | None = None,
        *,
        max_tokens: int | None = None,
        ratio: float | None = None,
        lossless: bool = False,
        kind: Kind | None = None,
    ) -> Compressed:
        """Return the text made shorter, or as it is where that cannot be done or is not worth it.

        Args:
            text: the text.
            question: what is to be answered from it; decides what stays where something must go.
            max_tokens: at most so many tokens come back, by exact count; None: no budget.
            ratio: at most this share of the tokens comes back, more than 0 and at most 1; None: no budget. With both,
                the smaller counts.
            lossless: only what can be read back; no budget can be kept then.
            kind: what the text is; None: it is told from the text.

        Raises:
            TypeError: the text or the question is no string.
            ConfigurationError: a budget that is none, `lossless` with a budget, or an unknown kind.
        """
        _check(text, question, max_tokens, ratio, lossless=lossless, kind=kind)
        count = _counting_once(self.counter)
        tokens = count(text)
        budget = _budget(tokens, max_tokens, ratio)
        found = Found(kind, 1.0) if kind is not None else kind_of(text)
        job = Job(
            count=count,
            protector=self._protector,
            question=question or None,
            max_tokens=budget,
            tokens=tokens,
            is_lossless=lossless,
            backend=self._backend,
        )
        as_it_is = Compressed(
            text, found.kind, found.confidence, tokens, tokens, spans=((0, len(text)),) if text else ()
        )
        if not text or (self._is_ours(text) and not (max_tokens is not None and tokens > max_tokens)):
            return as_it_is
        done = self._shortened(text, job, found, as_it_is)
        if ratio is not None:
            self._remember(done.text)
        return done

    async def acompress(
        self,
        text: str,
        question: str | None = None,
        *,
        max_tokens: int | None = None,
        ratio: float | None = None,
        lossless: bool = False,
        kind: Kind | None = None,
    ) -> Compressed:
        """Do what `compress` does, in a thread."""
        return await asyncio.to_thread(
            self.compress, text, question, max_tokens=max_tokens, ratio=ratio, lossless=lossless, kind=kind
        )

    def recall(self, handle: str) -> str | None:
        """Return the whole text that was cut, or None if it is not kept."""
        return None if self.store is None else self.store.get(handle)

    def prepare(self) -> None:
        """Load the token counter; otherwise the first text does."""
        self.counter.count("")

    @cached_property
    def counter(self) -> TokenCounter:
        """What counts the tokens."""
        return self._given_counter if self._given_counter is not None else default_counter()

    def _shortened(self, text: str, job: Job, found: Found, as_it_is: Compressed) -> Compressed:
        if found.confidence < SURE and not job.must_cut:
            return as_it_is
        head = self._head(text) if job.may_cut else ""
        if job.max_tokens is not None and head:
            room = job.max_tokens - job.count(head) - 1
            inner = job.part(job.tokens, room) if room > 0 else job
            head = head if room > 0 else ""
        else:
            inner = job
        draft = self._draft(text, inner, found)
        done = None if draft is None else self._checked(text, draft, head, job, as_it_is)
        if done is None and job.must_cut:
            done = self._checked(text, self._cut(text, inner), head, job, as_it_is) or self._bare(text, job, as_it_is)
        return done or as_it_is

    def _draft(self, text: str, job: Job, found: Found) -> Draft | None:
        from thrift_core.compression.codecs import shortened  # noqa: PLC0415 - each codec is loaded when it is used

        try:
            return shortened(text, job, found.kind if found.confidence >= SURE else "prose")
        except Exception as error:  # fails open: the text goes out as it is, or cut plainly where a budget needs it
            logger.warning("thrift's compressor left a text as it is: %s: %s", type(error).__name__, error)
            return None

    def _checked(self, text: str, draft: Draft, head: str, job: Job, as_it_is: Compressed) -> Compressed | None:
        """Return a draft as a result, or None where it is no shorter or over the budget."""
        is_cut = draft.round_trip is None
        shown = head + draft.text if is_cut else draft.text
        if len(shown) > len(text) or shown == text:
            return None
        tokens = job.count(shown)
        if tokens >= job.tokens or (job.max_tokens is not None and tokens > job.max_tokens):
            return None
        return Compressed(
            text=shown,
            kind=as_it_is.kind,
            confidence=as_it_is.confidence,
            tokens_before=job.tokens,
            tokens=tokens,
            round_trip=draft.round_trip,
            spans=draft.spans,
            dropped=draft.dropped,
            handle=self.store.put(text) if is_cut and self.store is not None else None,
            note=draft.note,
        )

    def _cut(self, text: str, job: Job) -> Draft:
        from thrift_core.compression.codecs import cut_anyhow  # noqa: PLC0415 - as above

        return cut_anyhow(text, job, self._safe_spans(text))

    def _bare(self, text: str, job: Job, as_it_is: Compressed) -> Compressed:
        """Return what fits where not even a head does: as much of the start as may be, or nothing."""
        return self._checked(text, self._cut(text, job), "", job, as_it_is) or Compressed(
            "", as_it_is.kind, as_it_is.confidence, job.tokens, 0, None, note="the budget has room for nothing"
        )

    def _safe_spans(self, text: str) -> list[Span]:
        try:
            return self._protector.spans(text)
        except TimeoutError:
            return Protector().spans(text)

    def _head(self, text: str) -> str:
        # The handle depends on the text alone, so asking for it costs a hash; the text is put only where it is cut.
        if self.store is None:
            return ""
        return f"{CUT_HEAD}{self.store.put(text)}\n"

    def _is_ours(self, text: str) -> bool:
        if text.startswith(MARKS):
            return True
        with self._lock:
            return _digest(text) in self._written

    def _remember(self, text: str) -> None:
        with self._lock:
            self._written[_digest(text)] = None
            while len(self._written) > _REMEMBERED:
                self._written.popitem(last=False)


def _counting_once(counter: TokenCounter) -> Callable[[str], int]:
    """Return a count that knows the last few long texts: a draft is counted by who makes it and by who checks it."""
    known: OrderedDict[str, int] = OrderedDict()

    def count(text: str) -> int:
        if len(text) < _LONG:
            return counter.count(text)
        found = known.get(text)
        if found is None:
            found = known[text] = counter.count(text)
            if len(known) > _LAST:
                known.popitem(last=False)
        return found

    return count


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _budget(tokens: int, max_tokens: int | None, ratio: float | None) -> int | None:
    given = [limit for limit in (max_tokens, None if ratio is None else int(tokens * ratio)) if limit is not None]
    return min(given, default=None)


def _check(
    text: object, question: object, max_tokens: object, ratio: object, *, lossless: bool, kind: Kind | None
) -> None:
    if not isinstance(text, str):
        raise TypeError(f"the text must be a string; got {type(text).__name__}")
    if question is not None and not isinstance(question, str):
        raise TypeError(f"the question must be a string or None; got {type(question).__name__}")
    if max_tokens is not None and (isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 0):
        raise ConfigurationError(f"max_tokens={max_tokens!r}: give 0 or more tokens, or None for no budget")
    if ratio is not None and (isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1):
        raise ConfigurationError(f"ratio={ratio!r}: give a share of the tokens to keep, more than 0 and at most 1")
    if lossless and (max_tokens is not None or ratio is not None):
        raise ConfigurationError("lossless=True cannot keep a budget; give one of them")
    if kind is not None and kind not in KINDS:
        raise ConfigurationError(f"kind={kind!r}: give one of {', '.join(KINDS)}, or None")
