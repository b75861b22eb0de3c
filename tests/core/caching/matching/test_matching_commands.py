"""`thrift calibrate cache` and `thrift train matcher`, and the judge that writes their files."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from thrift_core.caching.matching import LabelWriter, LearnedMatcher, PartitionedCertificate, llm_judge, read_pairs
from thrift_core.calibration.certificate import Certificate
from thrift_core.cli import main

TOPICS = ["password", "invoice", "address", "delivery", "refund", "holiday", "salary", "backup", "router", "passport"]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    rows = []
    for number in range(60):
        topic, other = TOPICS[number % 10], TOPICS[(number + 3) % 10]
        one = f"How do I change my {topic} in plan {number}?"
        rows.append({"a": one, "b": f"how can I change my {topic} in plan {number}", "same": True, "partition": topic})
        rows.append({"a": one, "b": f"How do I change my {other} in plan {number}?", "same": False, "partition": topic})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_calibrating_shows_the_curve_and_says_what_the_pairs_support(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "certificate.json", tmp_path / "curve.html"
    assert main(["calibrate", "cache", str(pairs), "--light", "--out", str(out), "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "120 pairs, 60 of them the same question" in shown
    assert "cannot certify 1 % from 120 pairs" in shown
    certificate = Certificate.load(out, kind="cache", version=LearnedMatcher(verifier=None).version)
    assert certificate.n == 120
    assert "<svg" in page.read_text()


def test_parts_are_calibrated_apart(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "parts.json"
    arguments = ["--max-false-hits", "0.3", "--by-partition", "--light", "--out", str(out)]
    assert main(["calibrate", "cache", str(pairs), *arguments]) == 0
    assert "password:" in capsys.readouterr().out
    assert set(PartitionedCertificate.load(out).parts) == set(TOPICS)


def test_training_writes_a_head_that_calibration_takes(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = tmp_path / "head.json"
    assert main(["train", "matcher", str(pairs), "--light", "--out", str(head)]) == 0
    assert "after, on pairs left out of training" in capsys.readouterr().out
    assert main(["calibrate", "cache", str(pairs), "--head", str(head)]) == 0
    assert LearnedMatcher(verifier=None).version not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"a": "x", "b": "y", "same": true}\n', "40 or more"), ("{}\n", "keys none"), ("", "holds no pair")],
)
def test_what_cannot_be_trained_on_is_refused_in_one_line(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text(text)
    assert main(["train", "matcher", str(file), "--light", "--out", str(tmp_path / "head.json")]) == 2
    assert words in capsys.readouterr().err


def test_a_judge_writes_labels_that_can_be_read_and_its_failures_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = iter(["YES", "No.", "perhaps", RuntimeError("rate limit"), RuntimeError("again"), "yes, it may"])

    def complete(prompt: str) -> str:
        answer = next(said)
        if isinstance(answer, Exception):
            raise answer
        return answer

    file, seen = tmp_path / "labels.jsonl", []
    with caplog.at_level(logging.WARNING), LabelWriter(llm_judge(complete), file, on_label=seen.append) as writer:
        for number in range(6):
            assert writer.ask(f"one {number}", f"two {number}", partition="shop")
    assert [pair.same for pair in read_pairs(file)] == [True, False, True]
    assert [pair.partition for pair in seen] == ["shop"] * 3
    assert writer.written == 3
    assert len(caplog.records) == 1


def test_a_full_queue_drops_and_never_waits(tmp_path: Path) -> None:
    import threading

    release = threading.Event()

    def slow(a: str, b: str) -> bool:
        release.wait(10)
        return True

    writer = LabelWriter(slow, tmp_path / "labels.jsonl", most_waiting=2)
    taken = [writer.ask("a", str(number)) for number in range(10)]
    release.set()
    writer.close()
    assert not all(taken)
    assert writer.dropped == taken.count(False)
    assert writer.written == taken.count(True)
