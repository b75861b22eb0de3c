"""A model of the user's decides what stays of prose: its labels are followed, and our promises hold all the same."""

import json
import logging
import random
import re
import shutil
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift_core.compression import Compressor
from thrift_core.compression.neural import LLMLinguaBackend, TokenClassifierBackend, export_onnx
from thrift_core.compression.neural.alignment import places_of_tokens, places_of_words, whole_words
from thrift_core.compression.neural.onnx_model import OnnxTokenModel
from thrift_core.compression.neural.pieces import PieceReader
from thrift_core.compression.neural.reading import windows
from thrift_core.compression.neural.scored_words import ScoredWords
from thrift_core.compression.protected import Protector
from thrift_core.errors import ConfigurationError, MissingExtra

from tests.core.compression import samples, tiny_models

shared_between_examples = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY_TEXT = st.one_of(
    st.text(max_size=300),
    st.lists(
        st.sampled_from(
            [
                *tiny_models.COMMON,
                *tiny_models.NAMES,
                "42",
                ".",
                "\n",
                "3.14",
                "Zürich",
                "数据。",
                "é",
                "\ud800",
                "\u3000",
            ]
        ),
        max_size=90,
    ).map(" ".join),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.save_onnx(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def backend(folder):
    return TokenClassifierBackend(folder, threads=1)


def kept_words(text, spans):
    return [text[start:end] for start, end in spans]


def test_the_words_that_stay_are_those_that_the_model_labels(backend):
    chance = random.Random(5)
    words = [word for _ in range(60) for word in tiny_models.sentence(chance)]
    needed = [word for place, word in enumerate(words) if tiny_models.is_needed(words, place)]
    text = " ".join(words)
    found = backend.words(text)
    assert kept_words(text, zip(found.starts, found.ends, strict=True)) == words
    labelled = [words[place] for place in np.flatnonzero(found.probabilities > 0.5)]
    assert labelled == needed


def test_a_label_depends_on_what_stands_before(backend):
    text = "the code king was sold for the king ."
    found = backend.words(text)
    assert [round(float(p)) for p in found.probabilities] == [0, 0, 1, 0, 0, 0, 0, 0, 0]


def test_the_compressor_keeps_the_model_s_words_and_drops_the_others(backend):
    words = [word for seed in range(12) for word in tiny_models.sentence(random.Random(seed))]
    needed = [word for place, word in enumerate(words) if tiny_models.is_needed(words, place)]
    compressor = Compressor(backend=backend)
    budget = compressor.counter.count(" ".join(needed))
    done = compressor.compress(" ".join(words), max_tokens=budget, kind="prose")
    assert done.note == "words a model chose"
    assert done.text.split() == needed


@pytest.mark.parametrize("window", [8, 9, 17, 64, 512])
@shared_between_examples
@given(text=ANY_TEXT)
def test_windows_batches_and_arrays_say_what_a_plain_loop_says(folder, window, text):
    backend = TokenClassifierBackend(folder, window=window, batch=3, threads=1)
    text = text.replace("\ud800", "")
    found = backend.words(text)
    expected = by_plain_loop(folder, text, window)
    assert list(zip(found.starts.tolist(), found.ends.tolist(), strict=True)) == [span for span, _ in expected]
    np.testing.assert_allclose(found.probabilities, [probability for _, probability in expected], atol=1e-5)


def by_plain_loop(folder, text, window):
    """Do piece by piece what the backend does on arrays: the reference."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = OnnxTokenModel(folder / "model.onnx", threads=1)
    encoded = tokenizer.encode(text, add_special_tokens=False)
    pieces = list(zip(encoded.ids, encoded.tokens, encoded.offsets, strict=True))

    def ends_sentence(place):
        gap = text[pieces[place][2][0] : pieces[place + 1][2][0]] if place + 1 < len(pieces) else ""
        return pieces[place][1] in {".", "!", "?"} or "\n" in gap

    probabilities, start, room = [], 0, window - 2
    while start < len(pieces):
        stop = len(pieces)
        if stop - start > room:
            stop = next((at for at in range(start + room, start + 1, -1) if ends_sentence(at - 1)), None)
            if stop is None:
                full = start + room
                stop = next((at for at in range(full, start, -1) if not pieces[at][1].startswith("##")), full)
        ids = np.array([[2, *(piece[0] for piece in pieces[start:stop]), 3]])
        logits = model.logits(ids, np.ones_like(ids))[0, 1:-1]
        probabilities += [float(1 / (1 + np.exp(row[0] - row[1]))) for row in logits]
        start = stop
    words = []
    for (_, piece, (first, last)), probability in zip(pieces, probabilities, strict=True):
        if piece.startswith("##"):
            words[-1] = ((words[-1][0][0], last), [*words[-1][1], probability])
        else:
            words.append(((first, last), [probability]))
    return [(span, sum(values) / len(values)) for span, values in words]


@given(marks=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200), room=st.integers(1, 40))
def test_windows_cover_a_text_once_and_none_is_too_long(marks, room):
    ends = np.array([end for end, _ in marks], bool)
    starts = np.array([start for _, start in marks], bool)
    found = windows(ends, starts, room)
    assert [place for start, stop in found for place in range(start, stop)] == list(range(len(marks)))
    assert all(0 < stop - start <= room for start, stop in found)


def test_a_window_ends_with_a_sentence_where_one_ends():
    ends = np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 0], bool)
    assert windows(ends, np.ones(10, bool), 5) == [(0, 4), (4, 8), (8, 10)]
    assert windows(ends, np.ones(10, bool), 6) == [(0, 4), (4, 10)]
    assert windows(np.zeros(10, bool), np.arange(10) % 3 == 0, 5) == [(0, 3), (3, 6), (6, 10)]


def test_no_window_is_longer_than_the_model_reads(folder, monkeypatch):
    lengths = []
    whole = OnnxTokenModel.logits

    def watched(self, ids, mask):
        lengths.append(ids.shape)
        return whole(self, ids, mask)

    monkeypatch.setattr(OnnxTokenModel, "logits", watched)
    TokenClassifierBackend(folder, window=32, batch=4).words(tiny_models.text_of(3, 200))
    assert max(length for _, length in lengths) <= 32
    assert max(rows for rows, _ in lengths) == 4
    assert len(lengths) > 10


@shared_between_examples
@given(text=ANY_TEXT, max_tokens=st.integers(0, 80))
def test_the_budget_holds_and_nothing_protected_is_cut_inside(backend, text, max_tokens):
    compressor = Compressor(backend=backend, protect=["house of the king"])
    done = compressor.compress(text, max_tokens=max_tokens, kind="prose")
    assert compressor.counter.count(done.text) == done.tokens <= max_tokens or done.text == text
    for first, last in Protector(["house of the king"]).spans(text):
        for start, end in done.spans:
            assert last <= start or end <= first or (start <= first and last <= end)


def test_protected_stretches_stay_whole_though_the_model_wants_a_part_of_them(backend):
    text = f'{tiny_models.text_of(8, 12)} "the house of the king 42 was sold" {tiny_models.text_of(9, 4)}'
    done = Compressor(backend=backend).compress(text, ratio=0.8, kind="prose")
    assert '"the house of the king 42 was sold"' in done.text


def test_what_the_vocabulary_does_not_have_stays_as_it_is_written(folder):
    text = "the Ødegård-Straße cost 42 数据 of the house"
    found = TokenClassifierBackend(folder).words(text)
    spans = list(zip(found.starts.tolist(), found.ends.tolist(), strict=True))
    assert "Ødegård" in kept_words(text, spans)
    assert "".join(kept_words(text, spans)) == text.replace(" ", "")


def byte_pieces():
    """Pieces of bytes, as GPT-2, RoBERTa and ModernBERT have them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([tiny_models.text_of(1, 40)], trainer)
    return tokenizer


def sentence_pieces():
    """SentencePiece with a mark before each word, as XLM-RoBERTa has it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    pieces = ["<unk>", "▁", "▁Anna", "▁pa", "id", "3", "14", ".", ",", "▁in", "▁house", "s"]
    scores = [(piece, -float(number)) for number, piece in enumerate(dict.fromkeys(pieces))]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0))
    tokenizer.normalizer = normalizers.Replace("\n", " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (byte_pieces, ["Anna", "paid", "3", ".", "14", "in", "Zürich", ",", "🙂", "houses", "."]),
        # LLMLingua-2 begins a word with each mark, and what follows without a blank goes on with it.
        (sentence_pieces, ["Anna", "paid", "3", ".14", "in", "Zürich", ",", "🙂", "houses", "."]),
    ],
)
def test_words_are_told_by_whatever_marks_a_tokenizer_has(tmp_path, make, words):
    make().save(str(tmp_path / "tokenizer.json"))
    text = " Anna  paid 3.14 in\nZürich, 🙂 houses. "
    found = PieceReader(tmp_path / "tokenizer.json", padding=0, extra="neural-onnx").read(text)
    first = np.flatnonzero(found.starts)
    last = np.append(first[1:], len(found.ids)) - 1
    spans = zip(found.offsets[first, 0], found.offsets[last, 1], strict=True)
    assert [text[start:end] for start, end in spans if end > start] == words
    after_ends = {text[int(stop) :].strip()[:6] for stop in found.offsets[found.ends, 1]}
    assert after_ends >= {"Zürich", ""}


def test_the_share_of_the_words_follows_the_budget(backend):
    text = tiny_models.text_of(4, 150)
    tokens = Compressor().counter.count(text)
    kept = [len(backend.keep(text, question=None, max_tokens=int(tokens * share))) for share in (0.1, 0.3, 0.6)]
    words = len(backend.words(text))
    assert kept[0] < kept[1] < kept[2] < words
    assert kept[0] > 0.1 * words * 0.9


def test_each_window_keeps_its_share_where_words_compete_within_it(folder):
    dull, rich = "the house was sold to a king . " * 20, "Anna Oslo 42 Bergen 1987 Norway 7 . " * 20
    text = dull + rich

    def from_dull(scope):
        backend = TokenClassifierBackend(folder, window=64, scope=scope)
        return sum(start < len(dull) for (start, _), _ in backend.keep(text, question=None, max_tokens=60))

    assert from_dull("text") == 0
    assert from_dull("window") > 20


def test_other_labels_can_be_the_ones_that_mean_keep(tmp_path):
    model = tiny_models.save_onnx(tmp_path / "named", labels=("dull", "keep"))
    text = tiny_models.text_of(2, 10)
    usual = TokenClassifierBackend(model).words(text).probabilities
    turned = TokenClassifierBackend(model, keep_labels="dull").words(text).probabilities
    both = TokenClassifierBackend(model, keep_labels=["dull", "keep"]).words(text).probabilities
    np.testing.assert_allclose(usual + turned, 1, atol=1e-5)
    np.testing.assert_allclose(both, 1, atol=1e-5)


def test_the_rule_of_llmlingua_2_is_the_percentile_of_each_window():
    words = ScoredWords(
        starts=np.arange(8) * 2,
        ends=np.arange(8) * 2 + 1,
        probabilities=np.array([0.1, 0.2, 0.3, 0.9, 0.5, 0.6, 0.7, 1.0], np.float32),
        pieces=np.array([1, 1, 1, 1, 1, 1, 1, 5]),
        windows=np.array([0, 0, 0, 0, 1, 1, 1, 1]),
    )
    assert np.flatnonzero(words.kept_at(0.5)).tolist() == [2, 3, 7]
    assert words.kept_at(1).all()
    assert np.flatnonzero(words.kept_at(0.5, weights=np.ones(8, int))).tolist() == [2, 3, 6, 7]


def test_the_question_changes_nothing(backend):
    text = tiny_models.text_of(6, 20)
    assert backend.keep(text, question="Who paid?", max_tokens=40) == backend.keep(text, question=None, max_tokens=40)


def test_a_text_of_no_words_keeps_none(backend):
    assert backend.keep("", question=None, max_tokens=9) == []
    assert backend.keep(" \n\t ", question=None, max_tokens=9) == []


def test_many_threads_load_the_model_once(folder, monkeypatch):
    loaded = []
    first = OnnxTokenModel.__init__
    monkeypatch.setattr(OnnxTokenModel, "__init__", lambda *args, **kw: (loaded.append(1), first(*args, **kw))[1])
    backend, text, answers = TokenClassifierBackend(folder), tiny_models.text_of(1, 30), []
    threads = [
        threading.Thread(target=lambda: answers.append(backend.keep(text, question=None, max_tokens=30)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == [1]
    assert all(answer == answers[0] for answer in answers)
    assert len(answers) == 4


def test_making_a_backend_loads_nothing_but_a_prepared_one_is_loaded(folder, monkeypatch):
    loaded = []
    monkeypatch.setattr(OnnxTokenModel, "__init__", lambda *_, **__: loaded.append(1))
    backend = TokenClassifierBackend(folder)
    assert loaded == []
    backend.prepare()
    assert loaded == [1]


@pytest.mark.parametrize("kind", [TokenClassifierBackend, LLMLinguaBackend])
def test_a_name_is_no_leave_to_download(kind, monkeypatch):
    monkeypatch.setattr("thrift_core.compression.neural.model_folder.needed", lambda *_: None)
    with pytest.raises(ConfigurationError, match="allow_download=True"):
        kind("microsoft/some-model")


def test_what_is_downloaded_on_leave_is_no_code_and_no_pickle(folder, monkeypatch):
    import huggingface_hub

    asked = []

    def pretend(name, *, revision, allow_patterns):
        asked.append((name, revision, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", pretend)
    backend = TokenClassifierBackend("somebody/some-model", allow_download=True, revision="abc")
    assert asked == []
    assert backend.keep("Anna paid 42 .", question=None, max_tokens=2)
    ((name, revision, patterns),) = asked
    assert (name, revision) == ("somebody/some-model", "abc")
    assert not [pattern for pattern in patterns if re.search(r"\.(py|bin|pt|pkl)$", pattern) or pattern == "*"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep_labels": "PERSON"}, "LABEL_0, LABEL_1"),
        ({"keep_labels": []}, "LABEL_0, LABEL_1"),
        ({"window": 513}, "at most 512"),
        ({"window": 3}, "window=3"),
        ({"window": True}, "window=True"),
        ({"batch": 0}, "batch=0"),
        ({"scope": "page"}, "scope='page'"),
        ({"runtime": "tensorflow"}, "runtime='tensorflow'"),
        ({"onnx_file": "other.onnx", "runtime": "onnx"}, "other.onnx"),
    ],
)
def test_settings_that_cannot_work_say_so_at_once(folder, options, said):
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        TokenClassifierBackend(folder, **options)


def test_labels_of_which_none_is_keep_have_to_be_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "three")
    (tmp_path / "three" / "config.json").write_text(json.dumps({"id2label": {"0": "O", "1": "PER", "2": "LOC"}}))
    with pytest.raises(ConfigurationError, match="LOC, O, PER"):
        TokenClassifierBackend(tmp_path / "three")


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_a_folder_without_a_file_says_which_and_how_it_is_made(folder, tmp_path, missing):
    shutil.copytree(folder, tmp_path / "part")
    (tmp_path / "part" / missing).unlink()
    with pytest.raises(ConfigurationError, match=f"{missing}.*save_pretrained"):
        TokenClassifierBackend(tmp_path / "part")


@pytest.mark.parametrize("written", ["[1]", "{"])
def test_a_broken_config_says_so(folder, tmp_path, written):
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "config.json").write_text(written)
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        TokenClassifierBackend(tmp_path / "broken")


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("onnxruntime", TokenClassifierBackend, r"thrift-core\[neural-onnx\]"),
        ("tokenizers", TokenClassifierBackend, r"thrift-core\[neural-onnx\]"),
        ("torch", lambda folder: TokenClassifierBackend(folder, runtime="torch"), r"thrift-core\[neural\]"),
        ("torch", lambda _: TokenClassifierBackend("a/b", runtime="torch", allow_download=True), r"\[neural\]"),
        ("huggingface_hub", lambda _: TokenClassifierBackend("a/b", allow_download=True), r"\[neural-onnx\]"),
        ("llmlingua", LLMLinguaBackend, r"thrift-core\[llmlingua\]"),
        ("torch", lambda folder: export_onnx(folder, folder / "new"), r"thrift-core\[neural\]"),
    ],
)
def test_a_missing_extra_is_named(folder, monkeypatch, module, make, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=extra):
        make(folder)


def test_a_model_that_cannot_be_read_leaves_the_call_alone(folder, tmp_path, caplog):
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.onnx").write_bytes(b"no model")
    compressor = Compressor(backend=TokenClassifierBackend(tmp_path / "broken"))
    with caplog.at_level(logging.WARNING, "thrift"):
        done = compressor.compress(samples.PROSE, max_tokens=60)
    assert done.tokens <= 60
    assert samples.PROSE.startswith(done.text)
    assert [record.name for record in caplog.records] == ["thrift"]


def test_a_method_that_there_is_not_says_so():
    with pytest.raises(ConfigurationError, match="llmlingua2"):
        LLMLinguaBackend("anywhere", method="gzip")


@given(
    words=st.lists(st.sampled_from(["a", "the", "Anna", "42", "a42"]), max_size=30), gap=st.sampled_from([" ", "  \n"])
)
def test_words_are_found_again_where_they_stand(words, gap):
    text = gap.join(words)
    places = places_of_words(text, words)
    assert [text[start:end] for start, end in places] == words
    assert places == sorted(places)


def test_a_word_that_is_not_in_the_text_has_no_place_and_the_next_are_found_all_the_same():
    assert places_of_words("Anna paid 42", ["Anna", "[UNK]", "", "42"]) == [(0, 4), None, None, (10, 12)]


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60))
def test_tokens_that_were_kept_are_all_found_in_order(tokens):
    ids = [token for token, _ in tokens]
    kept = [token for token, is_kept in tokens if is_kept]
    places = places_of_tokens(kept, ids, [(place, place + 1) for place in range(len(ids))])
    assert [ids[start] for start, _ in places] == kept
    assert places == sorted(set(places))


def test_a_word_stays_whole_or_not_at_all():
    text = "Lindqvist paid 42."
    assert whole_words(text, [(0, 3), (3, 6), (10, 11), (15, 16), (17, 18)]) == [(0, 9), (15, 17), (17, 18)]
