"""The view says what a LlamaIndex message says, and leaves alone what it does not understand."""

import json

from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.base.llms.types import CacheControl as Control
from llama_index.core.llms import MockLLM
from llamaindex_thrift.view import message_view, provider_of, request_view, tool_calls
from llamaindex_thrift.views import Views
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from openai.types.chat.chat_completion_message_function_tool_call import Function
from thrift_core.messages import Message, ToolCall


@given(st.lists(st.text()), st.sampled_from(MessageRole))
def test_text_blocks_are_joined_by_nothing(texts, role):
    view = message_view(ChatMessage(role=role, blocks=[TextBlock(text=text) for text in texts]))
    assert view.text == "".join(texts)
    assert view.opaque == ()


def test_every_role_has_a_counterpart():
    roles = {role.value: message_view(ChatMessage(role=role, content="x")).role for role in MessageRole}
    assert roles == {
        "system": "system",
        "developer": "system",
        "user": "user",
        "assistant": "assistant",
        "chatbot": "assistant",
        "model": "assistant",
        "function": "tool",
        "tool": "tool",
    }


def test_media_thinking_and_cache_points_are_opaque_and_the_same_objects():
    blocks = [
        TextBlock(text="look"),
        ImageBlock(url="https://example.com/a.png"),
        AudioBlock(audio=b"abc"),
        DocumentBlock(data=b"abc", document_mimetype="text/plain"),
        ThinkingBlock(content="hm"),
        CachePoint(cache_control=Control(type="ephemeral")),
    ]
    message = ChatMessage(role="user", blocks=blocks)
    view = message_view(message)
    assert view.text == "look"
    assert [block.kind for block in view.opaque] == ["image", "audio", "file", "thinking", "cache"]
    assert all(seen.value is block for seen, block in zip(view.opaque, message.blocks[1:], strict=True))


def test_arguments_are_kept_byte_for_byte_where_the_client_did_not_parse_them():
    written = '{"b": 1,  "a": [2]}'
    message = ChatMessage(
        role="assistant",
        blocks=[
            ToolCallBlock(tool_call_id="1", tool_name="f", tool_kwargs=written),
            ToolCallBlock(tool_call_id="2", tool_name="g", tool_kwargs={"b": 1, "a": 2}),
            ToolCallBlock(tool_name="h", tool_kwargs='{"broken'),
        ],
        additional_kwargs={"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": written}}]},
    )
    assert message_view(message).tool_calls == (
        ToolCall("f", written, "1"),
        ToolCall("g", '{"a": 2, "b": 1}', "2"),
        ToolCall("h", '{"broken', None),
    )


def test_calls_that_stand_beside_the_blocks_are_read_in_every_clients_shape():
    function = Function(name="f", arguments='{"a": 1}')
    shapes = [
        ChatCompletionMessageFunctionToolCall(id="1", type="function", function=function),
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"id": "1", "name": "f", "args": {"a": 1}},
        {"id": "1", "name": "f", "input": {"a": 1}},
        {"call_id": "1", "name": "f", "arguments": '{"a": 1}'},
    ]
    for shape in shapes:
        message = ChatMessage(role="assistant", content="", additional_kwargs={"tool_calls": [shape]})
        assert tool_calls(message) == (ToolCall("f", '{"a": 1}', "1"),), shape
    old = ChatMessage(role="assistant", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}})
    assert tool_calls(old) == (ToolCall("f", "{}"),)


def test_what_is_not_a_tool_call_is_no_tool_call():
    for strange in (None, "f", 7, [None, 7, {}], {"name": "f"}):
        assert tool_calls(ChatMessage(role="assistant", additional_kwargs={"tool_calls": strange})) == ()


def test_a_tool_result_names_the_call_it_answers():
    result = ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "1", "name": "stock"})
    assert message_view(result) == Message("tool", "3", tool_call_id="1", name="stock")


def test_a_request_carries_model_tools_and_the_largest_limit():
    tool = {"type": "function", "function": {"name": "f"}}
    settings = vars(MockLLM(max_tokens=50))
    request = request_view([ChatMessage(content="hi")], {"model": "m", "tools": [tool], "max_tokens": 20}, settings)
    assert (request.model, request.tools, request.max_output_tokens) == ("m", (tool,), 50)
    assert request.messages == (Message("user", "hi"),)
    assert request_view("hi", {}).messages == (Message("user", "hi"),)
    assert request_view("hi", {"max_tokens": "many"}).max_output_tokens is None


def test_bedrocks_tools_stand_one_level_deeper():
    spec = {"toolSpec": {"name": "f"}}
    assert request_view([], {"tools": {"tools": [spec], "toolChoice": {"auto": {}}}}).tools == (spec,)
    assert request_view([], {"tools": [spec, object()]}).tools == (spec,)
    assert request_view([], {"tools": None}).tools == ()


def test_the_address_says_more_of_who_bills_than_the_client():
    assert provider_of({"api_base": "https://api.groq.com/openai/v1"}, "openai_llm") == "groq"
    assert provider_of({"api_base": "http://127.0.0.1:1/v1"}, "openai_llm") == "openai"
    assert provider_of({"endpoint": "not a url"}, "Bedrock_Converse_LLM") == "aws"
    assert provider_of({}, None) is None


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=5)
)
def test_parsed_arguments_come_back_as_the_same_json(arguments):
    given_ = {"value": arguments}
    message = ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_name="f", tool_kwargs=given_)])
    assert json.loads(tool_calls(message)[0].arguments) == given_


def test_a_message_that_says_the_same_is_looked_at_once():
    views = Views()
    messages = [
        ChatMessage(role="user", content="hi"),
        ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id="1", tool_name="f", tool_kwargs={"a": 1})]),
        ChatMessage(role="tool", content="x", additional_kwargs={"tool_call_id": "1"}),
        ChatMessage(role="user", blocks=[ImageBlock(url="https://example.com/a.png")]),
    ]
    seen = [views.of(message) for message in messages]
    assert seen == [message_view(message) for message in messages]
    assert all(views.of(message) is view for message, view in zip(messages, seen, strict=True))


def test_a_message_that_was_changed_in_its_place_is_looked_at_anew():
    views = Views()
    call = ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id="1", tool_name="f", tool_kwargs={"a": 1})])
    text = ChatMessage(role="user", content="hi")
    beside = ChatMessage(role="assistant", additional_kwargs={"tool_calls": [{"function": {"name": "f"}, "id": "1"}]})
    for message in (call, text, beside):
        views.of(message)
    call.blocks[0].tool_kwargs["a"] = 2
    text.blocks[0].text = "ho"
    beside.additional_kwargs["tool_calls"][0]["id"] = "2"
    text.blocks.append(TextBlock(text="!"))
    assert all(views.of(message) == message_view(message) for message in (call, text, beside))


def test_views_of_messages_that_are_gone_are_gone():
    views = Views()
    views.of(ChatMessage(role="user", content="hi"))
    assert views._known == {}
