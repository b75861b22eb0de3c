"""The support workload: a stream of questions through `prompt | model | parser`, the whole FAQ in the prompt."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from thrift_core.demo import Result, Setup, Workload, reasoning_tokens
from thrift_core.testing import ChatRequest, Reply

from langchain_thrift.chat_model import ThriftChatModel
from langchain_thrift.costs import track_costs
from langchain_thrift.demo.chat_model import chat_model
from langchain_thrift.demo.support_faq import FAQ, Entry

QUESTIONS = 300
# How much more often the first question of a support desk comes than the n-th: 1 / n to this power.
_ZIPF_EXPONENT = 0.9
_UNKNOWN = "I am sorry, I do not have an answer to that. Call 1212 and a colleague will help."
_OPENINGS = ("", "", "", "", "Hi, ", "Hello! ", "Good morning. ", "Quick question: ", "Sorry to bother you. ")
_ENDINGS = ("", "", "", "", " Thanks!", " Thank you", " Please help.", " Best regards, {name}")
_NAMES = ("Ana", "Bob", "Chidi", "Dana", "Eero", "Femke", "Goran", "Hilde")
_WORD = re.compile(r"\w+")
_CLOSE_ENOUGH = 0.6
_PLAIN_ENOUGH = 0.9

SYSTEM = """You are the support assistant of Tern Mobile. Answer the customer's question from the list below, and from \
nothing else. Give the answer as it stands in the list, with its numbers and codes unchanged. Take care: many entries \
lie close together. If no entry answers the question, say that you do not know and give the hotline 1212.

{faq}"""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the stream.

    Attributes:
        text: as the customer writes it.
        entry_id: the entry that answers it.
    """

    text: str
    entry_id: str


def questions(seed: int = 0, count: int = QUESTIONS) -> list[Question]:
    """Return the stream: popular entries come often, each time in one of its phrasings and in somebody's manner."""
    chance = random.Random(seed)  # noqa: S311 - a demo's data, not a secret
    entries = list(FAQ)
    chance.shuffle(entries)
    weights = [1 / rank**_ZIPF_EXPONENT for rank in range(1, len(entries) + 1)]
    return [_asked(entry, chance) for entry in chance.choices(entries, weights, k=count)]


def faq_text() -> str:
    """Return the FAQ as it stands in the prompt."""
    return "\n\n".join(f"[{entry.id}] {entry.question}\n{entry.answer}" for entry in FAQ)


def support_brain(request: ChatRequest) -> Reply:
    """Answer from the entry that the question means, as far as the request shows it."""
    entry = _meant(request.question)
    found = re.search(rf"\[{re.escape(entry.id)}\][^\n]*\n([^\n]+)", request.system) if entry else None
    answer = found[1].strip() if found else _UNKNOWN
    return Reply(text=answer, reasoning_tokens=reasoning_tokens(request.model, 64))


def support_cheap_brain(request: ChatRequest) -> Reply:
    """Answer as a weaker model does: not sure of a question that is put in a manner it has not met."""
    reply = support_brain(request)
    if _closeness(request.question)[0] >= _PLAIN_ENOUGH:
        return reply
    return Reply(text="I am not sure which entry of the list answers this.", reasoning_tokens=reply.reasoning_tokens)


def run_support(setup: Setup) -> Result:
    """Answer every question of the stream in a call of its own."""
    prompt = ChatPromptTemplate.from_messages([("system", SYSTEM), ("human", "{question}")]).partial(faq=faq_text())
    facts = {entry.id: entry.fact for entry in FAQ}
    outcomes = []
    with chat_model(setup) as model, track_costs(setup.ledger):
        chain = prompt | (model if setup.thrift is None else ThriftChatModel(model, setup.thrift)) | StrOutputParser()
        for number, question in enumerate(questions(setup.seed), start=1):
            task = f"{number:03d}-{question.entry_id}"
            with setup.working_on(task):
                answer = chain.invoke({"question": question.text})
            outcomes.append(setup.settle(task, answer, is_resolved=facts[question.entry_id] in answer))
    return Result(name=setup.workload, outcomes=tuple(outcomes))


def _asked(entry: Entry, chance: random.Random) -> Question:
    text = chance.choice((entry.question, *entry.asked))
    opening, ending = chance.choice(_OPENINGS), chance.choice(_ENDINGS).format(name=chance.choice(_NAMES))
    manner = chance.random()
    if manner < 0.15:
        text = text.lower()
    elif manner < 0.25:
        text = text.rstrip("?.")
    elif manner < 0.33:
        text = _with_typo(text, chance)
    return Question(f"{opening}{text}{ending}", entry.id)


def _with_typo(text: str, chance: random.Random) -> str:
    """Return the text with two neighbouring letters of a longer word exchanged."""
    words = [found for found in _WORD.finditer(text) if len(found[0]) > 5 and found[0].isalpha()]
    if not words:
        return text
    at = chance.choice(words).start() + 2
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _meant(question: str) -> Entry | None:
    """Return the entry with the phrasing that the question comes closest to, or None if none is close.

    This is the scripted model's understanding: a lookup that forgives manners and typing errors, where a real model
    reads.
    """
    score, entry = _closeness(question)
    return entry if score >= _CLOSE_ENOUGH else None


@lru_cache(maxsize=4096)
def _closeness(question: str) -> tuple[float, Entry]:
    """Return the entry that a question comes closest to, and how much of one of its phrasings is in the question."""
    asked = _trigrams(question)
    score, _, entry = max(
        ((len(asked & known) / len(known), len(known), entry) for known, entry in _PHRASES), key=lambda each: each[:2]
    )
    return score, entry


def _trigrams(text: str) -> frozenset[str]:
    plain = f" {' '.join(_WORD.findall(text.lower()))} "
    return frozenset(plain[at : at + 3] for at in range(len(plain) - 2))


_PHRASES = [(_trigrams(phrase), entry) for entry in FAQ for phrase in (entry.question, *entry.asked)]
WORKLOAD = Workload(
    name="support",
    about=f"a LangChain chain over an FAQ of {len(FAQ)} entries; {QUESTIONS} questions with near misses",
    tasks=QUESTIONS,
    brain=support_brain,
    run=run_support,
    cheap_brain=support_cheap_brain,
)
