"""The semantic cache behind LangChain's own cache interface, for `set_llm_cache`."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.load import loads
from langchain_core.messages import BaseMessage
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic.answer import Hit
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.serving import Serving
from thrift_core.messages import Message, Request

from langchain_thrift.answers import read, written
from langchain_thrift.cache_view import NOT_DECIDING, asides, without_addresses
from langchain_thrift.passage import Run
from langchain_thrift.runs import announced_run, attributed_run, listen
from langchain_thrift.view import message_view

_MOST_PENDING = 1000
_BETWEEN = "---"


@dataclass(frozen=True, slots=True)
class _Asked:
    request: Request
    run: Run


class SemanticLLMCache(BaseCache):
    """Answers a chat model's question that was asked before, in the same words or in others, wherever LangChain asks.

    LangChain asks its cache in `invoke`, `batch` and `generate`, never in `stream`: `ThriftChatModel` covers that,
    too, and makes one call of many that ask the same at the same time. What is compared is the last question; all
    that stands before it, the model and its settings have to be the same. A prompt in plain text, as models that
    complete texts are given, matches in the same words only.

    Whom a call is for, and so who shares answers with whom, is read from the run's metadata and tags and from
    enclosing `thrift_core.attribute` blocks. Models that complete texts tell nobody of their metadata before they ask
    the cache: use the blocks with them.

    Args:
        cache: the cache; one in memory by default.
        ledger: where savings and faults are booked; in memory by default.

    Example:
        >>> from langchain_core.language_models.fake_chat_models import FakeListChatModel
        >>> model = FakeListChatModel(responses=["Paris", "Rome"], cache=SemanticLLMCache())
        >>> model.invoke("What is the capital of France?").text
        'Paris'
    """

    def __init__(self, cache: SemanticCache | None = None, *, ledger: Ledger | None = None) -> None:
        self.ledger = ledger if ledger is not None else Ledger()
        self.cache = cache if cache is not None else SemanticCache(ledger=self.ledger)
        self._serving = Serving(self.cache, self.ledger)
        self._pending: OrderedDict[tuple[str, str], Hit] = OrderedDict()
        self._lock = threading.Lock()
        listen()

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the answer to a prompt, None where the model is to be asked.

        Args:
            prompt: the messages as LangChain writes them, or plain text.
            llm_string: the model and its settings, likewise.
        """
        asked = self._asked(prompt, llm_string)
        if asked is None:
            return None
        return self._served(prompt, llm_string, asked.run, self._serving.lookup(asked.request, scope=asked.run.scope))

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Do what `lookup` does, off the event loop."""
        asked = self._asked(prompt, llm_string)
        if asked is None:
            return None
        hit = await self._serving.alookup(asked.request, scope=asked.run.scope)
        return self._served(prompt, llm_string, asked.run, hit)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep what the model answered, if it may be kept; compare it with a hit that is to be checked."""
        asked, hit = self._asked(prompt, llm_string), self._taken(prompt, llm_string)
        if asked is None:
            return
        try:
            answer = written(return_val, self._serving, request=asked.request)
        except Exception as error:  # what we cannot write down is not kept
            self._serving.note("answer", error)
            return
        if answer is None:
            return
        if hit is not None:
            self._serving.check(hit, answer)
        else:
            self.cache.store(asked.request, answer, scope=asked.run.scope)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Do what `update` does, off the event loop."""
        import asyncio  # noqa: PLC0415 - a large import, which sync apps do without

        # The context, and with it whom the call is for, goes along.
        await asyncio.to_thread(self.update, prompt, llm_string, return_val)

    def clear(self, **kwargs: Any) -> None:
        """Remove everything, of every tenant; see `SemanticCache.purge` for less. Raises what the store raises."""
        self.cache.clear()

    async def aclear(self, **kwargs: Any) -> None:
        """Do what `clear` does, off the event loop."""
        import asyncio  # noqa: PLC0415 - as above

        await asyncio.to_thread(self.cache.clear)

    def _asked(self, prompt: str, llm_string: str) -> _Asked | None:
        """Return what is asked for whom; None where it cannot be told."""
        try:
            return _asked(prompt, llm_string)
        except Exception as error:  # what we do not understand is a miss
            self._serving.note("view", error)
            return None

    def _served(self, prompt: str, llm_string: str, run: Run, hit: Hit | None) -> RETURN_VAL_TYPE | None:
        if hit is None:
            return None
        if not hit.is_served:
            self._serving.book(hit, call_id=run.call_id)
        if hit.is_checked or not hit.is_served:
            with self._lock:
                self._pending[prompt, llm_string] = hit
                while len(self._pending) > _MOST_PENDING:
                    self._pending.popitem(last=False)
            return None
        try:
            answer = read(hit.answer.payload, hit)
        except Exception as error:  # a stored answer that cannot be read is a miss
            self._serving.note("entry", error)
            self.cache.forget(hit)
            return None
        self._serving.book(hit, call_id=run.call_id)
        return answer

    def _taken(self, prompt: str, llm_string: str) -> Hit | None:
        with self._lock:
            return self._pending.pop((prompt, llm_string), None)


def _asked(prompt: str, llm_string: str) -> _Asked | None:
    parameters: dict[str, Any] = {"thrift_llm": _settings(llm_string)}
    messages = _messages(prompt)
    if messages is None:
        # Instructions and question are one text here, and not the user's: only the very same is the same.
        return _Asked(Request(messages=(Message("system", prompt),), parameters=parameters), attributed_run())
    run = announced_run(messages)
    if run is None:
        return None
    parameters["thrift_asides"] = asides(messages)
    views = tuple(message_view(message) for message in messages)
    return _Asked(Request(messages=views, parameters=parameters), run)


def _messages(prompt: str) -> Sequence[BaseMessage] | None:
    """Return the messages that a prompt is, None for a plain text.

    Raises:
        ValueError: it was written by LangChain, and is no list of messages.
    """
    if not prompt.startswith("[") or '"lc"' not in prompt:
        return None
    try:
        json.loads(prompt)
    except ValueError:
        return None
    found = loads(prompt, allowed_objects="messages")
    if not isinstance(found, list) or not found or not all(isinstance(each, BaseMessage) for each in found):
        raise ValueError("the prompt is written by LangChain, and is no list of messages")
    return found


def _settings(llm_string: str) -> list[Any]:
    """Return what a model's description says of its answers, without what differs from one process to the next."""
    written_model, mark, bound = llm_string.partition(_BETWEEN)
    try:
        model = json.loads(written_model) if mark else None
    except ValueError:
        model = None
    if not isinstance(model, Mapping) or not isinstance(model.get("kwargs"), Mapping):
        return [llm_string]
    kept = {
        name: value for name, value in model["kwargs"].items() if name not in NOT_DECIDING and not _is_secret(value)
    }
    return [model.get("id"), without_addresses(kept), bound]


def _is_secret(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("lc") == 1 and value.get("type") == "secret"
