"""Which tiers can take a request at all: its length, its tools, its images, the form of its answer."""

from __future__ import annotations

from collections.abc import Sequence

from thrift_core.messages import Request
from thrift_core.routing.tier import Tier
from thrift_core.tokens import count_request

# A token is at least a third of a character in what a context can hold many of, and seldom more than six.
_FEWEST_CHARACTERS = 1
_USUAL_CHARACTERS = 4
_OUTPUT_RESERVE = 1024


def rough_tokens(request: Request) -> int:
    """Return about how many tokens a request has, in microseconds: a quarter of its characters."""
    return _characters(request) // _USUAL_CHARACTERS + 8 * len(request.messages)


def needs(request: Request) -> frozenset[str]:
    """Return the capabilities that a request asks for."""
    found: set[str] = set()
    if request.tools:
        found.add("tools")
    if request.parameters.get("response_format"):
        found.add("structured_output")
    if any(block.kind in ("image", "image_url", "input_image") for m in request.messages for block in m.opaque):
        found.add("images")
    return frozenset(found)


def misfits(request: Request, tiers: Sequence[Tier]) -> dict[int, str]:
    """Return the tiers that cannot take the request, by place, each with the reason."""
    asked = needs(request)
    found: dict[int, str] = {}
    tokens: int | None = None
    characters = _characters(request)
    for place, tier in enumerate(tiers):
        if lacking := asked - tier.capabilities:
            found[place] = f"{tier.name} cannot do {', '.join(sorted(lacking))}"
            continue
        if tier.max_output_tokens and (request.max_output_tokens or 0) > tier.max_output_tokens:
            found[place] = f"{tier.name} answers with at most {tier.max_output_tokens} tokens"
            continue
        if tier.context_limit is None:
            continue
        reserve = request.max_output_tokens or min(_OUTPUT_RESERVE, tier.context_limit // 4)
        # The exact count takes milliseconds: only where it may matter.
        has_media = any(message.opaque for message in request.messages)
        if not has_media and characters // _FEWEST_CHARACTERS + 16 * len(request.messages) + reserve <= (
            tier.context_limit
        ):
            continue
        tokens = count_request(request) if tokens is None else tokens
        if tokens + reserve > tier.context_limit:
            found[place] = f"{tokens} tokens do not fit into {tier.name}'s {tier.context_limit}"
    return found


def _characters(request: Request) -> int:
    total = 0
    for message in request.messages:
        total += len(message.text)
        total += sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return total + sum(len(str(tool)) for tool in request.tools)
