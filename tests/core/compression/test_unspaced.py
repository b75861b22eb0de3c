"""Protected forms are found the same by both pattern modules; scripts without blanks lose clauses, numbers last."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.compression import Compressor
from thrift_core.compression.character_classes import has_rare_letters
from thrift_core.compression.protected import Protector, _by_properties, _by_ranges
from thrift_core.compression.unspaced import units

from tests.core.compression import samples

COMPRESSOR = Compressor()
CHINESE = (
    "这座博物馆位于海边,风景十分优美,很多游客喜欢在周末前来参观。它建于1987年5月14日,后来经过了一次重大的修缮工程。"
    "馆内收藏了312幅画作,其中40幅出自同一位画家之手,非常受人欢迎。门票在门口和网站上都可以买到,价格并不昂贵。"
    "屋顶花费了4,250,000克朗,许多人认为这对于一个屋顶来说实在太多了。"
)
PIECES = [
    *"aZ9_.@-+%'’:,;€é不не \n",
    "not ",
    "don't ",
    "a_b",
    "->",
    "http://",
    "नहीं",
    "२",
    "ß",
    "Ünal ",
    "🙂",
    "no.",
    "J. R. ",
]


def forms(pattern, text):
    return [hit.span() for hit in pattern.finditer(text) if hit.lastindex is None]


@settings(deadline=None, max_examples=400)
@given(text=st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_the_quick_patterns_find_what_unicode_s_properties_say(text):
    assert not has_rare_letters(text)
    assert forms(_by_ranges(), text) == forms(_by_properties(), text)


def test_letters_beyond_the_basic_plane_are_names_too():
    text = "they met 𝐀nna and 𠀀𠀁 in 𝟏𝟗𝟗𝟗 again"
    assert has_rare_letters(text)
    assert not has_rare_letters("they met Anna 🙂")
    assert [text[start:end] for start, end in Protector().spans(text)] == ["𝐀nna", "𝟏𝟗𝟗𝟗"]


def test_a_script_without_blanks_loses_clauses_and_keeps_its_numbers():
    done = COMPRESSOR.compress(CHINESE, ratio=0.6)
    assert [n for n in ("1987", "5月14日", "312", "40", "4,250,000") if n not in done.text] == []
    assert 0.5 * done.tokens_before < done.tokens <= 0.6 * done.tokens_before
    assert all(CHINESE[start:end] in done.text for start, end in done.spans)


def test_a_sentence_with_blanks_is_one_unit_and_no_unit_ends_inside_a_number():
    text = "It is open, they say, from ten to six."
    assert list(units(text, 0, len(text), [])) == [(0, len(text))]
    cut = [CHINESE[slice(*unit)] for unit in units(CHINESE, 0, len(CHINESE), [])]
    assert "".join(cut) == CHINESE
    assert any("4,250,000" in piece for piece in cut)
    assert len(cut) > 8


def test_protected_stretches_outlive_a_budget_that_needs_whole_sentences_to_go():
    chance = random.Random(3)
    sentences = [part + "." for part in samples.PROSE.replace("\n", " ").split(". ")]
    for _ in range(40):
        text = ' and "so it. Was said. To us" '.join(chance.sample(sentences, 5))
        done = COMPRESSOR.compress(text, ratio=0.35)
        edges = [edge for span in done.spans for edge in span]
        assert not [s for s in Protector().spans(text) if any(s[0] < edge < s[1] for edge in edges)]


def test_words_of_many_tokens_bring_no_text_far_under_its_budget():
    text = " ".join(
        f"Достопримечательности городского краеведческого музея номер {n} привлекают многочисленных путешественников."
        for n in range(30)
    )
    done = COMPRESSOR.compress(text, ratio=0.7)
    assert 0.66 * done.tokens_before < done.tokens <= 0.7 * done.tokens_before
