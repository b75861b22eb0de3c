"""Asks the brain and holds its answers to what the request allows."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
from dataclasses import replace

from thrift_core.messages import ToolCall
from thrift_core.testing.bill import TokenUse
from thrift_core.testing.chat import ApiError, Brain, ChatRequest, Reply
from thrift_core.testing.dialect import Generation
from thrift_core.testing.prefix_cache import PrefixCache
from thrift_core.testing.prompt_tokens import PromptTokens

FINGERPRINT = "fp_thrift_local"


class Generator:
    """Turns requests into finished generations.

    Args:
        brain: answers each choice of a request.
        tokens: counts and renders prompts.
        cache: says which part of a prompt is billed at the cached rate.
    """

    def __init__(self, brain: Brain, tokens: PromptTokens, cache: PrefixCache) -> None:
        self._brain = brain
        self._tokens = tokens
        self._cache = cache
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def generate(self, request: ChatRequest) -> Generation:
        """Return the answers with the tokens they use.

        Raises:
            ApiError: the brain refuses, or answers what the request does not allow.
        """
        prompt = self._tokens.render(request)
        scope = (request.api_key, request.model, request.cache_key)
        # Anthropic caches only up to breakpoints that the request sets, which is not modelled.
        cached = self._cache.read(scope, prompt) if request.api != "messages" else 0
        identity = hashlib.blake2b(prompt.tobytes(), digest_size=12).hexdigest()
        finished = [self._finished(replace(request, choice=choice), identity) for choice in range(request.choices)]
        use = TokenUse(input_tokens=len(prompt), cached_tokens=cached)
        return Generation(
            id=self._new_id(),
            created=int(time.time()),
            request=request,
            replies=tuple(reply for reply, _, _ in finished),
            finish_reasons=tuple(reason for _, reason, _ in finished),
            use=sum((spent for _, _, spent in finished), use),
            fingerprint=FINGERPRINT,
        )

    def _new_id(self) -> str:
        with self._lock:
            return f"{next(self._numbers):012d}"

    def _finished(self, request: ChatRequest, identity: str) -> tuple[Reply, str, TokenUse]:
        reply = _allowed(request, self._brain(request))
        stem = f"{identity}{request.choice}"
        calls = tuple(_with_id(call, f"{stem}{index}") for index, call in enumerate(reply.tool_calls))
        text, is_cut = self._cut(request, reply)
        reason = "length" if is_cut else "tool_calls" if calls else "stop"
        written = self._tokens.count(text) + sum(self._tokens.count(f"{call.name}({call.arguments})") for call in calls)
        use = TokenUse(output_tokens=written + reply.reasoning_tokens, reasoning_tokens=reply.reasoning_tokens)
        return replace(reply, text=text, tool_calls=calls), reply.finish_reason or reason, use

    def _cut(self, request: ChatRequest, reply: Reply) -> tuple[str, bool]:
        ends = [at for stop in request.stop if stop and (at := reply.text.find(stop)) >= 0]
        text = reply.text[: min(ends)] if ends else reply.text
        if request.max_output_tokens is None:
            return text, False
        shortened = self._tokens.shorten(text, max(0, request.max_output_tokens - reply.reasoning_tokens))
        return shortened, shortened != text


def _allowed(request: ChatRequest, reply: Reply) -> Reply:
    """Return the reply as the request's options allow it; a brain that breaks them gets an error nobody retries."""
    unknown = [call.name for call in reply.tool_calls if call.name not in request.tool_names]
    if unknown:
        raise _brain_error(f"called {unknown}, but the request offers {list(request.tool_names)}")
    if request.tool_choice == "none" and reply.tool_calls:
        raise _brain_error("called a tool although tool_choice is none")
    if request.tool_choice not in ("auto", "none"):
        wanted = request.tool_choice
        if not reply.tool_calls or (wanted != "required" and {call.name for call in reply.tool_calls} != {wanted}):
            raise _brain_error(f"did not call what tool_choice asks for: {wanted}")
    if request.response_format.get("type") in ("json_object", "json_schema") and not reply.tool_calls:
        _check_json(reply.text)
    if not request.may_call_in_parallel:
        return replace(reply, tool_calls=reply.tool_calls[:1])
    return reply


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        raise _brain_error(f"answered text where response_format asks for JSON: {text[:80]!r}") from None


def _brain_error(what: str) -> ApiError:
    return ApiError(422, f"The local provider's brain {what}.", kind="server_error", code="brain_error")


def _with_id(call: ToolCall, identity: str) -> ToolCall:
    return call if call.id else replace(call, id=f"call_{identity}")
