"""Recorded calls become the metrics that the GenAI conventions ask for."""

import sys
from decimal import Decimal

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from thrift_core.accounting.call import Attribution, Call
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.meter import Answer, Meter
from thrift_core.accounting.usage import Usage
from thrift_core.errors import ConfigurationError, MissingExtra
from thrift_core.messages import Message, Request
from thrift_core.otel import OpenTelemetryExporter

COMMON = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-mini",
    "gen_ai.response.model": "gpt-4.1-mini",
}
USAGE = "gen_ai.client.inference.usage."


class Exported:
    """An exporter with what it has sent."""

    def __init__(self, **settings):
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider(metric_readers=[self._reader])
        self.export = OpenTelemetryExporter(self._provider, **settings)

    def metrics(self):
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        (resource,) = data.resource_metrics
        (scope,) = resource.scope_metrics
        assert scope.scope.name == "thrift_core"
        return {metric.name: metric for metric in scope.metrics}

    def points(self, name):
        metric = self.metrics().get(name)
        return [] if metric is None else metric.data.data_points

    def value(self, name, **attributes):
        """Return the sum over the points that have these attributes."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        found = [point for point in self.points(name) if wanted.items() <= dict(point.attributes).items()]
        return sum(getattr(point, "value", None) or getattr(point, "sum", 0) for point in found)


@pytest.fixture
def make():
    made = []

    def exported(**settings):
        made.append(Exported(**settings))
        return made[-1]

    yield exported
    for one in made:
        one._provider.shutdown()


def call(**given):
    settings = {
        "model": "gpt-4.1-mini",
        "provider": "openai",
        "usage": Usage(
            input_tokens=100, cache_read_tokens=60, cache_write_tokens=5, output_tokens=20, reasoning_tokens=7
        ),
        "cost_usd": Decimal("0.25"),
        "latency_seconds": 1.5,
    }
    return Call(**(settings | given))


def test_tokens_are_a_histogram_by_type_with_the_conventions_buckets(make):
    exported = make()
    exported.export(call())
    exported.export(call())
    points = {point.attributes["gen_ai.token.type"]: point for point in exported.points("gen_ai.client.token.usage")}
    assert {kind: (point.count, point.sum) for kind, point in points.items()} == {"input": (2, 200), "output": (2, 40)}
    assert dict(points["input"].attributes) == COMMON | {"gen_ai.token.type": "input"}
    assert exported.metrics()["gen_ai.client.token.usage"].unit == "{token}"
    assert list(points["input"].explicit_bounds) == [
        *(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
    ]


def test_duration_is_in_seconds_with_the_conventions_buckets(make):
    exported = make()
    exported.export(call())
    (point,) = exported.points("gen_ai.client.operation.duration")
    assert (point.sum, dict(point.attributes)) == (1.5, COMMON)
    assert exported.metrics()["gen_ai.client.operation.duration"].unit == "s"
    assert list(point.explicit_bounds) == [
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
    ]


def test_cached_written_and_reasoning_tokens_have_counters_of_their_own(make):
    exported = make()
    exported.export(call())
    names = ("input_tokens", "output_tokens", "cache_read.input_tokens", "cache_write.input_tokens")
    assert [exported.value(USAGE + name) for name in (*names, "reasoning.output_tokens")] == [100, 20, 60, 5, 7]
    (point,) = exported.points(USAGE + "input_tokens")
    assert dict(point.attributes) == COMMON | {"gen_ai.token.modality": "unknown"}


def test_audio_is_counted_apart_and_adds_up(make):
    exported = make()
    exported.export(call(usage=Usage(input_tokens=100, input_audio_tokens=30, output_tokens=9, output_audio_tokens=9)))
    assert exported.value(USAGE + "input_tokens", gen_ai__token__modality="audio") == 30
    assert exported.value(USAGE + "input_tokens") == 100
    assert exported.value(USAGE + "output_tokens") == 9


def test_cost_is_counted_in_dollars_by_feature_and_tenant_but_not_by_user(make):
    exported = make()
    exported.export(call(attribution=Attribution(feature="search", tenant="acme", user="ann", task="t1")))
    exported.export(call(attribution=Attribution(feature="chat")))
    assert exported.value("thrift.cost") == 0.5
    assert exported.value("thrift.cost", thrift__feature="search") == 0.25
    keys = {key for point in exported.points("thrift.cost") for key in point.attributes if key.startswith("thrift.")}
    assert keys == {"thrift.feature", "thrift.tenant"}
    assert exported.metrics()["thrift.cost"].unit == "{USD}"


def test_cost_is_split_by_user_when_asked_for(make):
    exported = make(by=["user"])
    exported.export(call(attribution=Attribution(feature="search", user="ann")))
    assert exported.value("thrift.cost", thrift__user="ann") == 0.25


def test_an_unknown_price_is_a_call_without_a_price_not_a_cost_of_nothing(make):
    exported = make()
    exported.export(call(cost_usd=None, unpriced="nobody knows"))
    assert exported.points("thrift.cost") == []
    assert exported.value("thrift.calls", thrift__is_priced=False) == 1


def test_a_failed_call_has_a_duration_with_an_error_type(make):
    exported = make()
    exported.export(call(outcome="error", usage=Usage(), cost_usd=Decimal(0)))
    (point,) = exported.points("gen_ai.client.operation.duration")
    assert point.attributes["error.type"] == "_OTHER"
    assert exported.value("thrift.calls", thrift__outcome="error") == 1


def test_a_cache_hit_sent_nothing_to_a_provider(make):
    exported = make()
    exported.export(call(outcome="cache_hit", usage=Usage(), cost_usd=Decimal(0)))
    assert set(exported.metrics()) == {"thrift.cost", "thrift.calls"}


def test_tokens_that_thrift_counted_are_reported_only_when_asked_for(make):
    quiet, telling = make(), make(report_estimates=True)
    for exported in (quiet, telling):
        exported.export(call(is_estimated=True))
    assert quiet.points("gen_ai.client.token.usage") == []
    assert telling.value("gen_ai.client.token.usage") == 120


@pytest.mark.parametrize(
    ("provider", "name"), [("aws", "aws.bedrock"), ("x-ai", "x_ai"), ("groq", "groq"), (None, "unknown")]
)
def test_providers_are_named_as_the_conventions_name_them(make, provider, name):
    exported = make()
    exported.export(call(provider=provider))
    (point,) = exported.points("gen_ai.client.operation.duration")
    assert point.attributes["gen_ai.provider.name"] == name


def test_as_on_call_it_measures_what_the_ledger_recorded(make):
    exported = make()
    meter = Meter(Ledger(), on_call=[exported.export])
    meter.start("a", lambda: Request((Message("user", "hello"),)), model="gpt-4.1-mini", provider="openai")
    meter.finish("a", Answer(payload={"usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}))
    assert exported.value("gen_ai.client.token.usage", gen_ai__token__type="input") == 9
    assert exported.value("thrift.cost") == float(meter.ledger.total().cost_usd) > 0


def test_an_unknown_split_is_refused_at_once():
    with pytest.raises(ConfigurationError, match=r"colour.*feature, user, tenant, task, run"):
        OpenTelemetryExporter(by=["colour"])


def test_without_opentelemetry_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    with pytest.raises(MissingExtra, match=r"thrift-core\[otel\]"):
        OpenTelemetryExporter()
