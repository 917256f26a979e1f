from __future__ import annotations

import contextlib
import io
import json
import logging

import pytest

from llmops_sdk import Guard, Pipeline, Scripted, Verdict
from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError, RateLimitError
from llmops_sdk.guards import PII
from llmops_sdk.tracing import Logs
from llmops_sdk.tracing._later import LATER

PLANTED = "xyzzy-4711"


class Blocks(Guard):
    def check(self, text, context=None):
        return Verdict.block("no")


class Structured:
    """What structlog's loggers are to us."""

    def __init__(self, level=logging.DEBUG):
        self.lines = []
        self.level = level

    def is_enabled_for(self, level):
        return level >= self.level

    def __getattr__(self, name):
        if name not in {"debug", "info", "warning", "error"}:
            raise AttributeError(name)
        return lambda event, **fields: self.lines.append((name, event, fields))


def test_a_run_is_one_line_with_fields(caplog):
    pipeline = Pipeline("Tell me", Scripted(PLANTED), name="support", hooks=[Logs()])
    with caplog.at_level(logging.INFO, logger="llmops_sdk.runs"):
        result = pipeline.run(tags={"tenant": "a"})
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("INFO", "llmops_sdk.runs")
    assert record.getMessage().startswith("support: ok after ")
    assert (record.run, record.pipeline, record.outcome, record.attempts) == (result.call.id, "support", "ok", 1)
    assert (record.engine, record.model, record.input_tokens, record.output_tokens) == ("scripted", "scripted", 2, 1)
    assert (record.prompt, record.tags, record.seconds > 0) == ("inline", {"tenant": "a"}, True)
    assert not hasattr(record, "cost_usd")  # nobody knows it
    assert PLANTED not in str(record.__dict__)


@pytest.mark.parametrize(
    ("pipeline", "level", "outcome"),
    [
        (lambda logs: Pipeline("x", Scripted("a"), hooks=[logs]), "info", "ok"),
        (lambda logs: Pipeline("x", Blocks(), Scripted("a"), hooks=[logs]), "warning", "blocked"),
        (lambda logs: Pipeline("x", Scripted(RateLimitError(PLANTED)), hooks=[logs]), "error", "RateLimitError"),
    ],
)
def test_the_level_is_that_of_the_outcome(pipeline, level, outcome):
    logger = Structured(logging.INFO)
    made = pipeline(Logs(logger))
    with contextlib.suppress(RateLimitError):
        made.run()
    ((name, event, fields),) = logger.lines
    assert (name, fields["outcome"]) == (level, outcome)
    assert fields.get("blocked_by") == ("blocks" if outcome == "blocked" else None)
    assert fields.get("error") == ("RateLimitError" if level == "error" else None)
    assert PLANTED not in f"{event}{fields}"


def test_a_slow_run_is_a_warning(runs):
    logger = Structured(logging.INFO)
    runs.plain(Call(hooks=(Logs(logger, slow_s=1.0),)))
    runs.plain(Call(hooks=(Logs(logger, slow_s=1.1),)))
    assert [name for name, _, _ in logger.lines] == ["warning", "info"]
    assert logger.lines[0][1].endswith(", slow")


def test_costs_hold_those_of_asides_and_are_text(runs):
    logger = Structured(logging.INFO)
    runs.plain(Call(hooks=(Logs(logger),)))
    assert logger.lines[0][2]["cost_usd"] == "0.00021325"


def test_at_debug_each_event_is_a_line(runs):
    logger = Structured()
    call = runs.plain(Call(hooks=(Logs(logger),)))
    assert len(logger.lines) == len(call.events)
    name, event, fields = logger.lines[2]
    assert (name, event) == ("debug", f"guard_checked in run {call.id[:8]}")
    assert (fields["run"], fields["record"]) == (call.id, call.to_json()["events"][2])
    assert PLANTED not in str(logger.lines)


def test_fields_of_events_do_not_hurt_a_logger_of_logging(runs, caplog):
    with caplog.at_level(logging.DEBUG, logger="llmops_sdk.runs"):
        call = runs.plain(Call(hooks=(Logs(),)))
    assert len(caplog.records) == len(call.events)


def test_content_is_in_the_line_only_where_it_is_asked_for(runs):
    for content in (False, True):
        logger = Structured(logging.INFO)
        runs.failed_over(Call(hooks=(Logs(logger, content=content),)))
        assert LATER.flush(10)
        assert (PLANTED in str(logger.lines)) == content


def test_structlog_takes_the_fields():
    structlog = pytest.importorskip("structlog")
    out = io.StringIO()
    logger = structlog.wrap_logger(structlog.PrintLogger(out), processors=[structlog.processors.JSONRenderer()])
    Pipeline("x", Scripted("a"), hooks=[Logs(logger)]).run()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[-1]["outcome"] == "ok"
    assert len(lines) > 1


def test_an_adapter_of_logging_will_do(caplog):
    with caplog.at_level(logging.INFO, logger="mine"):
        Pipeline("x", Scripted("a"), hooks=[Logs(logging.LoggerAdapter(logging.getLogger("mine")))]).run()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "wrong", [{"logger": print}, {"logger": "mine"}, {"logger": logging.Logger}, {"slow_s": 0}, {"slow_s": "1"}]
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Logs(**wrong)


def test_what_a_guard_found_is_in_no_field_of_a_line(caplog):
    address = "ada" + "@" + "example.com"
    with caplog.at_level(logging.DEBUG, logger="llmops_sdk.runs"):
        Pipeline("Hello {{ who }}", PII(), Scripted("a"), hooks=[Logs()]).run(who=address, tags={"user": address})
    assert len(caplog.records) > 3
    assert address not in str([record.__dict__ for record in caplog.records])
