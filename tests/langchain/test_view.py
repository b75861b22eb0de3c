import gc

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_thrift.view import message_view, request_view
from langchain_thrift.views import Views
from thrift_core.messages import Message, ToolCall

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
THINKING = {"type": "thinking", "thinking": "hmm", "signature": "s"}


def test_every_kind_of_message_has_its_role():
    messages = [
        SystemMessage("s"),
        HumanMessage("h"),
        AIMessage("a"),
        AIMessageChunk("c"),
        ToolMessage("t", tool_call_id="1"),
        FunctionMessage("f", name="f"),
        ChatMessage("d", role="developer"),
        ChatMessage("x", role="narrator"),
    ]
    roles = [message_view(message).role for message in messages]
    assert roles == ["system", "user", "assistant", "assistant", "tool", "tool", "system", "user"]


def test_text_blocks_are_joined_and_all_others_are_opaque():
    view = message_view(HumanMessage([{"type": "text", "text": "look: "}, IMAGE, "this", THINKING]))
    assert view.text == "look: this"
    assert [block.kind for block in view.opaque] == ["image", "thinking"]
    assert view.opaque[0].value == IMAGE


def test_tool_calls_are_read_once_though_anthropic_repeats_them_as_blocks():
    message = AIMessage(
        [{"type": "text", "text": "let me see"}, {"type": "tool_use", "id": "c1", "name": "f", "input": {"b": 1}}],
        tool_calls=[{"id": "c1", "name": "f", "args": {"b": 1, "a": "é"}}],
    )
    view = message_view(message)
    assert view == Message("assistant", "let me see", (ToolCall("f", '{"a": "é", "b": 1}', "c1"),))


def test_calls_that_did_not_parse_are_kept_as_written():
    message = AIMessage("", invalid_tool_calls=[{"id": "c1", "name": None, "args": "{bro", "error": None}])
    assert message_view(message).tool_calls == (ToolCall("", "{bro", "c1"),)


def test_a_tool_message_names_the_call_it_answers():
    assert message_view(ToolMessage("r", tool_call_id="c1", name="f")) == Message("tool", "r", (), "c1", "f")


def test_the_request_takes_model_tools_and_limit_from_the_parameters():
    params = {"model": "m", "max_completion_tokens": 9, "tools": [{"type": "function"}, lambda: 0]}
    request = request_view([HumanMessage("h")], params)
    assert (request.model, request.max_output_tokens, request.tools) == ("m", 9, ({"type": "function"},))
    assert request_view([], {"max_tokens": "many"}).max_output_tokens is None


def test_a_message_is_looked_at_once_until_it_changes():
    views, message = Views(), AIMessage("a", tool_calls=[])
    first = views.of(message)
    assert views.of(message) is first
    message.content = "b"
    assert views.of(message).text == "b"
    message.tool_calls = [{"name": "f", "args": {}, "id": "c", "type": "tool_call"}]
    assert [call.id for call in views.of(message).tool_calls] == ["c"]
    blocks = HumanMessage([{"type": "text", "text": "a"}])
    assert views.of(blocks).text == "a"
    blocks.content[0]["text"] = "b"
    assert views.of(blocks).text == "b"


def test_views_of_messages_that_are_gone_are_forgotten():
    views = Views()
    messages = [HumanMessage(str(n)) for n in range(9)]
    assert [views.of(message).text for message in messages] == [str(n) for n in range(9)]
    del messages[1:]
    gc.collect()
    assert len(views._known) == 1
