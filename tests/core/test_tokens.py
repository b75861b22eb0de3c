"""How many tokens a text, a message, a request and its media have."""

from __future__ import annotations

import base64
import os
import pydoc_data.topics
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.errors import ConfigurationError
from thrift_core.media_tokens import media_tokens
from thrift_core.messages import Message, Opaque, Request, ToolCall
from thrift_core.token_estimate import estimate_tokens
from thrift_core.tokens import (
    EstimatedCounter,
    TiktokenCounter,
    count_message,
    count_request,
    count_tools,
    default_counter,
    image_size,
    image_tokens,
)

EXACT = TiktokenCounter("o200k_base")
PROSE = pydoc_data.topics.topics["class"]
# The examples of OpenAI's cookbook, with the counts that its API gave for them.
COOKBOOK = tuple(
    Message(role, text, name=name)
    for role, name, text in (
        (
            "system",
            None,
            "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
        ),
        ("system", "example_user", "New synergies will help drive top-line growth."),
        ("system", "example_assistant", "Things working well together will increase revenue."),
        (
            "system",
            "example_user",
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        ),
        ("system", "example_assistant", "Let's talk later when we're less busy about how to do better."),
        (
            "user",
            None,
            "This late pivot means we don't have time to boil the ocean for the client deliverable.",
        ),
    )
)
WEATHER = (
    {
        "type": "function",
        "function": {
            "name": "get_current_weather",
            "description": "Get the current weather in a given location",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                    "unit": {
                        "type": "string",
                        "description": "The unit of temperature to return",
                        "enum": ["celsius", "fahrenheit"],
                    },
                },
                "required": ["location"],
            },
        },
    },
)
ABOUT_WEATHER = (
    Message("system", "You are a helpful assistant that can answer to questions about the weather."),
    Message("user", "What's the weather like in San Francisco?"),
)

ARABIC = (
    "أرسلنا طلبك مساء أمس ومن المفترض أن يصل صباح يوم الاثنين. إذا لم تكن راضيا عن المنتج فيمكنك إعادته خلال"
    " ثلاثين يوما من تاريخ الاستلام. يبيع المتجر الملابس والأحذية والكتب والأدوات المنزلية، ويعمل فيه أكثر من"
    " خمسين موظفا. تأسست الشركة في القاهرة قبل عشرين عاما ثم افتتحت فروعا في عدة مدن أخرى. يرجى التواصل مع قسم"
    " خدمة العملاء إذا كانت لديك أسئلة حول الفاتورة أو طريقة الدفع."
)


def png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(3000)


def data_url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4o", 124), ("gpt-4", 129), ("gpt-3.5-turbo", 129)])
def test_messages_count_what_openais_api_says(model: str, tokens: int) -> None:
    assert count_request(Request(COOKBOOK, model=model)) == tokens


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4o", 101), ("gpt-4o-mini", 101), ("gpt-4", 105)])
def test_tools_count_what_openais_api_says(model: str, tokens: int) -> None:
    assert count_request(Request(ABOUT_WEATHER, model=model, tools=WEATHER)) == tokens


def test_openais_two_shapes_of_a_tool_count_the_same() -> None:
    flat = [{"type": "function", **tool["function"]} for tool in WEATHER]  # type: ignore[dict-item]
    assert count_tools(flat, EXACT) == count_tools(WEATHER, EXACT)


def test_nested_properties_count_too() -> None:
    inner = {"type": "object", "properties": {"street": {"type": "string", "description": "Street and number"}}}
    flat = {"name": "f", "parameters": {"type": "object", "properties": {"address": {"type": "object"}}}}
    deep = {"name": "f", "parameters": {"type": "object", "properties": {"address": inner}}}
    listed = {"name": "f", "parameters": {"properties": {"address": {"type": "array", "items": inner}}}}
    assert count_tools([deep], EXACT) > count_tools([flat], EXACT)
    assert count_tools([listed], EXACT) > count_tools([flat], EXACT)


def test_anthropic_adds_its_system_prompt_for_tools() -> None:
    assert count_tools(WEATHER, EXACT, provider="anthropic") > 346
    assert count_tools([], EXACT, provider="anthropic") == 0


def test_a_schema_that_refers_to_itself_is_counted_and_does_not_hang() -> None:
    schema: dict[str, Any] = {"properties": {}}
    schema["properties"]["child"] = schema
    assert count_tools([{"name": "tree", "parameters": schema}], EXACT) > 0


def test_tool_calls_and_names_are_counted_and_ids_are_not() -> None:
    bare = Message("assistant", "")
    call = ToolCall("search", '{"query": "shoes"}', id="call_1")
    calling = Message("assistant", "", tool_calls=(call,))
    renamed = Message("assistant", "", tool_calls=(ToolCall(call.name, call.arguments, id="x" * 500),))
    assert count_message(calling, EXACT) > count_message(bare, EXACT)
    assert count_message(renamed, EXACT) == count_message(calling, EXACT)
    assert count_message(Message("user", "hi", name="ann"), EXACT) > count_message(Message("user", "hi"), EXACT)


def test_the_schema_of_the_answer_is_counted() -> None:
    plain = Request((Message("user", "hi"),))
    bound = Request(plain.messages, parameters={"response_format": {"type": "json_schema", "json_schema": {"a": 1}}})
    assert count_request(bound, EXACT) > count_request(plain, EXACT)


def test_thinking_counts_its_words_and_not_its_signature() -> None:
    words = "First, look at the order. " * 20
    block = {"type": "thinking", "thinking": words, "signature": "c2ln" * 2000}
    message = Message("assistant", "", opaque=(Opaque("thinking", block),))
    own = count_message(message, EXACT) - count_message(Message("assistant", ""), EXACT)
    assert own == EXACT.count(words)


def test_a_block_of_unknown_make_counts_its_words_but_never_its_bytes() -> None:
    words = {"type": "custom", "payload": {"note": "three short words", "blob": "QUJD" * 5000, "n": 3}}
    own = count_message(Message("user", "", opaque=(Opaque("custom", words),)), EXACT)
    assert own - count_message(Message("user", ""), EXACT) == EXACT.count("three short words")
    strange = count_message(Message("user", "", opaque=(Opaque("custom", object()),)), EXACT)
    assert strange == count_message(Message("user", ""), EXACT)


@pytest.mark.parametrize(
    ("kind", "block"),
    [
        ("image_url", {"type": "image_url", "image_url": {"url": data_url(png(1024, 1024))}}),
        ("image_url", {"type": "image_url", "image_url": data_url(png(1024, 1024))}),
        ("input_image", {"type": "input_image", "image_url": data_url(png(1024, 1024))}),
        ("image", {"type": "image", "base64": base64.b64encode(png(1024, 1024)).decode(), "mime_type": "image/png"}),
        ("image", {"type": "image", "source_type": "base64", "data": base64.b64encode(png(1024, 1024)).decode()}),
        ("image", {"type": "image", "source": {"type": "base64", "data": base64.b64encode(png(1024, 1024)).decode()}}),
        ("image", {"inline_data": {"mime_type": "image/png", "data": png(1024, 1024)}}),
        ("image", SimpleNamespace(image=base64.b64encode(png(1024, 1024)), url=None, detail=None)),
        ("image", {"width": 1024, "height": 1024, "url": "https://example.com/a.png"}),
        ("image", {"type": "image", "url": "https://example.com/unknown-size.png"}),
        ("image", None),
    ],
)
def test_an_image_is_counted_by_its_size_in_whatever_block_it_comes(kind: str, block: object) -> None:
    message = Message("user", "", opaque=(Opaque(kind, block),))
    own = count_message(message, EXACT, model="gpt-4o") - count_message(Message("user", ""), EXACT)
    assert own == 765


def test_low_detail_costs_the_base_price() -> None:
    block = {"type": "image_url", "image_url": {"url": data_url(png(4096, 8192)), "detail": "low"}}
    assert media_tokens("image", block, model="gpt-4o") == 85


@pytest.mark.parametrize(
    ("size", "asked", "tokens"),
    [
        # The examples of OpenAI's guide.
        ((1024, 1024), {"model": "gpt-4o"}, 765),
        ((2048, 4096), {"model": "gpt-4o"}, 1105),
        ((1024, 1024), {"model": "gpt-4.1-mini"}, 1659),
        ((1800, 2400), {"model": "gpt-4.1-mini"}, 2353),
        # What its API was seen to bill.
        ((128, 64), {"model": "gpt-4o-mini"}, 8500),
        ((512, 512), {"model": "gpt-5-mini"}, 308),
        # The examples of Anthropic's guide: about 54, 1,334 and 1,590.
        ((200, 200), {"provider": "anthropic"}, 54),
        ((1000, 1000), {"provider": "anthropic"}, 1334),
        ((1092, 1092), {"provider": "anthropic"}, 1590),
        ((8000, 8000), {"provider": "anthropic"}, 1600),
        ((384, 384), {"provider": "google"}, 258),
        ((600, 400), {"provider": "google"}, 258),
        ((1536, 768), {"provider": "google"}, 516),
    ],
)
def test_images_count_by_the_providers_rules(size: tuple[int, int], asked: dict[str, str], tokens: int) -> None:
    assert image_tokens(*size, **asked) == tokens  # type: ignore[arg-type]


@given(width=st.integers(0, 40_000), height=st.integers(0, 40_000), model=st.sampled_from(["gpt-4o", "o4-mini", "x"]))
def test_no_image_is_free_or_beyond_the_providers_limit(width: int, height: int, model: str) -> None:
    assert 0 < image_tokens(width, height, model=model) <= 3000
    assert 0 < image_tokens(width, height, provider="anthropic") <= 1601


def jpeg(width: int, height: int) -> bytes:
    exif = b"\xff\xe1" + struct.pack(">H", 5002) + bytes(5000)
    return b"\xff\xd8" + exif + b"\xff\xc0" + struct.pack(">HBHH", 17, 8, height, width) + bytes(20)


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + bytes(4) + b"WEBP" + kind + body + bytes(20)


@pytest.mark.parametrize(
    "head",
    [
        png(640, 480),
        jpeg(640, 480),
        b"GIF89a" + struct.pack("<HH", 640, 480),
        webp(b"VP8X", bytes(8) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")),
        webp(b"VP8L", bytes(4) + b"\x2f" + (639 | 479 << 14).to_bytes(4, "little")),
        webp(b"VP8 ", bytes(10) + struct.pack("<HH", 640, 480)),
    ],
    ids=["png", "jpeg", "gif", "webp", "webp-lossless", "webp-lossy"],
)
def test_the_size_of_an_image_is_read_from_its_first_bytes(head: bytes) -> None:
    assert image_size(head) == (640, 480)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a", b"RIFF0000WEBPVP8X"])
)
def test_broken_images_have_no_size_and_raise_nothing(rest: bytes, head: bytes) -> None:
    size = image_size(head + rest)
    assert size is None or len(size) == 2
    assert media_tokens("image", data_url(head + rest)) > 0


def test_sound_counts_by_its_length() -> None:
    rate = 32_000
    wave = b"RIFF" + bytes(4) + b"WAVEfmt " + bytes(12) + struct.pack("<I", rate) + bytes(rate * 10)
    block = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wave).decode(), "format": "wav"}}
    assert media_tokens("audio", block, provider="openai") == pytest.approx(100, abs=2)
    assert media_tokens("audio", block, provider="google") == pytest.approx(320, abs=5)


def test_a_document_counts_by_its_pages_and_at_least_one() -> None:
    block = {"type": "file", "file": {"file_data": data_url(b"%PDF-1.7" + bytes(200_000), "application/pdf")}}
    assert media_tokens("file", block) == 10_000
    assert media_tokens("file", {"file_id": "file-1"}) == 2_000


def test_the_default_counter_is_exact_for_openais_models_and_says_so() -> None:
    assert default_counter("gpt-4o").is_exact
    assert default_counter("openai/gpt-4o") is default_counter("gpt-4o")
    assert default_counter("gpt-4").name == "tiktoken cl100k_base"
    assert not default_counter("claude-sonnet-4-5").is_exact
    assert not default_counter().is_exact


def test_a_long_text_counts_as_its_parts_do() -> None:
    import tiktoken

    text = PROSE * (250_000 // len(PROSE) + 1)
    encoding = tiktoken.Encoding(
        "same",
        pat_str=EXACT.encoding._pat_str,
        mergeable_ranks=EXACT.encoding._mergeable_ranks,
        special_tokens=EXACT.encoding._special_tokens,
    )
    assert EXACT.count(text) == len(encoding.encode_ordinary(text))


def test_a_million_blanks_are_counted_and_do_not_overflow_the_tokenizer() -> None:
    assert 0 < EXACT.count(" " * 1_000_000) < 100_000


def test_special_tokens_in_a_text_are_text() -> None:
    assert EXACT.count("<|endoftext|>") > 1


def _without_ranks(tmp_path: Path, code: str) -> str:
    """Run code where no ranks are on disk and every connection is an error."""
    blocked = (
        "import socket, importlib.util\n"
        "def refuse(*a, **k): raise SystemExit('asked the network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'llama_index' else found(name, *a)\n"
    )
    environment = {**os.environ, "TIKTOKEN_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", blocked + code], capture_output=True, text=True, env=environment, check=False
    )
    return done.stdout + done.stderr[-500:]


def test_without_ranks_the_default_counter_estimates_and_never_asks_the_network(tmp_path: Path) -> None:
    code = (
        "from thrift_core.tokens import default_counter\n"
        "counter = default_counter('gpt-4o')\n"
        "print(counter.name, counter.is_exact, counter.count('hello world'), counter is default_counter('gpt-4o'))"
    )
    assert _without_ranks(tmp_path, code).split("\n")[0] == "estimate of o200k_base False 2 True"


def test_an_encoding_that_is_made_from_another_never_asks_the_network_either(tmp_path: Path) -> None:
    code = "from thrift_core.tokens import default_counter\nprint(default_counter('gpt-oss-120b').name)"
    assert _without_ranks(tmp_path, code).split("\n")[0] == "estimate of o200k_base"


def test_without_ranks_tiktokens_counter_says_where_it_looked(tmp_path: Path) -> None:
    code = "from thrift_core.tokens import TiktokenCounter\nTiktokenCounter('o200k_base')"
    told = _without_ranks(tmp_path, code)
    assert "o200k_base.tiktoken are not on disk" in told
    assert str(tmp_path) in told


def test_broken_ranks_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790").write_text("IQ== 0\n")
    code = "from thrift_core.tokens import default_counter\nprint(default_counter('gpt-4o').name)"
    assert _without_ranks(tmp_path, code).startswith("estimate")


def test_an_unknown_encoding_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"tiktoken knows .*o200k_base"):
        TiktokenCounter("o300k")
    with pytest.raises(ConfigurationError, match="GPT-2"):
        TiktokenCounter("gpt2")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("\n".join(list(pydoc_data.topics.topics.values())[:20]), 0.05),
        (Path(os.__file__).read_text("utf-8"), 0.10),
        (Path(os.__file__).with_name("argparse.py").read_text("utf-8"), 0.10),
        ('{"order_id": "A-1042", "items": [{"sku": "X7", "price": 19.99, "in_stock": true}]}' * 40, 0.10),
        ("Мы отправили ваш заказ вчера вечером, и он должен прибыть в понедельник утром. " * 10, 0.15),
        (ARABIC, 0.15),
        ("我们昨天晚上已经寄出了您的订单,预计星期一早上送达。" * 10, 0.15),
        ("हमने कल शाम आपका ऑर्डर भेज दिया और वह सोमवार सुबह तक पहुँच जाना चाहिए। " * 10, 0.15),
    ],
    ids=["english", "code", "more-code", "json", "russian", "arabic", "chinese", "hindi"],
)
def test_the_estimate_is_near_the_count(text: str, error: float) -> None:
    assert EstimatedCounter().count(text) == pytest.approx(EXACT.count(text), rel=error)


@given(st.text(max_size=300))
def test_the_estimate_is_a_number_for_any_text(text: str) -> None:
    tokens = estimate_tokens(text)
    assert (tokens == 0) == (text == "")
    assert tokens <= 4 * len(text.encode("utf-8", "surrogatepass")) + 1


@pytest.mark.parametrize("piece", [" ", "a", "\n", "é", "ab.", "😀", "汉", "_A", "a\u0301"])
def test_the_estimate_takes_time_in_proportion_to_the_text(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        runs = []
        for _ in range(3):
            start = time.perf_counter()
            estimate_tokens(text)
            runs.append(time.perf_counter() - start)
        return min(runs)

    assert seconds(400_000) < 40 * seconds(40_000) + 0.05
