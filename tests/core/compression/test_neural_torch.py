"""Models in torch: both runtimes agree, and our way with LLMLingua-2's models agrees with its own package.

A BERT of two layers and a Llama of two, made, trained and saved here.
"""

import json
import os
import random

import numpy as np
import pytest
from thrift_core.compression import Compressor
from thrift_core.compression.neural import LLMLinguaBackend, TokenClassifierBackend, export_onnx
from thrift_core.compression.protected import Protector
from thrift_core.token_counters import TiktokenCounter

from tests.core.compression import samples, tiny_models

pytestmark = [
    pytest.mark.neural,
    # What others warn of in their own code is theirs.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.timeout(300),
]
_EIGHT_BIT_TOLERANCE = 0.05


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A BERT that has learned, in some dozen steps, which words are needed."""
    import torch
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    # So small a model is slower on several threads.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_models.save_tokenizer(folder), mask_token="[MASK]", **special
    )
    model = BertForTokenClassification(
        BertConfig(
            vocab_size=len(tiny_models.PIECES),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=512,
            num_labels=2,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    rows = tiny_models.training_pieces(1, 64 * 120)
    model.train()
    for step in range(120):
        batch = rows[64 * step : 64 * step + 64]
        longest = max(len(ids) for ids, _ in batch) + 2
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        wanted = torch.full_like(ids, -100)
        for place, (pieces, labels) in enumerate(batch):
            ids[place, : len(pieces) + 2] = torch.tensor([2, *pieces, 3])
            wanted[place, 1 : len(pieces) + 1] = torch.tensor(labels)
        loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=wanted).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A causal model of random weights: what surprises it is arbitrary, but the same each time."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([samples.PROSE, tiny_models.text_of(1, 100)], trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=1024,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
    ).save_pretrained(folder)
    return folder


def text_of_words(seed, sentences):
    chance = random.Random(seed)
    return [word for _ in range(sentences) for word in tiny_models.sentence(chance)]


def test_the_words_that_stay_are_those_that_the_model_labels(bert):
    words = text_of_words(77, 40)
    found = TokenClassifierBackend(bert).words(" ".join(words))
    assert len(found) == len(words)
    labelled = labels_by_transformers(bert, words)
    assert ((found.probabilities > 0.5) == labelled).all()
    needed = np.array([tiny_models.is_needed(words, place) for place in range(len(words))])
    assert np.mean(labelled == needed) > 0.95
    assert 0.2 < labelled.mean() < 0.6


def labels_by_transformers(folder, words):
    """Ask the model itself; each of these words is one piece."""
    import torch
    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(folder)
    ids = torch.tensor([[2, *(tiny_models.PIECES.index(word) for word in words), 3]])
    with torch.inference_mode():
        return model(input_ids=ids).logits[0, 1:-1].argmax(-1).numpy() == 1


def test_onnx_and_torch_say_the_same(bert, tmp_path):
    text = tiny_models.text_of(3, 200) + " Ødegård 数据 3.14!"
    by_torch = TokenClassifierBackend(bert).words(text)
    by_onnx = TokenClassifierBackend(export_onnx(bert, tmp_path / "whole")).words(text)
    np.testing.assert_allclose(by_onnx.probabilities, by_torch.probabilities, atol=1e-4)
    assert by_onnx.starts.tolist() == by_torch.starts.tolist()


def test_in_eight_bits_it_says_nearly_the_same(bert, tmp_path):
    text = tiny_models.text_of(3, 60)
    small = export_onnx(bert, tmp_path / "small", is_eight_bit=True)
    assert sorted(file.name for file in small.iterdir()) == ["config.json", "model.onnx", "tokenizer.json"]
    by_torch = TokenClassifierBackend(bert).words(text)
    by_onnx = TokenClassifierBackend(small).words(text)
    assert np.abs(by_onnx.probabilities - by_torch.probabilities).mean() < _EIGHT_BIT_TOLERANCE


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("sentences", [4, 40, 200])
def test_our_way_keeps_what_the_package_keeps(bert, package, share, sentences):
    text = text_that_fits(package, sentences)
    done = package.compress_prompt([text], rate=share, return_word_label=True, word_sep="\x1e", label_sep="\x1f")
    pairs = [item.split("\x1f") for item in done["fn_labeled_original_prompt"].split("\x1e")]
    theirs = np.array([label == "1" for _, label in pairs])
    found = TokenClassifierBackend(bert).words(text)
    words = [text[start:end] for start, end in zip(found.starts, found.ends, strict=True)]
    assert words == [word for word, _ in pairs]
    count = TiktokenCounter("cl100k_base").count
    ours = found.kept_at(share, weights=np.array([count(word) for word in words]))
    # Of words that are as good as equally probable, one may be kept here and another there.
    differing = found.probabilities[ours != theirs]
    assert len(differing) <= 0.002 * len(words)
    assert 0 < ours.sum() < len(words)


def text_that_fits(package, sentences):
    """Return a text whose windows llmlingua 0.2.2 makes no piece too long, which cuts off the mark at their end.

    It does so where the piece behind a full window is a full stop.
    """
    for seed in range(100):
        text = tiny_models.text_of(seed, sentences)
        parts = package._PromptCompressor__chunk_context(text, {".", "\n"})
        if all(len(package.tokenizer.tokenize(part)) <= 510 for part in parts):
            return text
    raise AssertionError("no text fits")


@pytest.fixture(scope="module")
def package(bert):
    """LLMLingua-2 as its own package runs it."""
    backend = LLMLinguaBackend(bert)
    backend.prepare()
    return backend._compressor


def test_both_backends_have_the_compressor_keep_the_same_words(bert):
    words = text_of_words(31, 40)
    text = " ".join(words)
    needed = [word for place, word in enumerate(words) if tiny_models.is_needed(words, place)]
    budget = Compressor().counter.count(" ".join(needed))
    kept = [
        Compressor(backend=backend).compress(text, max_tokens=budget, kind="prose")
        for backend in (TokenClassifierBackend(bert), LLMLinguaBackend(bert))
    ]
    assert all(done.note == "words a model chose" and done.tokens <= budget for done in kept)
    ours, theirs = (set(done.spans) for done in kept)
    assert len(ours & theirs) > 0.85 * len(ours | theirs)


@pytest.mark.parametrize("method", ["llmlingua", "longllmlingua"])
@pytest.mark.parametrize("repeats", [1, 20])
def test_causal_models_choose_too_and_the_budget_and_what_is_protected_hold(llama, method, repeats, caplog):
    text = "\n\n".join([samples.PROSE, *(tiny_models.text_of(seed, 12) for seed in range(repeats - 1))])
    compressor = Compressor(backend=LLMLinguaBackend(llama, method=method))
    done = compressor.compress(text, "How many paintings are by Nikolai Astrup?", ratio=0.5, kind="prose")
    assert caplog.records == []
    assert done.note == "words a model chose"
    assert 0.2 * done.tokens_before < done.tokens <= 0.5 * done.tokens_before
    for first, last in Protector().spans(text):
        assert all(last <= start or end <= first or (start <= first and last <= end) for start, end in done.spans)


def test_only_longllmlingua_looks_at_the_question(llama):
    text = "\n\n".join(tiny_models.text_of(seed, 6) for seed in range(4))

    def kept(method, question):
        return LLMLinguaBackend(llama, method=method).keep(text, question=question, max_tokens=50)

    assert kept("llmlingua", "Who paid?") == kept("llmlingua", None)
    assert kept("longllmlingua", "Who paid?") != kept("longllmlingua", None)


@pytest.mark.parametrize("max_tokens", [0, 5, 40, 10_000])
def test_the_package_s_choice_keeps_the_budget(bert, max_tokens):
    done = Compressor(backend=LLMLinguaBackend(bert)).compress(samples.PROSE, max_tokens=max_tokens, kind="prose")
    assert done.tokens <= max_tokens
    assert all(samples.PROSE[start:end] in done.text for start, end in done.spans)


def test_loading_the_package_leaves_the_app_s_random_numbers_alone(bert):
    import torch

    def numbers():
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = numbers()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    hashing = os.environ.get("PYTHONHASHSEED")
    LLMLinguaBackend(bert).prepare()
    assert numbers() == expected
    assert os.environ.get("PYTHONHASHSEED") == hashing


@pytest.mark.parametrize("make", [lambda f: TokenClassifierBackend(f, runtime="torch"), LLMLinguaBackend])
def test_code_that_comes_with_a_model_is_not_run(bert, tmp_path, make):
    folder = tmp_path / "own-code"
    folder.mkdir()
    for file in bert.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    proof = tmp_path / "was-run"
    (folder / "evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForTokenClassification": "evil.Evil"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises((ValueError, KeyError)):
        make(folder).prepare()
    assert not proof.exists()


@pytest.mark.parametrize("make", [lambda f: TokenClassifierBackend(f, runtime="torch"), LLMLinguaBackend])
def test_weights_in_a_pickle_are_not_read(bert, tmp_path, make):
    import torch

    folder = tmp_path / "pickle"
    folder.mkdir()
    for file in bert.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        make(folder).prepare()
