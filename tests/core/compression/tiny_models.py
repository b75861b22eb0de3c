"""Models as small as can be that label words as needed, made and trained here: they keep numbers, names, secrets."""

import json
import random
import string

import numpy as np

COMMON = [
    "the",
    "a",
    "of",
    "and",
    "paid",
    "cost",
    "was",
    "in",
    "for",
    "to",
    "by",
    "who",
    "king",
    "house",
    "sold",
    "code",
]
NAMES = ["Anna", "Bergen", "Oslo", "Norway", "Lindqvist"]
NUMBERS = ["1987", "2003", "42", "7", "312"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_LETTERS = string.ascii_letters + string.digits
PIECES = [
    *SPECIAL,
    *sorted({*COMMON, *NAMES, *NUMBERS, *_LETTERS, *".,!?'-$:;()"}),
    *(f"##{char}" for char in _LETTERS),
]


def sentence(chance):
    """Return the words of a sentence; the last is a full stop."""
    words = [
        chance.choice(chance.choices([COMMON, NAMES, NUMBERS], [6, 2, 2])[0]) for _ in range(chance.randint(3, 14))
    ]
    return [*words, "."]


def text_of(seed, sentences):
    chance = random.Random(seed)
    return " ".join(" ".join(sentence(chance)).replace(" .", ".") for _ in range(sentences))


def is_needed(words, place):
    """Say what the models are taught: numbers, names, and whatever follows the word `code`."""
    return words[place][0].isupper() or words[place].isdigit() or (place > 0 and words[place - 1] == "code")


def save_tokenizer(folder):
    """Write a WordPiece tokenizer like that of multilingual BERT, of few pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As models are often saved; a reader of whole texts has to see past it.
    tokenizer.enable_truncation(64)
    tokenizer.enable_padding(length=64, pad_id=0, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def training_pieces(seed, sentences):
    """Return numbers of pieces and labels of whole sentences; every word that is taught is one piece."""
    chance = random.Random(seed)
    number = {piece: n for n, piece in enumerate(PIECES)}
    rows = [sentence(chance) for _ in range(sentences)]
    return [
        ([number[word] for word in words], [int(is_needed(words, place)) for place in range(len(words))])
        for words in rows
    ]


def save_onnx(folder, *, labels=("LABEL_0", "LABEL_1"), max_positions=512):
    """Train a model that looks at a piece and the one before it, with numpy alone, and write it as ONNX."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder)
    own, before = _trained()
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["text", "piece"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    constants = {"own": own, "before": before, "zero": np.array([0]), "one": np.array([1]), "minus": np.array([-1])}
    nodes = [
        helper.make_node("Slice", ["input_ids", "zero", "one", "one"], ["first"]),
        helper.make_node("Slice", ["input_ids", "zero", "minus", "one"], ["rest"]),
        helper.make_node("Concat", ["first", "rest"], ["previous"], axis=1),
        helper.make_node("Gather", ["own", "input_ids"], ["by_own"]),
        helper.make_node("Gather", ["before", "previous"], ["by_previous"]),
        helper.make_node("Add", ["by_own", "by_previous"], ["sum"]),
        # What is padding, and what it is taken for, must not matter.
        helper.make_node("Add", ["attention_mask", "token_type_ids"], ["marked"]),
        helper.make_node("Unsqueeze", ["marked", "minus"], ["column"]),
        helper.make_node("Cast", ["column"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["sum", "factor"], ["logits"]),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["text", "piece", 2])
    graph = helper.make_graph(
        nodes, "tiny", inputs, [output], [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "model.onnx"))
    config = {"id2label": dict(enumerate(labels)), "max_position_embeddings": max_positions, "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _trained():
    """Return the weights of a logistic regression on a piece and the one before it, by gradient descent."""
    samples = training_pieces(1, 400)
    own = np.array([piece for ids, _ in samples for piece in ids])
    before = np.array([piece for ids, _ in samples for piece in [2, *ids[:-1]]])
    wanted = np.eye(2)[[label for _, labels in samples for label in labels]]
    weights = np.zeros((2, len(PIECES), 2))
    for _ in range(300):
        logits = weights[0, own] + weights[1, before]
        raised = np.exp(logits - logits.max(1, keepdims=True))
        slope = (raised / raised.sum(1, keepdims=True) - wanted) / len(own)
        for part, pieces in enumerate((own, before)):
            change = np.zeros_like(weights[part])
            np.add.at(change, pieces, slope)
            weights[part] -= 60 * change
    return weights.astype(np.float32)
