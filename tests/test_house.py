"""The rules of the house that a machine can check."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import langchain_thrift
import llamaindex_thrift
import pytest
import thrift_core

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "thrift_core"
LEVERS = {"caching", "compression", "retrieval", "trajectory", "routing"}


@pytest.mark.parametrize("package", [thrift_core, langchain_thrift, llamaindex_thrift])
def test_what_a_package_exports_is_there_and_sorted(package):
    assert list(package.__all__) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_knows_no_framework_and_its_levers_not_each_other(path):
    names = set(imported(path))
    assert not {name for name in names if re.match(r"(langchain|langgraph|llama_index|llamaindex)", name)}
    room = path.relative_to(CORE).parts[0]
    if room in LEVERS:
        others = "|".join(LEVERS - {room})
        assert not {name for name in names if re.match(rf"thrift_core\.({others})\b", name)}


def test_importing_the_core_imports_nothing_heavy_and_opens_nothing():
    code = """
import sys
def forbid(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        raise RuntimeError(event)
sys.addaudithook(forbid)
import thrift_core
heavy = {"numpy", "genai_prices", "pydantic", "tiktoken", "rich", "redis", "asyncio", "torch", "httpx2"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_constraints_are_plain_versions():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+", line) for line in lines)


def test_the_three_distributions_have_one_version():
    versions = {
        re.search(r'^version = "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)[1]
        for path in [ROOT / "core/pyproject.toml", *ROOT.glob("packages/*/pyproject.toml")]
    }
    assert len(versions) == 1
    assert f"thrift-core=={versions.pop()}" in (ROOT / "packages/langchain_thrift/pyproject.toml").read_text("utf-8")
