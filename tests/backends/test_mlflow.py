"""What a real MLflow makes of our spans, by its own API."""

from __future__ import annotations

import json
from typing import Any

import pytest

ALL = ("gen_ai", "openinference", "langfuse")


class Seen:
    """What MLflow holds of the runs that were sent to it."""

    def __init__(self, server: Any, sent: Any) -> None:
        self._server = server
        self._sent = sent

    def trace(self, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What it tells of a trace, and its spans with plain attributes, by start."""
        found = self._server.ask(f"/api/3.0/mlflow/traces/get?trace_id=tr-{self._sent.traces[kind]}")["trace"]
        spans = sorted(found["spans"], key=lambda span: int(span["start_time_unix_nano"]))
        for span in spans:
            span["attributes"] = {one["key"]: plain(one["value"]) for one in span["attributes"]}
        return found["trace_info"], spans

    def one(self, kind: str, beginning: str) -> dict[str, Any]:
        """The last span whose name begins so."""
        return [span for span in self.trace(kind)[1] if span["name"].startswith(beginning)][-1]


def plain(value: dict[str, Any]) -> Any:
    """A value of OTLP's JSON."""
    ((kind, given),) = value.items() or ((None, None),)
    if kind == "array_value":
        return [plain(one) for one in given.get("values", [])]
    if kind == "kvlist_value":
        return {one["key"]: plain(one["value"]) for one in given.get("values", [])}
    return int(given) if kind == "int_value" else given


def sent(server: Any, sender: Any, dialects: tuple[str, ...]) -> Seen:
    name = "-".join(dialects)
    experiment = server.ask("/api/2.0/mlflow/experiments/create", {"name": name})["experiment_id"]
    headers = {"x-mlflow-experiment-id": experiment}
    return Seen(server, sender.send(f"{server.url}/v1/traces", name, dialects, headers))


@pytest.fixture(scope="session")
def seen(mlflow: Any, sender: Any) -> Seen:
    return sent(mlflow, sender, ALL)


@pytest.fixture(scope="session")
def plainly(mlflow: Any, sender: Any) -> Seen:
    """In the words of the GenAI conventions alone."""
    return sent(mlflow, sender, ("gen_ai",))


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
    _, spans = seen.trace(kind)
    assert sorted(span["attributes"]["mlflow.spanType"] for span in spans) == sorted(kinds)


def test_the_llm_span_has_model_messages_and_tokens(seen):
    attributes = seen.one("plain", "chat")["attributes"]
    assert attributes["mlflow.llm.model"] == "gpt-4o-mini"
    system, user = attributes["mlflow.spanInputs"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert user["parts"][0]["content"] == "Mail [EMAIL_1] about order 1042"
    assert attributes["mlflow.spanOutputs"][0]["parts"][0]["content"] == "Order 1042 ships tomorrow."
    assert attributes["mlflow.chat.tokenUsage"] == {
        "input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500, "cache_read_input_tokens": 200,
    }  # fmt: skip


def test_costs_are_ours_also_of_a_model_that_it_does_not_know(seen):
    cost = {"input_cost": 0.001, "output_cost": 0.002, "total_cost": 0.003}
    assert seen.one("own prices", "chat")["attributes"]["mlflow.llm.cost"] == pytest.approx(cost)
    info, _ = seen.trace("own prices")
    assert json.loads(info["trace_metadata"]["mlflow.trace.cost"]) == pytest.approx(cost)


def test_guards_have_their_input_and_verdict(seen):
    attributes = seen.one("plain", "apply_guardrail secrets")["attributes"]
    assert attributes["mlflow.spanInputs"] == "Order 1042 ships tomorrow."
    assert attributes["mlflow.spanOutputs"] == {"action": "allow"}
    assert seen.one("blocked", "apply_guardrail pii")["attributes"]["mlflow.spanOutputs"]["action"] == "block"


def test_the_prompt_has_template_version_input_and_output(seen):
    attributes = seen.one("failed over", "render_prompt")["attributes"]
    assert attributes["mlflow.spanInputs"] == {"question": "Where?"}
    assert attributes["mlflow.spanOutputs"].endswith("[user]\nWhere?")
    assert attributes["llm.prompt_template.template"].endswith("[user]\n{{ question }}")
    assert str(attributes["llm.prompt_template.version"]) == "7"


def test_the_trace_has_what_was_asked_and_answered_session_user_and_tokens(seen):
    info, _ = seen.trace("plain")
    assert (info["state"], json.loads(info["request_preview"])) == ("OK", "Mail [EMAIL_1] about order 1042")
    assert json.loads(info["response_preview"]) == "Order 1042 ships tomorrow."
    metadata = info["trace_metadata"]
    assert (metadata["mlflow.trace.session"], metadata["mlflow.trace.user"]) == ("chat-1", "ada")
    assert json.loads(metadata["mlflow.trace.tokenUsage"])["total_tokens"] == 1500


def test_tool_calls_and_executions_are_shown(seen):
    (part,) = seen.one("tool call", "chat")["attributes"]["mlflow.spanOutputs"][0]["parts"]
    assert (part["type"], part["name"], part["arguments"]) == ("tool_call", "order_status", {"order": 1042})
    executed = seen.one("tool call", "execute_tool")["attributes"]
    assert (executed["mlflow.spanInputs"], executed["mlflow.spanOutputs"]) == ({"order": 1042}, "shipped")


def test_errors_have_their_status(seen):
    assert seen.trace("failed")[0]["state"] == "ERROR"
    assert seen.one("failed", "chat")["status"] == {"code": "STATUS_CODE_ERROR", "message": "ServerError"}
    info, spans = seen.trace("failed over")
    assert info["state"] == "OK"
    assert [span["status"].get("message") for span in spans if span["name"].startswith("chat")] == ["ServerError", None]


def test_a_judgement_is_a_span_with_score_and_reason(seen):
    said = seen.one("judged", "evaluate")["attributes"]["mlflow.spanOutputs"]
    assert (said["score"], said["label"], said["explanation"]) == (0.9, "relevant", "It answers the question.")


def test_the_conventions_alone_fill_the_llm_span(plainly):
    info, spans = plainly.trace("plain")
    kinds = {span["name"].split()[0]: span["attributes"].get("mlflow.spanType") for span in spans}
    assert kinds == {"invoke_workflow": None, "render_prompt": None, "apply_guardrail": None, "chat": "CHAT_MODEL"}
    attributes = plainly.one("plain", "chat")["attributes"]
    assert attributes["mlflow.llm.model"] == "gpt-4o-mini"
    assert attributes["mlflow.spanInputs"][1]["parts"][0]["content"] == "Mail [EMAIL_1] about order 1042"
    assert attributes["mlflow.spanOutputs"][0]["parts"][0]["content"] == "Order 1042 ships tomorrow."
    assert attributes["mlflow.llm.cost"]["total_cost"] == pytest.approx(0.000435)  # by MLflow's own table
    assert info["trace_metadata"]["mlflow.trace.session"] == "chat-1"
    assert info.get("request_preview") is None
