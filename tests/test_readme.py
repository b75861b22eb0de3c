"""What the README shows runs as it is shown."""

import asyncio
import re
from decimal import Decimal
from pathlib import Path

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from llama_index.core import MockEmbedding, SummaryIndex, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.llms.openai import OpenAI
from thrift_core.cli import main
from thrift_core.testing import LocalProvider, RateCard, Reply

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
MODEL = "gpt-4.1-mini"


def snippet(heading, number=0):
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)[number]


@pytest.fixture
def provider():
    rates = RateCard(Decimal("0.4"), Decimal("0.1"), Decimal("1.6"))
    with LocalProvider(lambda request: Reply(text="an answer"), rates) as running:
        yield running


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_langchain_example_runs_and_counts(provider, folder, capsys):
    model = ChatOpenAI(model=MODEL, base_url=provider.base_url, api_key="test")
    names = {"chain": ChatPromptTemplate.from_template("{question}") | model | StrOutputParser()}
    exec(snippet("LangChain"), names)
    assert str(provider.bill.cost_usd) in capsys.readouterr().out
    assert names["ledger"].spend("user")[0].key == "ann"
    assert main(["report", "thrift.sqlite"]) == 0
    assert "search" in capsys.readouterr().out
    assert main(["report", "thrift.sqlite", "--html", "bill.html"]) == 0
    assert main(["budget", "thrift.sqlite"]) == 0
    assert main(["budget", "try", "thrift.sqlite", "--usd", "5", "--per", "user", "--window", "day"]) == 0
    assert main(["export", "calls.jsonl", "thrift.sqlite"]) == 0


@pytest.fixture
def event_loop_of_the_thread():
    """What LlamaIndex's synchronous engines would make themselves and leave open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.usefixtures("event_loop_of_the_thread", "folder")
def test_the_llamaindex_example_runs_and_counts(provider):
    llm = OpenAI(model=MODEL, api_base=provider.base_url, api_key="test")
    query_engine = SummaryIndex([TextNode(text="a fact")]).as_query_engine(llm=llm)
    names = {"query_engine": query_engine}
    exec(snippet("LlamaIndex"), names)
    assert names["ledger"].total(user="ann", feature="docs").cost_usd == provider.bill.cost_usd > 0
    assert names["ledger"].resolutions() == {"ticket 7": True}


def test_the_langchain_agent_example_runs(provider):
    names = {"model": ChatOpenAI(model=MODEL, base_url=provider.base_url, api_key="test"), "tools": []}
    exec(snippet("LangChain", 1), names)
    answer = names["agent"].invoke({"messages": [("user", "hello")]})
    assert answer["messages"][-1].text == "an answer"


def test_the_callback_of_the_three_ways_counts(provider, folder, capsys):
    model = ChatOpenAI(model=MODEL, base_url=provider.base_url, api_key="test")
    names = {"chain": ChatPromptTemplate.from_template("{question}") | model | StrOutputParser()}
    exec(snippet("Three ways in"), names)
    assert str(provider.bill.cost_usd) in capsys.readouterr().out


def test_the_routed_and_cached_model_of_the_three_ways_answers(provider, capsys):
    cheap, strong = (
        ChatOpenAI(model=model, base_url=provider.base_url, api_key="test") for model in ("gpt-4.1-nano", MODEL)
    )
    names = {"cheap_model": cheap, "strong_model": strong}
    exec(snippet("Three ways in", 1), names)
    assert capsys.readouterr().out.startswith("an answer {")
    asked = len(provider.requests)
    assert names["model"].invoke("How do I reset my password?").text == "an answer"
    assert len(provider.requests) == asked > 0


@pytest.mark.usefixtures("event_loop_of_the_thread")
def test_the_postprocessor_of_the_three_ways_answers(provider, capsys):
    llm = OpenAI(model=MODEL, api_base=provider.base_url, api_key="test")
    texts = ["Bees dance to show each other the way to flowers.", "Ants march in lines. Their queen lays the eggs."]
    index = VectorStoreIndex([TextNode(text=text) for text in texts], embed_model=MockEmbedding(embed_dim=3))
    exec(snippet("Three ways in", 2), {"index": index, "llm": llm})
    assert capsys.readouterr().out == "an answer\n"


# LlamaIndex's own: its workflows look at every attribute of an agent.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
async def test_the_llamaindex_agent_example_runs(provider):
    def stock(product: str) -> int:
        """Say how many of a product are in stock."""
        return 3

    names = {"llm": OpenAI(model=MODEL, api_base=provider.base_url, api_key="test"), "tools": [stock]}
    exec(snippet("LlamaIndex", 1), names)
    assert str(await names["agent"].run("hello")) == "an answer"


def test_every_page_that_the_readme_links_to_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / link).exists(), link
