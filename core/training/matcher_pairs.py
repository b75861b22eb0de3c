"""Makes labelled pairs for the cache's matcher: the written groups, and changes to texts that may be trained on.

A near miss differs from its text by one change that asks for something else (`CHANGES`); a paraphrase by one to three
that ask for the same (`HARMLESS`). Harmless changes are made to near misses, too: how much two texts differ must not
tell whether they ask the same.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import matcher_lists as lists

Change = Callable[[str, random.Random], str | None]
# Questions, requests and turns whose licences allow what is trained on them to ship.
TEXTS = (
    "clinc150",
    "banking77",
    "gsm8k",
    "mmlu_pro_gemini_flash_pro",
    "mtrag_clapnq",
    "mtrag_cloud",
    "qmsum",
    "airline",
)
_SHORTEST, _LONGEST = 3, 18
HELD_OUT = 10


class Pair(NamedTuple):
    """Two texts; whether one answer serves both, None where nobody said; and what the difference is."""

    a: str
    b: str
    same: bool | None
    kind: str


def written_groups(folder: Path) -> list[dict]:
    """Return the written groups of all domains, in order of the files' names."""
    return [row for file in sorted(folder.glob("*.jsonl")) for row in rows(file)]


def group_pairs(group: dict) -> Iterator[Pair]:
    """Yield all pairs of a group: those of `same`, and each of `same` with each of `near`."""
    for a, b in combinations(group["same"], 2):
        yield Pair(a, b, True, "same")
    for near, kind in group["near"]:
        for text in group["same"]:
            yield Pair(text, near, False, kind)


def is_held_out(group: dict) -> bool:
    """Return whether the verifier never sees a written group: a tenth, by a hash of its first text."""
    return blake2b(group["same"][0].encode(), digest_size=4).digest()[0] % HELD_OUT == 0


def trainable_texts(folder: Path, seed: int) -> list[tuple[str, str]]:
    """Return distinct texts with their intent, empty where there is none, of the files named in `TEXTS`."""
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*.jsonl*")):
        if file.name.split(".")[0] in TEXTS:
            for row in rows(file):
                for text in _strings(row):
                    found.setdefault(text, f"{file.name.split('.')[0]}:{row.get('intent', '')}")
    texts = list(found.items())
    random.Random(seed).shuffle(texts)  # noqa: S311 - mixes data, keeps no secret
    return texts


def near_miss(text: str, kind: str, chance: random.Random) -> str | None:
    """Return the text with one change of a kind, None where it holds nothing to change."""
    return CHANGES[kind](text, chance)


def harmless(text: str, chance: random.Random, *, most: int = 3) -> str:
    """Return the text said another way, by up to `most` small changes."""
    for change in chance.sample(list(HARMLESS), k=chance.randint(1, most)):
        text = change(text, chance) or text
    return text


def generated_pairs(texts: Sequence[str], chance: random.Random) -> Iterator[Pair]:
    """Yield for each text a near miss where one can be made, and a paraphrase."""
    for text in texts:
        # What can be made of any text comes last, or there would be little else.
        kinds = sorted(CHANGES, key=lambda kind: chance.random() + (0.8 if kind in _ALWAYS else 0.0))
        made = next(((kind, new) for kind in kinds if (new := near_miss(text, kind, chance)) and new != text), None)
        if made:
            a, b = text, made[1]
            if chance.random() < 0.6:
                b = harmless(b, chance, most=2)
            yield Pair(a, b, False, f"generated {made[0]}")
        if (same := harmless(text, chance)) != text:
            yield Pair(text, same, True, "generated same")


def rows(file: Path) -> Iterator[dict]:
    """Yield the rows of a file of JSON lines."""
    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _strings(row: dict) -> Iterator[str]:
    texts = [row.get(key) for key in ("text", "prompt", "question", "last_turn", "standalone")]
    texts += [turn.get("content") for turn in row.get("messages") or [] if turn.get("role") == "user"]
    for text in texts:
        if isinstance(text, str):
            for sentence in re.split(r"(?<=[.?!])\s+|\n\s*\n", text[:3000]) if len(text) > 250 else [text]:
                plain = " ".join(sentence.split())
                is_question = "prompt" not in row or plain.endswith("?")
                if is_question and _SHORTEST <= plain.count(" ") + 1 <= _LONGEST:
                    yield plain


def _exchange(groups: Sequence[tuple[str, ...]], *, both_ways: bool = True) -> Change:
    where: dict[str, list[tuple[str, ...]]] = {}
    for group in groups:
        for word in group if both_ways else group[:1]:
            where.setdefault(word.lower(), []).append(group)
    pattern = re.compile(
        r"(?<![\w'])(" + "|".join(sorted(map(re.escape, where), key=len, reverse=True)) + r")(?![\w'])", re.I
    )

    def change(text: str, chance: random.Random) -> str | None:
        found = list(pattern.finditer(text))
        if not found:
            return None
        match = chance.choice(found)
        group = chance.choice(where[match.group().lower()])
        new = chance.choice([word for word in group if word.lower() != match.group().lower()])
        return text[: match.start()] + _like(match.group(), new) + text[match.end() :]

    return change


def _like(old: str, new: str) -> str:
    if old.isupper() and len(old) > 1:
        return new
    return (
        new[:1].upper() + new[1:] if old[:1].isupper() else new.lower() if old.islower() and not new.isupper() else new
    )


def _number(text: str, chance: random.Random) -> str | None:
    found = list(re.finditer(r"(?<![\w.])\d+(?:[.,]\d+)*(?![\w])", text))
    if found:
        match = chance.choice(found)
        digits = list(match.group())
        places = [at for at, sign in enumerate(digits) if sign.isdigit()]
        if len(places) > 1 and chance.random() < 0.3:
            one, other = chance.sample(places, 2)
            digits[one], digits[other] = digits[other], digits[one]
        else:
            at = chance.choice(places)
            digits[at] = chance.choice([sign for sign in "123456789" if sign != digits[at]])
        new = "".join(digits)
        return None if new == match.group() else text[: match.start()] + new + text[match.end() :]
    words = list(re.finditer(r"\b(" + "|".join(lists.NUMBERS[2:]) + r")\b", text, re.I))
    if not words:
        return None
    match = chance.choice(words)
    new = chance.choice([word for word in lists.NUMBERS[2:] if word != match.group().lower()])
    return text[: match.start()] + _like(match.group(), new) + text[match.end() :]


def with_id(text: str, chance: random.Random) -> tuple[str, str, str]:
    """Return a text that names an id, the same said another way, and one that names another id."""
    sign = "".join(chance.choice("0123456789") for _ in range(chance.randint(3, 8)))
    if chance.random() < 0.5:
        sign = (
            "".join(chance.choice("ABCDEFGHKLMNPRSTXZ") for _ in range(chance.randint(1, 3)))
            + chance.choice(["-", ""])
            + sign
        )
    other = list(sign)
    places = [at for at, character in enumerate(sign) if character.isdigit()]
    at = chance.choice(places)
    other[at] = chance.choice([digit for digit in "0123456789" if digit != sign[at]])
    noun = chance.choice(
        ["order", "ticket", "invoice", "booking", "case", "flight", "account", "error", "reference", "part"]
    )
    plain = text.rstrip(" ?.!")
    ways = (
        f"{plain} ({noun} {{}})",
        f"{plain} for {noun} {{}}?",
        f"{noun} {{}}: {plain}",
        f"regarding {noun} no. {{}}, {plain}",
    )
    one, another = chance.sample(ways, 2)
    return one.format(sign), another.format(sign), chance.choice((one, another)).format("".join(other))


_AUXILIARY = re.compile(
    r"\b(is|are|was|were|can|could|do|does|did|should|will|would|has|have|may|must)\b(?!\s+(?:not|n't))", re.I
)
_NEGATED = re.compile(r"\b(\w+)(?:n't| not)\b", re.I)


def _negation(text: str, chance: random.Random) -> str | None:
    negated = list(_NEGATED.finditer(text))
    if negated:
        match = chance.choice(negated)
        word = {"ca": "can", "wo": "will"}.get(match.group(1).lower(), match.group(1))
        return text[: match.start()] + word + text[match.end() :]
    found = list(_AUXILIARY.finditer(text))
    if not found:
        return None
    match = chance.choice(found)
    rest = text[match.end() :]
    subject = re.match(r"\s+(?:i|you|we|they|it|there|he|she|(?:the|my|a|an|this|that) \w+)\b", rest, re.I)
    if subject and match.start() < 15:
        return text[: match.end()] + subject.group() + " not" + rest[subject.end() :]
    return text[: match.end()] + " not" + rest


_FROM_TO = re.compile(r"\bfrom (?:the )?(\w+(?: \w+)?) to (?:the )?(\w+)\b", re.I)
_TO = re.compile(
    r"\b(?:convert|change|exchange|translate|transfer|move|compared?) (?:\w+ )?(\w+) (?:to|into|with) (\w+)\b", re.I
)
_THAN = re.compile(
    r"\b(?:is|are|was) (?:the |an? )?(\w+) (?:\w+er|more \w+|better|less \w+) than (?:the |an? )?(\w+)\b", re.I
)


def _arguments(text: str, chance: random.Random) -> str | None:
    for pattern in (_FROM_TO, _TO, _THAN):
        match = pattern.search(text)
        if match and match.group(1).lower() != match.group(2).lower():
            return _swapped(text, match.span(1), match.span(2))
    return None


_PLAIN_WORD = re.compile(r"\b[a-z]{4,}\b")
_SMALL_WORDS = """about after also been before being both could does doing down each else ever from have having here
how into just like make many more most much must need only other over please same should some such than that their them
then there these they this those through under until upon very want well were what when where which while will with
would your yours able know tell help"""
_SMALL = frozenset(_SMALL_WORDS.split())


def _word_order(text: str, chance: random.Random) -> str | None:
    names = list(re.finditer(r"(?<=[a-z,] )[A-Z][a-z]+\b", text))
    found = names if len({match.group() for match in names}) > 1 and chance.random() < 0.7 else [
        match for match in _PLAIN_WORD.finditer(text) if match.group() not in _SMALL
    ]  # fmt: skip
    choices = [
        (one, other)
        for one, other in combinations(found, 2)
        if one.group() != other.group()
        and not re.fullmatch(r"[\s,]*(?:and|or|,)?[\s,]*", text[one.end() : other.start()])
    ]
    if not choices:
        return None
    one, other = chance.choice(choices)
    return _swapped(text, one.span(), other.span())


def _swapped(text: str, one: tuple[int, int], other: tuple[int, int]) -> str:
    (a, b), (c, d) = sorted((one, other))
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


_FORMATS = (
    " as a table",
    " in French",
    " in one sentence",
    " in bullet points",
    " step by step",
    " for a child",
    " in detail",
)
_CONDITIONS = (" if I am abroad", " without a receipt", " for someone under 18", " on the free plan", " on Android",
               " for business customers", " in Canada", " after 30 days", " at night", " on weekends")  # fmt: skip


def _added(tails: Sequence[str]) -> Change:
    def change(text: str, chance: random.Random) -> str | None:
        mark = text[-1] if text[-1] in "?.!" else ""
        return text.rstrip("?.! ") + chance.choice(tails) + mark

    return change


CHANGES: dict[str, Change] = {
    "number": _number,
    "negation": _negation,
    "antonym": _exchange(lists.ANTONYMS),
    "action": _exchange(lists.ACTIONS),
    "entity": _exchange(lists.ENTITIES),
    "date": _exchange(lists.DATES),
    "unit": _exchange(lists.UNITS),
    "quantifier": _exchange(lists.QUANTIFIERS),
    "principal": _exchange(lists.PRINCIPALS),
    "argument-order": _arguments,
    "word-order": _word_order,
    "format": _added(_FORMATS),
    "condition": _added(_CONDITIONS),
}


_ALWAYS = frozenset({"format", "condition", "word-order", "negation"})


def _opening(text: str, chance: random.Random) -> str:
    return chance.choice(lists.OPENINGS) + (
        text if text[:2].isupper() or text.startswith("I ") else text[:1].lower() + text[1:]
    )


def _closing(text: str, chance: random.Random) -> str:
    return text.rstrip("?.! ") + chance.choice(lists.CLOSINGS)


def _typo(text: str, chance: random.Random) -> str | None:
    long = list(re.finditer(r"\b[a-z]{6,}\b", text))
    if not long:
        return None
    match = chance.choice(long)
    at = match.start() + chance.randint(1, len(match.group()) - 3)
    if chance.random() < 0.5:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + text[at + 1 :]


def _how(text: str, chance: random.Random) -> str | None:
    match = re.search(r"\bhow (?:do i|can i|could i|to)\b", text, re.I)
    if match is None:
        return None
    return text[: match.start()] + _like(match.group(), chance.choice(lists.HOW)) + text[match.end() :]


def _clauses(text: str, chance: random.Random) -> str | None:
    match = re.fullmatch(r"((?:if|when|after|before|because) [^,?]{6,}), ([^,?]{6,})(\??)", text, re.I)
    if match:
        return f"{match.group(2)} {match.group(1)[:1].lower()}{match.group(1)[1:]}{match.group(3)}"
    match = re.fullmatch(r"([^,?]{8,}) ((?:if|because) [^,?]{6,})(\??)", text, re.I)
    return f"{match.group(2)}, {match.group(1)[:1].lower()}{match.group(1)[1:]}{match.group(3)}" if match else None


def _both_orders(text: str, chance: random.Random) -> str | None:
    match = re.search(r"\b(?:between|compare|both) (\w+) and (\w+)\b", text, re.I)
    return _swapped(text, match.span(1), match.span(2)) if match else None


def _digits(text: str, chance: random.Random) -> str | None:
    match = re.search(r"(?<![\w.,])(\d{1,2})(?![\w.,/:%-])", text)
    if match and int(match.group()) < len(lists.NUMBERS):
        return text[: match.start()] + lists.NUMBERS[int(match.group())] + text[match.end() :]
    match = re.search(r"\b(" + "|".join(lists.NUMBERS[2:]) + r")\b", text)
    return text[: match.start()] + str(lists.NUMBERS.index(match.group())) + text[match.end() :] if match else None


HARMLESS: tuple[Change, ...] = (
    _opening,
    _closing,
    _typo,
    _how,
    _how,
    _clauses,
    _both_orders,
    _digits,
    _exchange(lists.SYNONYMS),
    _exchange(lists.SYNONYMS),
    _exchange(lists.ACRONYMS),
    _exchange(lists.CONTRACTIONS),
    _exchange(lists.SPELLINGS),
    lambda text, chance: text.lower(),
    lambda text, chance: text.rstrip("?.! "),
    lambda text, chance: re.sub(r"\b(?:the|a|an) ", "", text, count=2),
    lambda text, chance: re.sub(r"\b(?:please|kindly) ?", "", text, flags=re.I).strip(),
)
