"""The fault server's Messages API, seen by a client that knows nothing of our engines."""

import json
import ssl

import httpx2
import pytest

from llmops_sdk.messages import ToolCall, Usage
from llmops_sdk.testing import FaultServer, Hang, Raw, Reply, Status

ASKED = {"model": "m", "max_tokens": 9, "system": "be kind", "messages": [{"role": "user", "content": "hello there"}]}
TLS = ssl.create_default_context()  # loading the system's certificates for each request takes longer than the tests
CALL = ToolCall(id="toolu_1", name="send", arguments='{"to":"Ada"}')


def post(server, path="/messages", **changes):
    return httpx2.post(server.url + path, json={**ASKED, **changes}, timeout=5, verify=TLS)


def events(answer):
    """(name, data) of the events of a stream."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [event.split("\n") for event in answer.text.removesuffix("\n\n").split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in lines]


def test_whole_message():
    with FaultServer(Reply(text="Hello Ada", tool_calls=(CALL,))) as server:
        answer = post(server)
    assert answer.headers["request-id"].startswith("req_")
    said = answer.json()
    assert (said["type"], said["role"], said["model"], said["stop_reason"]) == ("message", "assistant", "m", "tool_use")
    assert said["content"] == [
        {"type": "text", "text": "Hello Ada"},
        {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {"to": "Ada"}},
    ]
    assert (said["usage"]["input_tokens"], said["usage"]["output_tokens"]) == (4, 3)


def test_streamed_message():
    usage = Usage(input_tokens=100, output_tokens=20, cached_input_tokens=60, cache_write_tokens=30)
    with FaultServer(Reply(text="Hello Ada", tool_calls=(CALL,), usage=usage)) as server:
        said = events(post(server, stream=True))
    names = [name for name, _ in said]
    assert [data["type"] for _, data in said] == names
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert list(dict.fromkeys(names)) == [
        "message_start",
        block[0],
        "ping",
        *block[1:],
        "message_delta",
        "message_stop",
    ]
    deltas = [data["delta"] for name, data in said if name == "content_block_delta"]
    assert [delta["text"] for delta in deltas if delta["type"] == "text_delta"] == ["Hello", " Ada"]
    arguments = [delta["partial_json"] for delta in deltas if delta["type"] == "input_json_delta"]
    assert len(arguments) > 1
    assert "".join(arguments) == CALL.arguments
    counts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    assert [said[0][1]["message"]["usage"][name] for name in counts] == [10, 60, 30, 1]
    assert [said[-2][1]["usage"][name] for name in counts] == [10, 60, 30, 20]
    assert said[-2][1]["delta"]["stop_reason"] == "tool_use"


def test_thoughts_are_a_block_of_their_own_and_a_refusal_is_a_reason_to_stop():
    with FaultServer(Reply(text="No.", reasoning="Better not.", refusal=True)) as server:
        whole = post(server).json()
        said = events(post(server, stream=True))
    assert [(block["type"], block.get("thinking")) for block in whole["content"]] == [
        ("thinking", "Better not."),
        ("text", None),
    ]
    blocks = [(data["index"], data["delta"]["type"]) for name, data in said if name == "content_block_delta"]
    assert blocks == [(0, "thinking_delta"), (0, "thinking_delta"), (0, "signature_delta"), (1, "text_delta")]
    assert whole["stop_reason"] == said[-2][1]["delta"]["stop_reason"] == "refusal"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
        (Status(status=400, code="billing_error"), "billing_error"),
    ],
)
def test_refusals_are_in_the_form_of_the_api(status, kind):
    with FaultServer(status) as server:
        answer = post(server)
    assert answer.status_code == (status if isinstance(status, int) else status.status)
    assert answer.json() == {"type": "error", "error": {"type": kind, "message": "as the script says"}}


def test_what_is_wrong_with_a_request_is_told_in_the_form_of_the_api_and_takes_no_turn():
    with FaultServer("Hello") as server:
        refused = [
            httpx2.post(server.url + "/messages", json={"model": "m", "messages": []}, verify=TLS),
            httpx2.post(server.url + "/messages", content=b"{", verify=TLS),
            httpx2.get(server.url + "/messages", verify=TLS),
            httpx2.post(server.url + "/messages/batches", json={}, verify=TLS),
        ]
        assert [answer.status_code for answer in refused] == [400, 400, 405, 404]
        assert {answer.json()["type"] for answer in refused} == {"error"}
        assert post(server, "/messages/count_tokens").json() == {"input_tokens": 4}
        assert post(server).json()["id"].endswith("1")


def test_both_forms_play_one_script():
    with FaultServer("one", "two", Raw(body=b"{}"), Hang()) as server:
        assert post(server).json()["content"][0]["text"] == "one"
        assert post(server, "/chat/completions").json()["choices"][0]["message"]["content"] == "two"
        assert post(server).content == b"{}"
    with FaultServer("same") as server:  # the bytes of answers are kept; each form has its own
        for _ in range(2):
            assert post(server).json()["content"][0]["text"] == "same"
            assert post(server, "/chat/completions").json()["choices"][0]["message"]["content"] == "same"
