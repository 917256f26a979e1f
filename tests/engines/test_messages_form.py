from llmops_sdk.engines._messages_form import conversation
from llmops_sdk.messages import ImagePart, Message, TextPart, ToolCall


def calling(arguments):
    return Message.assistant(tool_calls=(ToolCall(id="1", name="now", arguments=arguments),))


def test_results_in_a_row_are_one_turn_and_others_are_not():
    results = [Message.tool(text, tool_call_id=text) for text in "abc"]
    _, turns = conversation([results[0], results[1], Message.user("and?"), results[2]])
    assert [turn["role"] for turn in turns] == ["user", "user", "user"]
    texts = [[block["content"] for block in turn["content"]] for turn in (turns[0], turns[2])]
    assert texts == [["a", "b"], ["c"]]


def test_calls_need_no_text_and_no_arguments():
    _, turns = conversation([calling("")])
    assert turns[0]["content"] == [{"type": "tool_use", "id": "1", "name": "now", "input": {}}]


def test_parts_without_text_are_left_out_and_results_may_hold_images():
    image = ImagePart(url="http://127.0.0.1/cat.png", detail="low")
    result = Message(role="tool", content=(TextPart(text=""), TextPart(text="a cat"), image), tool_call_id="1")
    system, turns = conversation([Message.system(""), result])
    assert system == []
    assert turns[0]["content"][0]["content"] == [
        {"type": "text", "text": "a cat"},
        {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/cat.png"}},
    ]
