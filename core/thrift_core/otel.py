"""Sends recorded calls to OpenTelemetry: tokens and latency by its GenAI conventions, cost in names of our own.

The conventions have no cost, so dollars go under `thrift.`. They are in development and have two generations of token
metrics, both of which are sent: the histogram `gen_ai.client.token.usage` that dashboards know today, and the counters
`gen_ai.client.inference.usage.*` that tell cached, cache-write and reasoning tokens apart.

Source: https://github.com/open-telemetry/semantic-conventions-genai, `docs/gen-ai/gen-ai-metrics.md` and
`docs/gen-ai/gen-ai-token-metrics.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING

from thrift_core.accounting.call import Attribution, Call
from thrift_core.accounting.usage import Usage
from thrift_core.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, MeterProvider

Attributes = dict[str, str | bool]

_TOKEN_BUCKETS = [4**power for power in range(14)]
_SECOND_BUCKETS = [0.01 * 2**power for power in range(14)]
# Ids of genai-prices that the conventions spell in another way.
_PROVIDERS = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "x-ai": "x_ai",
}
_USAGE = "gen_ai.client.inference.usage."
_FAILED = frozenset({"error", "retried"})
_KEYS = tuple(field.name for field in fields(Attribution))


class OpenTelemetryExporter:
    """Measures each call it is given; pass it as `on_call`.

    ====================================  =========  ==========================================================
    metric                                unit       of
    ====================================  =========  ==========================================================
    gen_ai.client.token.usage             {token}    calls whose usage the provider reported, by token type
    gen_ai.client.operation.duration      s          calls that were sent
    gen_ai.client.inference.usage.*       {token}    as the first; input, output, cache read and write, reasoning
    thrift.cost                           {USD}      calls with a known price
    thrift.calls                          {call}     all calls, by outcome and by whether a price is known
    ====================================  =========  ==========================================================

    The ledger keeps one name of the model, so request and response model are the same. It does not keep the class of an
    error either: `error.type` is the conventions' `_OTHER`.

    Args:
        meter_provider: where to; None for the global one.
        by: what else cost and calls are split by, out of `feature`, `user`, `tenant`, `task` and `run`. Each value
            makes a time series of its own, so users and tasks are not among them unless asked for.
        report_estimates: whether to report tokens that thrift counted itself. The conventions say no unless the user
            asks for it.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
        ConfigurationError: `by` names something else.

    Example:
        >>> from thrift_core.accounting.call import Call
        >>> export = OpenTelemetryExporter(by=("feature",))
        >>> export(Call(model="gpt-4.1-mini", provider="openai"))
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        by: Iterable[str] = ("feature", "tenant"),
        report_estimates: bool = False,
    ) -> None:
        try:
            from opentelemetry.metrics import get_meter_provider  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise MissingExtra("OpenTelemetryExporter", "thrift-core[otel]") from error
        self._by = tuple(by)
        if unknown := sorted(set(self._by) - set(_KEYS)):
            raise ConfigurationError(f"cannot split cost by {', '.join(unknown)}; known are {', '.join(_KEYS)}")
        self._report_estimates = report_estimates
        meter = (meter_provider or get_meter_provider()).get_meter("thrift_core")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKEN_BUCKETS,
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECOND_BUCKETS,
        )

        def tokens(name: str, description: str) -> Counter:
            return meter.create_counter(_USAGE + name, unit="{token}", description=description)

        self._input = tokens("input_tokens", "Input tokens used, cached ones included.")
        self._output = tokens("output_tokens", "Output tokens used, reasoning included.")
        self._cache_read = tokens("cache_read.input_tokens", "Input tokens read from the provider's cache.")
        self._cache_write = tokens("cache_write.input_tokens", "Input tokens written to the provider's cache.")
        self._reasoning = tokens("reasoning.output_tokens", "Output tokens used for reasoning.")
        self._cost = meter.create_counter("thrift.cost", unit="{USD}", description="What calls cost.")
        self._calls = meter.create_counter("thrift.calls", unit="{call}", description="Calls recorded by thrift.")

    def __call__(self, call: Call) -> None:
        """Measure one call."""
        common = _common(call)
        if call.outcome != "cache_hit":  # nothing was sent
            if call.latency_seconds is not None:
                failed: Attributes = {"error.type": "_OTHER"} if call.outcome in _FAILED else {}
                self._seconds.record(call.latency_seconds, common | failed)
            if self._report_estimates or not call.is_estimated:
                self._record_usage(call.usage, common)
        whom = {f"thrift.{name}": value for name in self._by if (value := getattr(call.attribution, name)) is not None}
        if call.cost_usd is not None:
            self._cost.add(float(call.cost_usd), common | whom)
        counted: Attributes = {"thrift.outcome": call.outcome, "thrift.is_priced": call.cost_usd is not None}
        self._calls.add(1, common | whom | counted)

    def _record_usage(self, usage: Usage, common: Attributes) -> None:
        self._tokens.record(usage.input_tokens, common | {"gen_ai.token.type": "input"})
        self._tokens.record(usage.output_tokens, common | {"gen_ai.token.type": "output"})
        _add(self._input, usage.input_tokens, usage.input_audio_tokens, common)
        _add(self._output, usage.output_tokens, usage.output_audio_tokens, common)
        for counter, tokens in (
            (self._cache_read, usage.cache_read_tokens),
            (self._cache_write, usage.cache_write_tokens),
            (self._reasoning, usage.reasoning_tokens),
        ):
            if tokens:
                _add(counter, tokens, 0, common)


def _add(counter: Counter, tokens: int, audio_tokens: int, common: Attributes) -> None:
    """Count tokens by modality; providers tell audio apart, but not images from text."""
    audio_tokens = min(audio_tokens, tokens)
    counter.add(tokens - audio_tokens, common | {"gen_ai.token.modality": "unknown"})
    if audio_tokens:
        counter.add(audio_tokens, common | {"gen_ai.token.modality": "audio"})


def _common(call: Call) -> Attributes:
    provider = call.provider or "unknown"
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": call.model,
        "gen_ai.response.model": call.model,
    }
