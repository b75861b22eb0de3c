import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.errors import ConfigurationError
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.relevance.passage import Passage, Trimmed
from thrift_core.relevance.rarity import CorpusRarity
from thrift_core.retrieval.scorers import EmbeddingScorer
from thrift_core.retrieval.settings import ORDERS, Order
from thrift_core.retrieval.trimmer import TopKTrimmer
from thrift_core.token_counters import EstimatedCounter, TokenCounter, default_counter

BEES = Passage(
    "bees", "Bees live in hives. A bee dances to tell the others where the flowers are. They sleep at night."
)
ANTS = Passage("ants", "Ants march in lines. Their queen lays all the eggs. An ant carries ten times its weight.")
CRABS = Passage("crabs", "Crabs walk sideways. Their shells are hard. Most of them live in the sea near the shore.")
ZOO = [ANTS, CRABS, BEES]
QUESTION = "Why does a bee dance?"


class Characters:
    """Counts every character, so that nothing merges and every one matters."""

    def count(self, text: str) -> int:
        return len(text)


class Blocks:
    """Counts more for a whole than for its parts now and then, as tokenizers may."""

    def count(self, text: str) -> int:
        return -(-len(text) // 3) + text.count("\n") * 2


def _cost(trimmed: Trimmed, counter: TokenCounter) -> int:
    overheads = sum(cut.passage.overhead_tokens for cut in trimmed.kept)
    apart = sum(counter.count(cut.rendered) for cut in trimmed.kept)
    return max(apart, counter.count(trimmed.text)) + overheads


def _ids(trimmed: Trimmed) -> list[str]:
    return [cut.id for cut in trimmed.kept]


def test_the_sentence_that_answers_is_kept_and_the_rest_goes() -> None:
    trimmed = TopKTrimmer(max_tokens=14).trim(ZOO, QUESTION)
    assert trimmed.kept[0].text == "A bee dances to tell the others where the flowers are."
    assert {cut.id for cut in trimmed.dropped} == {"ants", "crabs"}
    assert trimmed.tokens <= 14


def test_every_passage_comes_out_once_with_a_reason() -> None:
    trimmed = TopKTrimmer(max_tokens=14).trim(ZOO, QUESTION)
    assert sorted(cut.index for cut in (*trimmed.kept, *trimmed.dropped)) == [0, 1, 2]
    assert all(cut.reason for cut in (*trimmed.kept, *trimmed.dropped))


def test_without_a_limit_nothing_is_cut() -> None:
    trimmed = TopKTrimmer().trim(ZOO, QUESTION)
    assert {cut.text for cut in trimmed.kept} == {passage.text for passage in ZOO}
    assert trimmed.dropped == ()
    assert trimmed.risk == pytest.approx(0.0, abs=1e-9)


def test_what_fits_as_it_is_keeps_its_blanks() -> None:
    padded = Passage("p", "  Bees dance.\n\n\n  Ants do not.  ")
    assert TopKTrimmer(max_tokens=50).trim([padded], QUESTION).kept[0].text == padded.text


def test_spans_are_the_text_byte_for_byte() -> None:
    trimmed = TopKTrimmer(max_tokens=30).trim(ZOO, QUESTION)
    for cut in trimmed.kept:
        assert cut.text == "\n".join(cut.passage.text[span.start : span.end] for span in cut.spans)
        assert all(span.id == cut.id and 0 <= span.score <= 1 for span in cut.spans)


def test_top_k_bounds_the_passages() -> None:
    trimmed = TopKTrimmer(top_k=1).trim(ZOO, QUESTION)
    assert _ids(trimmed) == ["bees"]
    assert trimmed.kept[0].is_whole
    assert all("1 most relevant" in cut.reason for cut in trimmed.dropped)


def test_top_k_of_zero_keeps_nothing() -> None:
    assert TopKTrimmer(top_k=0).trim(ZOO, QUESTION).kept == ()


def test_the_retrievers_order_decides_where_the_words_say_nothing() -> None:
    ranked = [Passage(str(n), f"Paragraph about subject {n}.", rank=n) for n in (3, 1, 2)]
    assert _ids(TopKTrimmer().trim(ranked, "Unrelated?")) == ["1", "2", "3"]


def test_the_retrievers_score_counts_as_its_order_does() -> None:
    scored = [Passage(str(n), f"Paragraph about subject {n}.", score=n / 10) for n in (1, 3, 2)]
    assert _ids(TopKTrimmer().trim(scored, "Unrelated?")) == ["3", "2", "1"]


@pytest.mark.parametrize("score", [0.0, -1.0, float("nan"), float("inf"), None])
def test_a_score_that_says_nothing_changes_nothing(score: float | None) -> None:
    plain = TopKTrimmer().trim(ZOO, QUESTION)
    scored = [Passage(p.id, p.text, score=score) for p in ZOO]
    assert _ids(TopKTrimmer().trim(scored, QUESTION)) == _ids(plain)


def test_near_duplicates_become_one_that_names_the_other() -> None:
    text = " ".join(f"Fact number {n} is that thing {n} has property {n * n}." for n in range(20))
    twin = Passage("mirror", text.replace("Fact number 7 is", "Fact number 7 was"), rank=2)
    trimmed = TopKTrimmer().trim([Passage("first", text, rank=1), twin, BEES], "What is thing 3?")
    kept = next(cut for cut in trimmed.kept if cut.id == "first")
    assert [passage.id for passage in kept.also] == ["mirror"]
    assert "mirror" in {cut.id for cut in trimmed.dropped}
    assert "'first'" in next(cut.reason for cut in trimmed.dropped if cut.id == "mirror")


def test_passages_that_differ_are_no_duplicates() -> None:
    assert len(TopKTrimmer().trim(ZOO, QUESTION).kept) == 3


def test_duplicate_ids_are_told_apart_by_their_place() -> None:
    same = [Passage("x", BEES.text), Passage("x", ANTS.text)]
    trimmed = TopKTrimmer(max_tokens=14).trim(same, QUESTION)
    assert [cut.index for cut in trimmed.kept] == [0]
    assert [cut.index for cut in trimmed.dropped] == [1]


@pytest.mark.parametrize(
    ("order", "places"),
    [("relevance", ["1", "2", "3", "4"]), ("original", ["2", "1", "4", "3"]), ("edges", ["1", "3", "4", "2"])],
)
def test_the_order_is_the_one_asked_for(order: str, places: list[str]) -> None:
    ranked = [Passage(str(n), f"Paragraph about subject {n}.", rank=n) for n in (2, 1, 4, 3)]
    assert _ids(TopKTrimmer(order=order).trim(ranked, "Unrelated?")) == places  # type: ignore[arg-type]


def test_whole_passages_only_where_sentences_may_not_be_cut() -> None:
    trimmed = TopKTrimmer(max_tokens=30, cut_sentences=False).trim(ZOO, QUESTION)
    assert _ids(trimmed) == ["bees"]
    assert trimmed.kept[0].is_whole


def test_what_a_prompt_shows_around_a_passage_is_counted_with_it() -> None:
    shown = [Passage(p.id, p.text, before="[source: the big book of animals, page 17] ", after="\n---") for p in ZOO]
    trimmed = TopKTrimmer(max_tokens=40).trim(shown, QUESTION)
    assert default_counter().count(trimmed.text) <= trimmed.tokens <= 40
    assert trimmed.text.startswith("[source: the big book")


def test_what_cannot_be_cut_is_kept_whole() -> None:
    image = Passage("image", "", is_opaque=True, overhead_tokens=20)
    trimmed = TopKTrimmer(max_tokens=34).trim([image, *ZOO], QUESTION)
    assert "image" in _ids(trimmed)
    assert "bees" in _ids(trimmed)
    assert trimmed.tokens <= 34


def test_a_second_hop_is_followed_to_the_passage_that_is_named() -> None:
    hops = [
        Passage("book", "The Long Tide is a novel by Ada Quill. It won a prize.", title="The Long Tide"),
        Passage("author", "Ada Quill was born in Malmo. She keeps goats.", title="Ada Quill"),
        Passage("other", "Tom Reed was born in Paris. He writes novels about tides.", title="Tom Reed"),
        Passage("more", "Novels of the sea were read by many. Tides were their theme.", title="Sea novels"),
    ]
    trimmed = TopKTrimmer(max_tokens=28).trim(hops, "In which town was the author of the novel The Long Tide born?")
    assert "Malmo" in trimmed.text


def test_in_a_transcript_what_stands_around_a_topic_is_kept_with_it() -> None:
    talk = [f"Well item {n} is fine." for n in range(60)]
    talk[30:33] = ["Now the budget.", "Twelve thousand then.", "The budget is agreed."]
    turns = [Passage(str(n), text, title="Ann" if n % 2 else "Bo", source="meeting") for n, text in enumerate(talk)]
    trimmed = TopKTrimmer(max_tokens=40, order="original").trim(turns, "What was said about the budget?")
    assert {"30", "31", "32"} <= set(_ids(trimmed))


def test_what_is_cut_can_be_recalled_byte_for_byte() -> None:
    trimmer = TopKTrimmer(max_tokens=14, recall_store=MemoryRecallStore())
    trimmed = trimmer.trim(ZOO, QUESTION)
    for cut in (*trimmed.kept, *trimmed.dropped):
        assert cut.handle is not None
        assert trimmer.recall(cut.handle) == cut.passage.text


def test_the_users_corpus_says_which_words_are_rare() -> None:
    rarity = CorpusRarity(["hives " * 3] * 50 + ["dance"])
    assert rarity.of("dance") > rarity.of("hives")
    assert TopKTrimmer(max_tokens=14, corpus=rarity).trim(ZOO, QUESTION).kept[0].id == "bees"


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one text"):
        CorpusRarity([])


def test_the_users_own_model_is_asked_and_believed() -> None:
    class LikesCrabs:
        def score(self, question: str, texts: Sequence[str]) -> list[float]:
            return [10.0 if "Crabs" in text else 0.0 for text in texts]

    assert TopKTrimmer(scorer=LikesCrabs()).trim(ZOO, "Unrelated?").kept[0].id == "crabs"


def test_an_embedder_scores_by_cosine() -> None:
    class Letters:
        def embed(self, texts: Sequence[str]) -> list[list[float]]:
            return [[float(text.lower().count(letter)) for letter in "abc"] for text in texts]

    scores = EmbeddingScorer(Letters()).score("aaa", ["a", "b", "", "ab"])
    assert scores == pytest.approx([1.0, 0.0, 0.0, 0.7071], abs=1e-3)


def test_the_same_input_gives_the_same_bytes() -> None:
    first, second = (TopKTrimmer(max_tokens=30).trim(ZOO, QUESTION) for _ in range(2))
    assert first == second


def test_a_question_asked_again_is_answered_from_memory_about_the_callers_own_passages() -> None:
    class Counting:
        asked = 0

        def count(self, text: str) -> int:
            Counting.asked += 1
            return len(text.split())

    trimmer = TopKTrimmer(max_tokens=12, counter=Counting())
    first = trimmer.trim(ZOO, QUESTION)
    asked = Counting.asked
    again = [Passage(p.id, p.text, metadata={"visit": 2}) for p in ZOO]
    second = trimmer.trim(again, QUESTION)
    assert Counting.asked == asked
    assert second == first
    assert all(cut.passage is again[cut.index] for cut in (*second.kept, *second.dropped))


def test_threads_share_a_trimmer() -> None:
    trimmer = TopKTrimmer(max_tokens=14, remembered=2)
    expected = trimmer.trim(ZOO, QUESTION)
    found: list[Trimmed] = []

    def work() -> None:
        for n in range(20):
            trimmer.trim(ZOO, f"{QUESTION} {n}")
            found.append(trimmer.trim(ZOO, QUESTION))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert all(trimmed == expected for trimmed in found)


async def test_async_is_the_same_as_sync() -> None:
    trimmer = TopKTrimmer(remembered=0)
    for budget in (0, 5, 14, 30, 1000):
        sync = trimmer.trim(ZOO, QUESTION, max_tokens=budget)
        assert await trimmer.atrim(ZOO, QUESTION, max_tokens=budget) == sync


async def test_async_leaves_the_loop_free() -> None:
    class Slow:
        def count(self, text: str) -> int:
            # Waits for the loop to do something else; it would wait for ever on the loop's own thread.
            assert ticked.wait(timeout=5)
            return len(text)

    ticked = threading.Event()
    task = asyncio.create_task(TopKTrimmer(counter=Slow()).atrim(ZOO, QUESTION, max_tokens=50))
    await asyncio.sleep(0)
    ticked.set()
    assert (await task).tokens <= 50


def test_no_passages_give_nothing() -> None:
    assert TopKTrimmer(max_tokens=5).trim([], QUESTION).kept == ()


@pytest.mark.parametrize("question", ["", "   ", "?!", "\ud800", "\x00\x01", "的", "Why " * 5000])
def test_any_question_is_answered(question: str) -> None:
    trimmed = TopKTrimmer(max_tokens=20).trim(ZOO, question)
    assert 0 < trimmed.tokens <= 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "\ud800\udfff lone \udc00",
        "\x00\x01\x02\xff" * 50,
        "a" * 5000,
        "🦀" * 300,
        "!!! ... ???",
        "\u0301\u0301",
    ],
)
def test_any_text_is_kept_within_the_budget(text: str) -> None:
    trimmed = TopKTrimmer(max_tokens=20).trim([Passage("odd", text), BEES], QUESTION)
    assert trimmed.tokens <= 20
    assert sorted(cut.index for cut in (*trimmed.kept, *trimmed.dropped)) == [0, 1]
    assert trimmed.kept[0].id == "bees"


def test_an_empty_passage_is_dropped_as_empty() -> None:
    trimmed = TopKTrimmer(max_tokens=14).trim([Passage("none", ""), *ZOO], QUESTION)
    assert next(cut.reason for cut in trimmed.dropped if cut.id == "none") == "empty"


def test_a_sentence_longer_than_the_budget_is_cut_at_a_clause_then_at_a_word() -> None:
    long = Passage("long", "The bee, which is small, dances because it wants to tell the hive where flowers grow")
    assert TopKTrimmer(max_tokens=7).trim([long], QUESTION).kept[0].text in ("The bee, which is small,", "The bee,")
    words = Passage("words", "bees " * 40)
    kept = TopKTrimmer(max_tokens=6).trim([words], QUESTION).kept[0].text
    assert set(kept.split()) == {"bees"}
    assert default_counter().count(kept) <= 6 < default_counter().count(kept + " bees bees")


def test_a_budget_of_nothing_keeps_nothing() -> None:
    trimmed = TopKTrimmer(max_tokens=0).trim(ZOO, QUESTION)
    assert (trimmed.kept, trimmed.tokens) == ((), 0)


def test_an_enormous_passage_is_cut() -> None:
    enormous = Passage("big", "Nothing to see in this sentence at all. " * 40_000 + "The bee dances for joy.")
    trimmed = TopKTrimmer(max_tokens=100).trim([enormous, *ZOO], QUESTION)
    assert trimmed.tokens <= 100
    assert "The bee dances for joy." in trimmed.text


def test_many_passages_are_cut() -> None:
    many = [Passage(str(n), f"Passage {n} tells of matter {n * 7 % 13}. It ends here.") for n in range(1500)]
    assert TopKTrimmer(max_tokens=500).trim(many, "What tells of matter 5?").tokens <= 500


@pytest.mark.parametrize("wrong", [None, 7, b"bytes", ["list"]])
def test_what_is_no_text_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(TypeError, match="the text of passage 1 must be a string"):
        TopKTrimmer().trim([BEES, Passage("x", wrong)], QUESTION)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the question must be a string"):
        TopKTrimmer().trim([BEES], wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="passage 0 must be a Passage"):
        TopKTrimmer().trim([wrong], QUESTION)  # type: ignore[list-item]


@pytest.mark.parametrize(
    "settings_given",
    [
        {"max_tokens": -1},
        {"max_tokens": 1.5},
        {"max_tokens": True},
        {"top_k": -1},
        {"quality_floor": 1.0},
        {"quality_floor": 0.0},
        {"quality_floor": 95},
        {"order": "best"},
        {"remembered": -1},
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings_given: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings_given))):
        TopKTrimmer(**settings_given)  # type: ignore[arg-type]


def test_a_call_may_name_other_limits() -> None:
    trimmer = TopKTrimmer(max_tokens=5)
    assert trimmer.trim(ZOO, QUESTION, max_tokens=1000).dropped == ()
    with pytest.raises(ConfigurationError, match="max_tokens"):
        trimmer.trim(ZOO, QUESTION, max_tokens=-3)


def test_importing_brings_neither_numpy_nor_regex() -> None:
    code = "import sys, thrift_core.retrieval; print(sorted({'numpy', 'regex', 'tiktoken'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


COUNTERS: tuple[TokenCounter, ...] = (Characters(), Blocks(), EstimatedCounter(), default_counter())
_LETTERS = st.characters(codec="utf-8") | st.sampled_from("  ..\n,;:ab 的了かกา अआ؟।é")
_TEXTS = st.text(_LETTERS, max_size=200) | st.lists(
    st.sampled_from(["bees dance", "no.", "ants march on;", "12.5 m", "\n\n", "What? ", "漢字です。", "क्या हुआ।"]),
    max_size=20,
).map(" ".join)


@st.composite
def _passages(draw: st.DrawFn) -> list[Passage]:
    texts = draw(st.lists(_TEXTS, max_size=6))
    return [
        Passage(
            str(n % 3),
            text,
            title=draw(st.sampled_from(["", "bees", "漢字"])),
            score=draw(st.none() | st.floats()),
            rank=draw(st.none() | st.integers(1, 9)),
            before=draw(st.sampled_from(["", "title: x\n"])),
            overhead_tokens=draw(st.integers(0, 3)),
        )
        for n, text in enumerate(texts)
    ]


@settings(max_examples=250, deadline=None)
@given(data=st.data(), passages=_passages(), question=_TEXTS, budget=st.integers(0, 120))
def test_the_budget_holds_and_every_span_is_verbatim(
    data: st.DataObject, passages: list[Passage], question: str, budget: int
) -> None:
    counter = data.draw(st.sampled_from(COUNTERS))
    order: Order = data.draw(st.sampled_from(ORDERS))
    trimmer = TopKTrimmer(budget, order=order, counter=counter, cut_sentences=data.draw(st.booleans()))
    _check(trimmer.trim(passages, question), passages, budget, counter)


def _check(trimmed: Trimmed, passages: Sequence[Passage], budget: int, counter: TokenCounter) -> None:
    assert _cost(trimmed, counter) <= trimmed.tokens <= budget
    assert sorted(cut.index for cut in (*trimmed.kept, *trimmed.dropped)) == list(range(len(passages)))
    for cut in trimmed.kept:
        assert cut.text == "\n".join(cut.passage.text[span.start : span.end] for span in cut.spans)
        assert [span.start for span in cut.spans] == sorted(span.start for span in cut.spans)


def _generated(rng: random.Random) -> tuple[list[Passage], str, int, TokenCounter]:
    words = [
        "bee",
        "hive",
        "的",
        "दिन",
        "กา",
        "dance.",
        "x" * rng.randint(1, 90),
        "\n",
        "3.5",
        "end?",
        "；",
        "🦀",
        "\ud800",
    ]
    texts = [" ".join(rng.choices(words, k=rng.randint(0, 60))) for _ in range(rng.randint(0, 8))]
    passages = [Passage(str(n), text, rank=rng.choice([None, n + 1])) for n, text in enumerate(texts)]
    return passages, " ".join(rng.choices(words, k=5)), rng.randint(0, 150), rng.choice(COUNTERS)


def _budgets_hold(count: int) -> None:
    for number in range(count):
        passages, question, budget, counter = _generated(random.Random(number))
        _check(TopKTrimmer(budget, counter=counter).trim(passages, question), passages, budget, counter)


def test_the_budget_holds_over_thousands_of_generated_inputs() -> None:
    _budgets_hold(2500)


@pytest.mark.soak
def test_the_budget_holds_over_a_hundred_thousand_generated_inputs() -> None:
    _budgets_hold(100_000)


def test_the_budget_is_used() -> None:
    rng = random.Random(1)
    nouns = [f"noun{n}" for n in range(300)]
    fills: list[float] = []
    for _ in range(40):
        sentences = [" ".join(rng.choices(nouns, k=rng.randint(6, 25))).capitalize() + "." for _ in range(80)]
        passages = [Passage(str(n), " ".join(sentences[n * 4 : n * 4 + 4])) for n in range(20)]
        budget = rng.randint(100, 600)
        fills.append(TopKTrimmer(budget).trim(passages, " ".join(rng.choices(nouns, k=6))).tokens / budget)
    assert sorted(fills)[len(fills) // 2] >= 0.97
