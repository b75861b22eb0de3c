import json

import pytest
from thrift_core.calibration.certificate import Certificate, fingerprint
from thrift_core.errors import ConfigurationError


def certificate(**changes):
    return Certificate(**{"kind": "router", "version": "r1", "max_loss": 0.01, "confidence": 0.95, "n": 250, **changes})


def test_a_certificate_comes_back_from_its_file(tmp_path):
    made = certificate(threshold=0.25, bound=0.009, figures={"strong_calls": 0.4}, data="abc")
    made.save(tmp_path / "c.json")
    assert Certificate.load(tmp_path / "c.json", kind="router", version="r1") == made


def test_a_certificate_for_another_version_or_lever_is_refused(tmp_path):
    certificate().save(tmp_path / "c.json")
    with pytest.raises(ConfigurationError, match="calibrate again"):
        Certificate.load(tmp_path / "c.json", kind="router", version="r2")
    with pytest.raises(ConfigurationError, match="calibrate again"):
        Certificate.load(tmp_path / "c.json", kind="cache", version="r1")


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"format": 1}', '{"format": 1, "kind": "x", "sneaky": 1}'])
def test_what_is_no_certificate_is_refused(text):
    with pytest.raises(ConfigurationError):
        Certificate.from_json(text)


def test_another_format_is_refused_by_its_number():
    changed = json.dumps({**json.loads(certificate().to_json()), "format": 99})
    with pytest.raises(ConfigurationError, match="format 99"):
        Certificate.from_json(changed)


def test_without_a_threshold_nothing_is_certified():
    assert not certificate().is_certified
    assert certificate(threshold=0.0).is_certified
    with pytest.raises(ConfigurationError, match="nan"):
        certificate(threshold=float("nan"))


def test_a_certificate_is_what_the_cache_asks_for():
    from thrift_core.caching.semantic import CertifiedThreshold

    made = certificate(kind="cache", threshold=0.9)
    assert isinstance(made, CertifiedThreshold)
    assert (made.matcher, made.name[:6]) == ("r1", "cache-")


def test_a_fingerprint_tells_data_apart():
    assert fingerprint(["a", "b"]) != fingerprint(["a", "b", "b"])
