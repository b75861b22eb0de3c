"""The blocks that stand for collapsed turns: what their users and calls named, and the facts of their results."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from thrift_core.trajectory.entry import Entry, NotKept
from thrift_core.trajectory.facts import ledger
from thrift_core.trajectory.results import MARK
from thrift_core.trajectory.words import argument_words, naming_words

if TYPE_CHECKING:
    from thrift_core.trajectory.thread import Thread

HEAD = f"{MARK}earlier turns, recall "
_RESULT_CHARACTERS = 160
_TALK_CHARACTERS = 60
_OLD_CHARACTERS = 900
_OFTEN = 3
_SHORTEST = 3
# The newest blocks keep all their facts; older ones are merged, several at a time, for each merge is written anew.
_KEPT_YOUNG = 1
_MERGED_AT_ONCE = 3
_HANDLE = re.compile(r"recall ([0-9a-f]+)")
# Parts that survive a merge begin with this.
_LASTING = "-"
Seen = Callable[[str], bool]
_encode = json.JSONEncoder(ensure_ascii=False).encode


def write(thread: Thread, start: int, stop: int) -> str:
    """Return the block for messages `start` up to `stop`; their transcript goes to the recall store."""
    lines = fact_lines(thread, start, stop)
    return f"{_head(thread.keep(transcript(thread.entries[start:stop])))}\n" + "\n".join(lines)


def fact_lines(thread: Thread, start: int, stop: int, *, said: str = "") -> list[str]:
    """Return what is worth keeping of messages, a line for each, without what is in `said` or visible elsewhere."""
    known: set[str] = set()

    @cache
    def is_visible(word: str) -> bool:
        return word in said or thread.is_visible(word, start, stop)

    def is_seen(word: str) -> bool:
        return word in known or is_visible(word)

    return [line for entry in thread.entries[start:stop] if (line := _line(entry, is_seen, known))]


def merge_old(thread: Thread, before: int) -> None:
    """Merge older blocks into one that keeps what users and calls named, if that pays; `before` is the newest block."""
    old = thread.blocks[: max(0, len(thread.blocks) - _KEPT_YOUNG)]
    # The handle is a hash of all that the blocks stand for, so it is worked out only where a merge may pay.
    if len(old) < _MERGED_AT_ONCE or not _merge_pays(thread, old, before, 0):
        return
    texts = [thread.entries[index].text for index in old]
    words = dict.fromkeys(word for text in texts for word in _lasting_words(thread, text))
    names = " ".join(_within_last(list(words), _OLD_CHARACTERS))
    wholes = [thread.recall(match[1]) for text in texts if (match := _HANDLE.search(text))]
    # What is not there any more, such as in a store whose texts expire, must not be merged away.
    if None in wholes or (handle := _kept(thread, "\n".join(whole for whole in wholes if whole))) is None:
        return
    merged = f"{_head(handle)}\n{_LASTING}{names}"
    if not _merge_pays(thread, old, before, thread.count(merged)):
        return
    for index in old[1:]:
        thread.drop(index, index + 1, "merged into an older block")
    thread.change(old[0], "block", merged, f"{len(old)} older blocks in one")
    thread.blocks[: len(old)] = old[:1]


def _kept(thread: Thread, text: str) -> str | None:
    try:
        return thread.keep(text)
    except NotKept:
        return None


def _merge_pays(thread: Thread, old: Sequence[int], before: int, tokens: int) -> bool:
    removed = sum(thread.entries[index].tokens for index in old) - tokens
    prefix = thread.tokens_before(old[0])
    behind = thread.tokens_before(before) - prefix - removed
    bill = thread.bill
    if bill.gain(removed=removed, behind=behind, prefix=prefix, reads=bill.reads_left) <= 0:
        return False
    return bill.gain(removed=removed, behind=behind, prefix=prefix, reads=1) + bill.purse >= 0


@lru_cache(maxsize=64)
def lasting(text: str) -> str:
    """Return what of a block survives when it is merged with others: what users and calls named."""
    return " ".join(line.removeprefix(_LASTING) for line in text.split("\n")[1:] if line.startswith(_LASTING))


def transcript(entries: Iterable[Entry]) -> str:
    """Return messages as JSON lines, texts and arguments byte for byte: what recall gives back for a block."""
    return "\n".join(_encode(_as_json(entry)) for entry in entries)


def _lasting_words(thread: Thread, text: str) -> Iterator[str]:
    """Yield what users and calls named, and facts that came up again and again: they may once more."""
    for line in text.split("\n")[1:]:
        is_lasting = line.startswith(_LASTING)
        for word in line.removeprefix(_LASTING).split(" "):
            if is_lasting or len(thread.seen.places(word)) >= _OFTEN:
                yield word


def _as_json(entry: Entry) -> dict[str, object]:
    message = entry.message
    row: dict[str, object] = {"role": message.role, "text": message.text}
    if message.tool_calls:
        row["calls"] = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
    if entry.tool:
        row["tool"] = entry.tool
    return row


def _head(handle: str) -> str:
    return HEAD + handle


def _within_last(words: Sequence[str], characters: int) -> list[str]:
    return _within(words[::-1], characters)[::-1]


def _line(entry: Entry, is_seen: Seen, known: set[str]) -> str:
    message = entry.message
    if message.role == "tool":
        facts = ledger(message.text, is_seen, max_characters=_RESULT_CHARACTERS)
        known.update(facts)
        return " ".join(facts)
    parts = [_call(call.name, _new(argument_words(call.arguments), is_seen, known)) for call in message.tool_calls]
    parts.append(" ".join(_within(_new(naming_words(message.text), is_seen, known), _TALK_CHARACTERS)))
    line = " ".join(part for part in parts if part)
    return _LASTING + line if line and (message.tool_calls or message.role == "user") else line


def _call(name: str, words: Sequence[str]) -> str:
    return f"{name} {' '.join(words)}" if words else ""


def _new(words: Iterable[str], is_seen: Seen, known: set[str]) -> list[str]:
    kept: list[str] = []
    for word in words:
        if len(word) >= _SHORTEST and not is_seen(word):
            known.add(word)
            kept.append(word)
    return kept


def within(text: str, characters: int) -> str:
    """Return a text, if it is too long its beginning and its end."""
    if len(text) <= characters:
        return text
    return f"{text[: characters * 2 // 3]} [...] {text[-characters // 3 :]}"


def _within(words: Sequence[str], characters: int) -> list[str]:
    kept: list[str] = []
    for word in words:
        characters -= len(word) + 1
        if characters < 0:
            break
        kept.append(word)
    return kept
