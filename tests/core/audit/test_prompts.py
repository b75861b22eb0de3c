"""`thrift audit --prompts`: points at dead weight, with tokens and dollars, and changes nothing."""

import json

import pytest
from thrift_core.audit.prompt_files import read_prompts
from thrift_core.audit.prompt_lint import lint_prompts
from thrift_core.cli import main

PROMPT = """# Shop policy
========================================
Today is 2026-03-01 and the session id is 7.
Always ask for the order number before you look anything up for a customer.
Refund an order only where it came broken.
Do not refund an order where it came broken.
Always ask for the order number before you look up anything for the customer.
Gold members get 2 free returns for each order that they place.
Silver members get 1 free return for each order that they place.

Example: a customer writes about a lamp.
Example: a customer writes about a chair.
Example: a customer writes about a table that came without one of its legs.
"""
TOOLS = [
    {
        "name": "refund",
        "description": "Give the money back for one order.",
        "parameters": {
            "title": "refund",
            "type": "object",
            "properties": {
                "id": {"title": "Id", "type": "string", "description": "the id of the order, such as W-100"}
            },
        },
    },
    {
        "name": "track",
        "description": "Say where an order is.",
        "parameters": {
            "type": "object",
            "properties": {"id": {"type": "string", "description": "the id of the order, such as W-100"}},
        },
    },
]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "policy.md").write_text(PROMPT, encoding="utf-8")
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    return [tmp_path / "policy.md", tmp_path / "tools.json"]


def found(files):
    return {(item.kind, item.where) for item in lint_prompts(read_prompts(files), len).findings}


def test_a_rule_said_twice_is_pointed_at_and_rules_that_differ_are_not(files):
    assert {where for kind, where in found(files) if kind == "repeated rule"} == {"policy.md:7"}


def test_volatile_text_examples_and_decoration_are_pointed_at(files):
    assert found(files) >= {
        ("volatile text", "policy.md:3"),
        ("examples", "policy.md:13"),
        ("decoration", "policy.md:2"),
    }


def test_tool_text_said_twice_and_schemas_that_could_be_shorter_are_pointed_at(files):
    assert found(files) >= {("duplicate tool text", "tools.json: track"), ("tool schema", "tools.json: refund")}


def test_a_whole_request_is_read(tmp_path):
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"messages": [{"role": "system", "content": PROMPT}], "tools": TOOLS}), encoding="utf-8")
    read = read_prompts([file])
    assert read.prompts == {"request.json": PROMPT}
    assert [tool["name"] for _, tool in read.tools] == ["refund", "track"]


def test_the_command_shows_dollars_for_1000_calls(files, capsys):
    assert main(["audit", "--prompts", *map(str, files)]) == 0
    shown = capsys.readouterr().out
    assert "repeated rule" in shown
    assert "$" in shown


def test_the_command_writes_json(files, capsys):
    assert main(["audit", "--json", "-", "--prompts", *map(str, files)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["tool_tokens"] > 0
    assert all(float(row["usd_per_1000_calls"]) >= float(row["usd_per_1000_calls_cached"]) for row in rows["findings"])


def test_a_clean_prompt_gets_no_advice(tmp_path, capsys):
    (tmp_path / "clean.txt").write_text("Answer in one sentence.", encoding="utf-8")
    assert main(["audit", "--prompts", str(tmp_path / "clean.txt")]) == 0
    assert "Nothing to suggest" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["audit"], ["audit", "--prompts", "/nowhere/at/all.md"]])
def test_what_cannot_be_audited_is_said_in_one_line(arguments, capsys):
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
