import logging
from typing import Any

import pytest
from thrift_core.caching.drift import Drift, DriftDetector
from thrift_core.messages import Message, Request

NOON = 1_795_176_000.0  # 2026-11-20 12:00 UTC
ASK = Message("user", "where is my parcel")


def _inspect(*systems: str, tools: tuple[dict[str, Any], ...] = (), now: float = NOON) -> list[Drift]:
    detector = DriftDetector()
    found: list[Drift] = []
    for system in systems:
        found = detector.inspect(Request((Message("system", system), ASK), tools=tools), now=now)
    return found


@pytest.mark.parametrize(
    ("system", "kind", "text"),
    [
        ("It is 2026-11-20T12:00:03Z now. Be brief.", "timestamp", "2026-11-20T12:00:03Z"),
        ("Started at 1795176123, be brief.", "timestamp", "1795176123"),
        ("Session 0b8f2c1e-3d64-4b0a-9c55-1f2e3d4c5b6a of the shop.", "id", "0b8f2c1e-3d64-4b0a-9c55-1f2e3d4c5b6a"),
        ("request_id: req8842xk. Be brief.", "id", "request_id: req8842xk"),
    ],
)
def test_what_looks_like_now_or_like_an_id_is_named_at_first_sight(system: str, kind: str, text: str) -> None:
    [drift] = _inspect(system)
    assert (drift.where, drift.kind, drift.text) == ("system prompt", kind, text)


@pytest.mark.parametrize(
    "system",
    [
        "Our shop opened on 2019-05-01 at 09:00.",
        "Deploys of 2026-01-05T10:00:00Z are final.",
        "Call 1234567890 for help.",
    ],
)
def test_a_time_of_long_ago_is_no_drift(system: str) -> None:
    assert _inspect(system) == []


@pytest.mark.parametrize(
    ("before", "after", "kind", "text", "was"),
    [
        ("Call 41 of today. Be brief.", "Call 42 of today. Be brief.", "counter", "42", "41"),
        ("Today is 20 Nov, 09:59. Go.", "Today is 20 Nov, 10:00. Go.", "timestamp", "10:00.", "09:59."),
        ("Trace ab12cd34ef56ab78 on.", "Trace 99aa77bb55cc33dd on.", "id", "99aa77bb55cc33dd", "ab12cd34ef56ab78"),
        ("You serve Ann kindly.", "You serve Bob kindly.", "text", "Bob", "Ann"),
    ],
)
def test_what_changes_between_two_calls_of_a_conversation_is_named(
    before: str, after: str, kind: str, text: str, was: str
) -> None:
    [drift] = _inspect(before, after)
    assert (drift.kind, drift.text, drift.was) == (kind, text, was)


def test_tools_in_another_order_are_named() -> None:
    detector = DriftDetector()
    a, b = {"name": "a"}, {"name": "b"}
    detector.inspect(Request((ASK,), tools=(a, b)), now=NOON)
    [drift] = detector.inspect(Request((ASK,), tools=(b, a)), now=NOON)
    assert (drift.where, drift.kind, drift.text, drift.was) == ("tools", "order", "b, a", "a, b")


def test_a_changing_tool_description_is_named() -> None:
    detector = DriftDetector()
    for minute in ("11", "12"):
        found = detector.inspect(Request((ASK,), tools=({"name": "a", "description": f"as of 12:{minute}"},)), now=NOON)
    assert [(drift.where, drift.kind, drift.text) for drift in found] == [("tools", "timestamp", "12:12")]


def test_the_warning_comes_once_and_names_the_text(caplog: pytest.LogCaptureFixture) -> None:
    detector = DriftDetector()
    with caplog.at_level(logging.WARNING, logger="thrift"):
        for call in range(5):
            detector.inspect(Request((Message("system", f"Call {call} of today."), ASK)), now=NOON)
    [record] = caplog.records
    assert "'1' (was '0')" in record.getMessage()


def test_another_conversation_may_have_another_system_prompt() -> None:
    detector = DriftDetector()
    detector.inspect(Request((Message("system", "You serve Ann."), Message("user", "hello"))), now=NOON)
    assert detector.inspect(Request((Message("system", "You serve Bob."), Message("user", "good day"))), now=NOON) == []


def test_long_texts_are_shown_in_part() -> None:
    [drift] = _inspect("x " * 500 + "end", "y " * 500 + "end")
    assert len(drift.text) <= 80
    assert drift.text.endswith("...")
