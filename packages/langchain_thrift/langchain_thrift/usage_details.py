"""Keeps what integrations leave out of a usage that their provider reported, and that a price is made from.

`langchain-google-genai` passes on the sums of Gemini's usage and drops which tokens were audio, image or video, and the
tier: Gemini bills each at a price of its own. `langchain-anthropic` drops the lifetimes of cache writes from streams:
those that live for an hour cost 1.6 times the others. No callback is told, so the one function in each through which
every answer goes is wrapped. What it drops is put where LangChain has a place for it: into `input_token_details` and
`output_token_details` of a message's `usage_metadata`, and `service_tier` of its `response_metadata`.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import add_usage
from langchain_core.outputs import ChatResult
from thrift_core.accounting.reading import Reading, read_usage

logger = logging.getLogger("thrift")
_Function = Callable[..., Any]
_MARK = "thrift_keeps_usage_details"
_LIFETIMES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


def keep_usage_details(provider: str) -> None:
    """Let the integration of a provider, if the app uses it, pass on all of the usage from now on; never raises.

    Args:
        provider: LangChain's name for it (`ls_provider`); of those without a gap nothing is done.
    """
    try:
        if provider.startswith("google"):  # google_genai, google_vertexai
            _wrap(sys.modules.get("langchain_google_genai.chat_models"), "_response_to_result", _gemini)
        elif provider == "anthropic":
            module = sys.modules.get("langchain_anthropic.chat_models")
            _wrap(getattr(module, "ChatAnthropic", None), "_make_message_chunk_from_anthropic_event", _anthropic)
    except Exception:  # this runs before the app's call goes out, and must not stop it
        logger.debug("the integration of %s cannot be wrapped", provider, exc_info=True)


def _wrap(owner: object, name: str, wrapper: Callable[[_Function], _Function]) -> None:
    """Replace a function, once; one that is not there, in another version of the integration, is left alone."""
    function = getattr(owner, name, None)
    if function is not None and not hasattr(function, _MARK):
        wrapped = wrapper(function)
        setattr(wrapped, _MARK, True)
        setattr(owner, name, wrapped)


def _gemini(convert: _Function) -> _Function:
    @functools.wraps(convert)
    def keeping(response: Any, stream: bool = False, prev_usage: Any = None, **kwargs: Any) -> Any:
        result = convert(response, stream=stream, prev_usage=prev_usage, **kwargs)
        try:
            _keep_modalities(result, response, prev_usage or {})
        except Exception:  # the answer is worth more than the details of its price
            logger.debug("the details of Gemini's usage could not be kept", exc_info=True)
        return result

    return keeping


def _keep_modalities(result: ChatResult, response: Any, before: Mapping[str, Any]) -> None:
    reported = getattr(response, "usage_metadata", None)
    if reported is None:
        return
    reading = read_usage(reported, provider="google")
    done: list[object] = []
    for generation in result.generations:
        message = generation.message
        if not isinstance(message, AIMessage):
            continue
        if reading.service_tier and (generation.generation_info or {}).get("finish_reason"):
            message.response_metadata["service_tier"] = reading.service_tier
        usage: Any = message.usage_metadata
        # All candidates of a response share one usage.
        if usage is not None and not any(usage is other for other in done):
            done.append(usage)
            for kind, counts in _modalities(reading).items():
                _add(usage, before, kind, counts)


def _modalities(reading: Reading) -> dict[str, dict[str, int]]:
    """Return what is billed apart, audio in LangChain's word, the rest under the names of genai-prices."""
    usage = reading.usage
    sent = {unit: int(count) for unit, count in usage.other.items() if unit.startswith(("input_", "cache_"))}
    received = {unit: int(count) for unit, count in usage.other.items() if unit.startswith("output_")}
    return {
        "input_token_details": {"audio": usage.input_audio_tokens, **sent},
        "output_token_details": {"audio": usage.output_audio_tokens, **received},
    }


def _add(usage: dict[str, Any], before: Mapping[str, Any], kind: str, counts: Mapping[str, int]) -> None:
    """Add counts to a usage; in a stream Gemini's are cumulative, LangChain's are what each chunk adds."""
    earlier = before.get(kind) or {}
    added = {name: max(0, count - earlier.get(name, 0)) for name, count in counts.items()}
    if any(added.values()):
        usage[kind] = {**(usage.get(kind) or {}), **{name: count for name, count in added.items() if count}}


def _anthropic(make_chunk: _Function) -> _Function:
    @functools.wraps(make_chunk)
    def keeping(self: Any, event: Any, **kwargs: Any) -> Any:
        made = make_chunk(self, event, **kwargs)
        try:
            _keep_lifetimes(made[0], event)
        except Exception:  # as above
            logger.debug("the lifetimes of Anthropic's cache writes could not be kept", exc_info=True)
        return made

    return keeping


def _keep_lifetimes(chunk: Any, event: Any) -> None:
    """Put the lifetimes on the first chunk: a stream's later reports of the usage have their sum alone."""
    if getattr(event, "type", None) != "message_start" or not isinstance(chunk, AIMessage):
        return
    written = getattr(event.message.usage, "cache_creation", None)
    counts = {name: count for name in _LIFETIMES if (count := getattr(written, name, None))}
    if counts:
        nothing: Any = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, "input_token_details": counts}
        chunk.usage_metadata = add_usage(chunk.usage_metadata, nothing)
