"""What a real Phoenix makes of our spans, by its own APIs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

ALL = ("gen_ai", "openinference", "langfuse")
COSTS = """query($trace: String!) { getTraceByOtelId(traceId: $trace) {
  session { sessionId } errorCount spans(first: 100) { edges { node {
    spanId tokenCountPrompt tokenCountCompletion costSummary { total { cost } } } } } } }"""


class Seen:
    """What Phoenix holds of the runs that were sent to it."""

    def __init__(self, server: Any, sent: Any) -> None:
        self._server = server
        self._sent = sent

    def spans(self, kind: str, at_least: int = 2) -> list[Any]:
        """The spans of a run, by start. Phoenix takes them in after it has answered."""
        path = f"/v1/projects/{self._sent.place}/spans?trace_id={self._sent.traces[kind]}&limit=100"
        end = time.monotonic() + 60
        while True:
            found = self._server.ask(path)
            if found is not None and len(found["data"]) >= at_least:
                return sorted(found["data"], key=lambda span: span["start_time"])
            assert time.monotonic() < end, f"{found} for {kind}"
            time.sleep(0.2)

    def one(self, kind: str, beginning: str) -> Any:
        """The last span whose name begins so."""
        return [span for span in self.spans(kind) if span["name"].startswith(beginning)][-1]

    def trace(self, kind: str) -> Any:
        """What only its GraphQL tells: the session, and costs, which come after the spans."""
        end = time.monotonic() + 30
        while True:
            given = {"query": COSTS, "variables": {"trace": self._sent.traces[kind]}}
            trace = self._server.ask("/graphql", given)["data"]["getTraceByOtelId"]
            nodes = [edge["node"] for edge in trace["spans"]["edges"]]
            if any(node["costSummary"]["total"]["cost"] for node in nodes) or time.monotonic() > end:
                return trace | {"spans": {node["spanId"]: node for node in nodes}}
            time.sleep(0.2)


@pytest.fixture(scope="session")
def seen(phoenix: Any, sender: Any) -> Seen:
    return Seen(phoenix, sender.send(f"{phoenix.url}/v1/traces", "all", ALL, {}))


@pytest.fixture(scope="session")
def plainly(phoenix: Any, sender: Any) -> Seen:
    """In the words of the GenAI conventions alone."""
    return Seen(phoenix, sender.send(f"{phoenix.url}/v1/traces", "gen_ai", ("gen_ai",), {}))


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [
        ("plain", ["CHAIN", "PROMPT", "GUARDRAIL", "LLM", "GUARDRAIL"]),
        ("stream", ["CHAIN", "PROMPT", "LLM", "GUARDRAIL"]),
        ("blocked", ["CHAIN", "PROMPT", "GUARDRAIL"]),
        ("failed over", ["CHAIN", "PROMPT", "LLM", "LLM"]),
        ("tool call", ["CHAIN", "LLM", "TOOL"]),
        ("judged", ["CHAIN", "PROMPT", "LLM", "EVALUATOR"]),
    ],
)
def test_every_span_has_its_kind(seen, kind, kinds):
    assert sorted(span["span_kind"] for span in seen.spans(kind, len(kinds))) == sorted(kinds)


def test_the_llm_span_has_model_messages_tokens_and_parameters(seen):
    attributes = seen.one("plain", "chat")["attributes"]
    assert attributes["llm.model_name"] == "gpt-4o-mini"
    assert attributes["llm.input_messages.0.message.role"] == "system"
    assert attributes["llm.input_messages.1.message.content"] == "Mail [EMAIL_1] about order 1042"
    assert attributes["llm.output_messages.0.message.content"] == "Order 1042 ships tomorrow."
    assert attributes["llm.token_count.prompt_details.cache_read"] == 200
    assert attributes["llm.finish_reason"] == "stop"
    assert json.loads(attributes["llm.invocation_parameters"]) == {"temperature": 0, "max_tokens": 48}
    assert json.loads(attributes["input.value"])[1]["role"] == "user"


def test_the_llm_span_has_tokens_and_a_cost(seen):
    node = seen.trace("plain")["spans"][seen.one("plain", "chat")["context"]["span_id"]]
    assert (node["tokenCountPrompt"], node["tokenCountCompletion"]) == (1000, 500)
    assert node["costSummary"]["total"]["cost"] == pytest.approx(0.000435)  # by Phoenix's own table


def test_guards_have_their_input_and_verdict(seen):
    attributes = seen.one("plain", "apply_guardrail secrets")["attributes"]
    assert attributes["input.value"] == "Order 1042 ships tomorrow."
    assert json.loads(attributes["output.value"]) == {"action": "allow"}
    blocked = seen.one("blocked", "apply_guardrail pii")["attributes"]
    assert json.loads(blocked["output.value"])["action"] == "block"


def test_the_prompt_has_template_version_input_and_output(seen):
    for beginning in ("render_prompt", "chat"):
        attributes = seen.one("failed over", beginning)["attributes"]
        assert attributes["llm.prompt_template.template"].endswith("[user]\n{{ question }}")
        assert attributes["llm.prompt_template.version"] == "7"
        assert attributes["llm.prompt_template.variables.question"] == "Where?"
    attributes = seen.one("failed over", "render_prompt")["attributes"]
    assert json.loads(attributes["input.value"]) == {"question": "Where?"}
    assert attributes["output.value"].endswith("[user]\nWhere?")


def test_documents_are_in_the_input_of_the_prompt(seen):
    variables = json.loads(seen.one("documents", "render_prompt")["attributes"]["input.value"])
    assert [source["id"] for source in variables["sources"]] == ["faq-7", "mail-3"]


def test_the_root_has_what_was_asked_and_answered_and_the_trace_its_session(seen):
    attributes = seen.one("plain", "invoke_workflow")["attributes"]
    assert attributes["input.value"] == "Mail [EMAIL_1] about order 1042"
    assert attributes["output.value"] == "Order 1042 ships tomorrow."
    assert attributes["user.id"] == "ada"
    assert seen.trace("plain")["session"]["sessionId"] == "chat-1"


def test_tool_calls_results_and_executions_are_shown(seen):
    called = seen.one("tool call", "chat")["attributes"]
    assert called["llm.output_messages.0.message.tool_calls.0.tool_call.function.name"] == "order_status"
    answered = seen.one("tool result", "chat")["attributes"]
    assert answered["llm.input_messages.2.message.tool_call_id"] == "call_1"
    executed = seen.one("tool call", "execute_tool")["attributes"]
    assert json.loads(executed["input.value"]) == {"order": 1042}
    assert executed["output.value"] == "shipped"


def test_errors_have_their_status(seen):
    first, second = [span for span in seen.spans("failed over", 4) if span["name"].startswith("chat")]
    assert (first["status_code"], first["status_message"], second["status_code"]) == ("ERROR", "ServerError", "UNSET")
    assert seen.one("failed", "invoke_workflow")["status_code"] == "ERROR"
    assert seen.one("blocked", "invoke_workflow")["status_code"] == "UNSET"


def test_a_judgement_is_a_span_with_score_and_reason(seen):
    said = json.loads(seen.one("judged", "evaluate")["attributes"]["output.value"])
    assert (said["score"], said["label"]) == (0.9, "relevant")
    assert said["explanation"] == "It answers the question."


def test_the_conventions_alone_fill_the_llm_span(plainly):
    kinds = {span["name"].split()[0]: span["span_kind"] for span in plainly.spans("plain", 5)}
    assert kinds == {
        "invoke_workflow": "UNKNOWN", "render_prompt": "UNKNOWN", "apply_guardrail": "UNKNOWN", "chat": "LLM",
    }  # fmt: skip
    attributes = plainly.one("plain", "chat")["attributes"]
    assert attributes["llm.model_name"] == "gpt-4o-mini"
    assert attributes["llm.input_messages.1.message.content"] == "Mail [EMAIL_1] about order 1042"
    assert attributes["llm.output_messages.0.message.content"] == "Order 1042 ships tomorrow."
    node = plainly.trace("plain")["spans"][plainly.one("plain", "chat")["context"]["span_id"]]
    assert node["tokenCountPrompt"] == 1000
    assert node["costSummary"]["total"]["cost"] == pytest.approx(0.000435)
    assert plainly.trace("plain")["session"]["sessionId"] == "chat-1"
