"""NeMo Guardrails behind our guard, for real: both of its engines, and our engine as its model."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import time

import pytest

from llmops_sdk.calls import Call
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Scripted
from llmops_sdk.errors import ClosedError, ConfigurationError, DeadlineExceeded, GuardFailed, InvalidResponseError
from llmops_sdk.guards.nemo import NeMo, _changed
from llmops_sdk.messages import Message, Request, Usage
from llmops_sdk.protocols import GuardContext
from llmops_sdk.testing import GuardContract

# NeMo warns of its own old fields.
pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

REGEX = """
models: []
rails:
  config:
    regex_detection:
      input: {patterns: ["badger"]}
      output: {patterns: ["weasel"]}
  input: {flows: [regex check input]}
  output: {flows: [regex check output]}
"""
SELF_CHECK = """
models: []
rails:
  input: {flows: [self check input]}
  output: {flows: [self check output]}
prompts:
  - task: self_check_input
    content: 'Is this bad? [{{ user_input }}] Answer Yes or No.'
  - task: self_check_output
    content: 'Asked [{{ user_input }}]. Is this bad? [{{ bot_response }}] Answer Yes or No.'
"""
FLOWS = """
models: []
rails:
  input: {flows: [keep to the topic, hide the name]}
"""
COLANG = """
define bot refuse politics
  "No politics, please."

define flow keep to the topic
  $allowed = execute is_allowed(text=$user_message)
  if not $allowed
    bot refuse politics
    stop

define flow hide the name
  $user_message = execute hide_name(text=$user_message)
"""


async def is_allowed(text: str) -> bool:
    if "crash" in text:
        raise RuntimeError("the action broke")
    return "politics" not in text


async def hide_name(text: str) -> str:
    return text.replace("Ada", "<NAME>")


ACTIONS = {"is_allowed": is_allowed, "hide_name": hide_name}


@pytest.fixture(scope="module", params=["iorails", "llmrails"])
def regex(request):
    with_runtime = NeMo(yaml=REGEX, runtime=request.param)
    yield with_runtime
    with_runtime.close()


@pytest.fixture(scope="module")
def flows():
    guard = NeMo(yaml=FLOWS, colang=COLANG, actions=ACTIONS)
    yield guard
    guard.close()


def context(stage="input", *messages, origin=None, **settings):
    request = Request(messages=messages or (Message.user("How are you?"),))
    origin = origin or {"input": "user", "output": "output"}[stage]
    return GuardContext(call=Call(**settings), stage=stage, origin=origin, request=request)


class TestNeMoContract(GuardContract):
    examples_allowed = ("a fox",)
    examples_caught = ("a badger",)
    stage = "input"
    tries = 20

    def make_guard(self):
        return NeMo(yaml=REGEX)


class TestNeMoBySentence(TestNeMoContract):
    examples_allowed = ("a fox. ",)
    examples_caught = ("a badger. ",)

    def make_guard(self):
        return NeMo(yaml=REGEX, by="sentence", longest=80)


async def test_the_stage_chooses_the_rails(regex):
    for stage, caught, other in (("input", "badger", "weasel"), ("output", "weasel", "badger")):
        verdict = await regex.acheck(f"a {caught}", context(stage))
        assert verdict.blocked
        assert [(one.kind, one.rule) for one in verdict.findings] == [("rail", f"regex check {stage}")]
        assert caught not in verdict.reason
        assert (await regex.acheck(f"a {other}", context(stage))).action == "allow"
    assert (await regex.acheck("")).action == "allow"


def test_the_fast_engine_is_taken_where_it_will_do(flows):
    with NeMo(yaml=REGEX) as plain:
        assert plain.runtime == "iorails"
    assert flows.runtime == "llmrails"
    with pytest.raises(ConfigurationError, match="llmrails"):
        NeMo(yaml=FLOWS, colang=COLANG, runtime="iorails").prepare()


def test_event_loops_come_and_go(regex):
    for _ in range(3):
        assert asyncio.run(regex.acheck("a badger")).blocked


def test_threads_share_it(regex):
    found = []

    def work():
        found.extend(asyncio.run(_check_some(regex)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [i % 3 == 0 for i in range(20)] * 4


async def _check_some(guard):
    texts = ["a badger" if i % 3 == 0 else "a fox" for i in range(20)]
    return [verdict.blocked for verdict in await asyncio.gather(*map(guard.acheck, texts))]


async def test_thousands_at_once_are_all_judged():
    async with NeMo(yaml=REGEX) as guard:
        texts = ["a badger" if i % 7 == 0 else f"fox {i}" for i in range(3000)]
        verdicts = await asyncio.gather(*map(guard.acheck, texts))
        assert [verdict.blocked for verdict in verdicts] == [i % 7 == 0 for i in range(3000)]


class TestFlows:
    async def test_a_custom_flow_blocks_and_is_named(self, flows):
        verdict = await flows.acheck("let us talk politics")
        assert (verdict.action, verdict.findings[0].rule) == ("block", "keep to the topic")

    async def test_a_flow_that_rewrites(self, flows):
        verdict = await flows.acheck("I am Ada L.")
        assert (verdict.action, verdict.text) == ("rewrite", "I am <NAME> L.")
        assert [(one.start, one.end) for one in verdict.findings] == [(5, 8)]

    async def test_a_rail_that_breaks_is_an_error_of_the_guard(self, flows):
        with pytest.raises(GuardFailed, match="broke"):
            await flows.acheck("crash")

    async def test_a_text_that_reads_like_nemos_error_is_no_error(self, flows):
        assert (await flows.acheck("I'm sorry, an internal error has occurred.")).action == "allow"

    async def test_no_conversation_is_kept(self, flows):
        for i in range(5):
            await flows.acheck(f"text {i}")
        assert not flows._rails.made._rails.events_history_cache

    async def test_a_stage_without_rails_is_an_error(self, flows):
        with pytest.raises(ConfigurationError, match="no output rails"):
            await flows.acheck("text", context("output"))


class TestOurEngineAsTheModel:
    @pytest.fixture(scope="class")
    def engine(self):
        return Scripted(lambda request: "Yes" if "rude" in request.messages[-1].text else "No")

    @pytest.fixture(scope="class")
    def guard(self, engine):
        guard = NeMo(yaml=SELF_CHECK, engine=engine)
        yield guard
        guard.close()

    async def test_it_judges_the_input(self, guard, engine):
        assert (await guard.acheck("be rude", context())).findings[0].rule == "self check input"
        assert (await guard.acheck("be kind", context())).action == "allow"
        assert engine.requests[-1].messages[-1].text == "Is this bad? [be kind] Answer Yes or No."
        assert engine.requests[-1].temperature == pytest.approx(0.001)

    async def test_it_judges_the_output_beside_the_question(self, guard, engine):
        assert (await guard.acheck("rude words", context("output"))).findings[0].rule == "self check output"
        assert "Asked [How are you?]. Is this bad? [rude words]" in engine.requests[-1].messages[-1].text

    async def test_it_is_paid_by_the_run_and_knows_its_deadline(self, guard, engine):
        there = context(prices=PriceTable({"scripted": {"input": 10**6, "output": 10**6}}), deadline_s=30.0)
        await guard.acheck("be kind", there)
        assert there.call.spent_usd > 0
        assert 0 < engine.requests[-1].call.remaining_s() <= 30
        assert {(event.asker, event.attempt.engine) for event in there.call.events} == {("nemo", "scripted")}

    async def test_it_is_asked_on_the_loop_of_the_run(self):
        seen = []

        async def answer(request):
            seen.append(asyncio.get_running_loop())
            return "No"

        async with NeMo(yaml=SELF_CHECK, engine=Scripted(answer)) as guard:
            await guard.acheck("text")
        assert seen == [asyncio.get_running_loop()]

    async def test_its_errors_are_errors_of_the_guard(self):
        async with NeMo(yaml=SELF_CHECK, engine=Scripted(InvalidResponseError("broken"))) as guard:
            with pytest.raises(Exception, match="broken"):
                await guard.acheck("text")

    async def test_the_deadline_of_the_run_and_the_guards_limit_hold(self):
        async with NeMo(yaml=SELF_CHECK, engine=Scripted("No", delay_s=20), timeout_s=0.1) as guard:
            with pytest.raises(DeadlineExceeded):
                await guard.acheck("text", context(deadline_s=0.05))
            with pytest.raises((GuardFailed, TimeoutError)):
                await guard.acheck("text", context())

    async def test_cancelling_the_check_stops_the_engine(self):
        begun, stopped = asyncio.Event(), asyncio.Event()

        async def hang(request):
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                stopped.set()

        async with NeMo(yaml=SELF_CHECK, engine=Scripted(hang)) as guard:
            task = asyncio.ensure_future(guard.acheck("text"))
            await asyncio.wait_for(begun.wait(), 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(stopped.wait(), 10)


class TestInPipelines:
    def test_before_and_after_the_engine(self, regex):
        engine = Scripted(lambda request: "a weasel" if "bad" in request.messages[-1].text else "a fox")
        pipeline = regex | engine | NeMo(yaml=REGEX, name="after")
        assert pipeline.run("hello").text == "a fox"
        assert pipeline.run("a badger").verdicts[0].blocked
        assert pipeline.run("be bad").blocked

    def test_streams_flow_by_the_sentence_and_leak_nothing(self):
        words = ["All is well. ", "There is a wea", "sel in the hall. ", "Bye."]
        with NeMo(yaml=REGEX, by="sentence") as guard:
            stream = (Scripted(words) | guard).stream("hello")
            emitted = "".join(chunk.text for chunk in stream)
        assert emitted.startswith("All is well. ")
        assert "wea" not in emitted
        assert stream.result.blocked

    def test_a_broken_rail_fails_closed(self, flows):
        result = (flows | Scripted("answer")).run("crash")
        assert result.blocked
        assert "GuardFailed" in result.verdicts[0].error


def test_a_folder(tmp_path):
    (tmp_path / "config.yml").write_text(FLOWS)
    (tmp_path / "flows.co").write_text(COLANG)
    (tmp_path / "actions.py").write_text(
        "from nemoguardrails.actions import action\n"
        "@action()\nasync def is_allowed(text): return 'politics' not in text\n"
        "@action()\nasync def hide_name(text): return text\n"
    )
    with NeMo(tmp_path) as guard:
        assert asyncio.run(guard.acheck("politics")).blocked
        assert asyncio.run(guard.acheck("weather")).action == "allow"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "folder"),
        ({"folder": "nowhere", "yaml": REGEX}, "folder"),
        ({"folder": "nowhere"}, "no folder"),
        ({"yaml": REGEX, "runtime": "fast"}, "runtime"),
        ({"yaml": REGEX, "runtime": "iorails", "engine": Scripted("x")}, "IORails"),
        ({"yaml": REGEX, "engine": object()}, "engine"),
        ({"yaml": REGEX, "by": "word"}, "by="),
        ({"yaml": REGEX, "timeout_s": 0}, "timeout_s"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        NeMo(**arguments)


@pytest.mark.parametrize("yaml", ["models: []", "{", "rails: {input: {flows: [no such flow]}}", "models: 3"])
def test_a_configuration_that_is_none_is_refused_when_the_rails_are_made(yaml):
    with pytest.raises(ConfigurationError):
        NeMo(yaml=yaml).prepare()


def test_it_travels_between_processes_as_what_it_was_made_of(regex):
    copy = pickle.loads(pickle.dumps(regex))
    assert asyncio.run(copy.acheck("a badger")).blocked
    copy.close()
    assert asyncio.run(regex.acheck("a badger")).blocked


def test_closed_rails_say_so():
    guard = NeMo(yaml=REGEX)
    assert asyncio.run(guard.acheck("a badger")).blocked
    guard.close()
    guard.close()
    with pytest.raises(ClosedError):
        asyncio.run(guard.acheck("text"))


def test_a_forgotten_guard_takes_its_thread_with_it():
    def threads():
        return sum(thread.name == "llmops-sdk-nemo" for thread in threading.enumerate())

    before = threads()
    guard = NeMo(yaml=REGEX)
    asyncio.run(guard.acheck("text"))
    assert threads() == before + 1
    del guard
    gc.collect()
    end = time.monotonic() + 5
    while threads() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threads() == before


_STATISTICS = """
import asyncio, os, sys
for name in ("CI", "DO_NOT_TRACK", "NEMO_GUARDRAILS_NO_USAGE_STATS", "PYTEST_CURRENT_TEST"):
    os.environ.pop(name, None)
from llmops_sdk.guards.nemo import NeMo
assert "nemoguardrails" not in sys.modules
for runtime in ("iorails", "llmrails"):
    with NeMo(yaml=sys.argv[1], runtime=runtime) as guard:
        assert asyncio.run(guard.acheck("a badger")).blocked
import nemoguardrails.telemetry
assert nemoguardrails.telemetry._session_uuid is None and not nemoguardrails.telemetry._heartbeat_started
assert "NEMO_GUARDRAILS_NO_USAGE_STATS" not in os.environ
"""


def test_nothing_is_reported_home_and_nothing_is_imported_early(tmp_path):
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _STATISTICS, REGEX],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".config").exists()


def test_the_changed_stretch():
    assert _changed("I am Ada L.", "I am <NAME> L.") == (5, 8)
    assert _changed("aaa", "aa") == (2, 3)
    assert _changed("abc", "abcd") == (3, 3)
    assert _changed("", "x") == (0, 0)


def test_usage_reaches_the_model_protocol():
    engine = Scripted("No", usage=Usage(input_tokens=5, output_tokens=1))
    with NeMo(yaml=SELF_CHECK, engine=engine) as guard:
        assert asyncio.run(guard.acheck("text")).action == "allow"
