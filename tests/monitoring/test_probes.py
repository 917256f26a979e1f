"""Probes notice that a model was changed, and only that."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llmops_sdk.engines import Scripted
from llmops_sdk.errors import ConfigurationError, EngineConnectionError
from llmops_sdk.messages import Choice, Request, Response, TokenLogprob
from llmops_sdk.monitoring import Alarm, Probes
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.virtual_time import run_in_virtual_time

HOUR_S = 3600.0
WORDS = ("the", "sea", "is", "wide", "and", "blue", "under", "a", "calm", "sky", "with", "birds", "near", "rocks")
PLACES = ("Oslo", "Lima", "Rome", "Nara", "Bath")
QUESTIONS = [f"What of {place}?" for place in PLACES]


def model(chance: random.Random, variety: Callable[[], float]) -> Callable[[Request], str]:
    """Has an answer to each question, of which it says each word otherwise with a probability."""

    def answer(request: Request) -> str:
        usual = random.Random(request.messages[0].text)
        words = [usual.choice(WORDS) for _ in range(10)]
        return " ".join(chance.choice(WORDS) if chance.random() < variety() else word for word in words)

    return answer


def rounds(probes: Probes, count: int, *, first: int = 0) -> list[tuple[int, Alarm]]:
    return [
        (number, alarm)
        for number in range(first, first + count)
        for alarm in probes.run_once(at=1.8e9 + HOUR_S * number).alarms
    ]


@pytest.mark.parametrize(
    ("before", "after", "within"), [(0.0, 0.3, 2), (0.4, 0.9, 4), (0.4, 0.0, 4)], ids=["greedy", "looser", "stricter"]
)
def test_a_changed_model_is_found_within_a_few_rounds(before: float, after: float, within: int) -> None:
    variety = [before]
    probes = Probes(Scripted(model(random.Random(1), lambda: variety[0])), QUESTIONS, repeats=2)
    assert rounds(probes, 40) == []
    variety[0] = after
    raised = rounds(probes, within, first=40)
    assert raised
    assert raised[0][1].signal.startswith("probes: ")


def test_a_model_that_answers_differently_each_time_keeps_the_rate() -> None:
    probes = Probes(Scripted(model(random.Random(2), lambda: 0.5)), QUESTIONS[:3], false_alarms_per_day=0.2)
    assert len(rounds(probes, 24 * 10)) <= 5  # 2 are allowed


def test_a_model_of_another_name_is_found_though_it_answers_the_same() -> None:
    engine = Scripted("Yes.", model="one")
    probes = Probes(engine, QUESTIONS * 3)
    assert rounds(probes, 25) == []
    engine.model = "two"
    assert [alarm.signal for _, alarm in rounds(probes, 1, first=25)] == ["probes: share of another model's name"]


def test_it_learns_the_new_model_after_an_alarm() -> None:
    answer = ["One."]
    probes = Probes(Scripted(lambda _: answer[0]), QUESTIONS * 3)
    rounds(probes, 25)
    answer[0] = "Another one, longer."
    assert rounds(probes, 2, first=25)
    assert probes.rounds <= 1
    assert rounds(probes, 40, first=27) == []


def test_log_probabilities_are_read_where_the_question_asks_for_them() -> None:
    level = [-0.1]

    def answer(_: Request) -> Response:
        token = TokenLogprob(token="Yes", logprob=level[0])
        return Response(choices=(Choice(text="Yes", finish_reason="stop", logprobs=(token,)),))

    probes = Probes(Scripted(answer), [Request.of(question) for question in QUESTIONS * 3])
    rounds(probes, 30)
    level[0] = -0.9
    assert {alarm.signal for _, alarm in rounds(probes, 3, first=30)} == {"probes: log-probability"}


def test_a_failed_probe_is_counted_and_is_no_drift() -> None:
    broken = [False]

    def answer(request: Request) -> str:
        if broken[0]:
            raise EngineConnectionError("no route", engine="scripted")
        return "Yes."

    probes = Probes(Scripted(answer), QUESTIONS)
    rounds(probes, 25)
    broken[0] = True
    once = probes.run_once(at=1.8e9 + HOUR_S * 25)
    assert (once.answered, once.failed, once.alarms) == (0, {"EngineConnectionError": 5}, ())
    assert once.seconds is None
    broken[0] = False
    assert rounds(probes, 5, first=26) == []


def test_answers_of_a_cache_are_left_out() -> None:
    probes = Probes(Scripted(Response(choices=(Choice(text="Yes"),), cached=True)), QUESTIONS)
    once = probes.run_once()
    assert (once.cached, once.answered) == (5, 0)


def test_it_continues_from_a_stored_state() -> None:
    answer = ["One."]
    engine = Scripted(lambda _: answer[0])
    first = Probes(engine, QUESTIONS * 3)
    rounds(first, 25)
    again = Probes(engine, QUESTIONS * 3)
    again.restore(json.loads(json.dumps(first.state())))
    assert again.rounds == 25
    answer[0] = "Another one, longer."
    assert rounds(again, 1, first=25)
    with pytest.raises(ConfigurationError, match="other probes"):
        Probes(engine, QUESTIONS).restore(first.state())


def test_it_asks_again_and_again_until_it_is_closed() -> None:
    async def main() -> list[int]:
        engine = Scripted("Yes.", delay_s=100)
        counts = []
        async with Probes(engine, ["?"], every_s=HOUR_S, deadline_s=1_000) as probes:
            probes.start()
            probes.start()
            for _ in range(3):
                await asyncio.sleep(HOUR_S)
                counts.append(probes.rounds)
        await asyncio.sleep(5 * HOUR_S)
        return [*counts, probes.rounds]

    assert run_in_virtual_time(main()) == [1, 2, 3, 3]


def test_without_a_loop_it_asks_on_the_sdks_thread() -> None:
    asked = threading.Event()

    def answer(_: Request) -> str:
        asked.set()
        return "Yes."

    with Probes(Scripted(answer), ["?"]) as probes:
        probes.start()
        assert asked.wait(10)


def test_a_slow_answer_ends_at_its_deadline() -> None:
    async def main() -> dict[str, int]:
        probes = Probes(Scripted("Yes.", delay_s=100), QUESTIONS, deadline_s=10)
        return dict((await probes.arun_once()).failed)

    assert run_in_virtual_time(main()) == {"DeadlineExceeded": 5}


def test_no_more_at_once_than_was_said() -> None:
    now, most = [0], [0]

    async def answer(_: Request) -> str:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(1)
        now[0] -= 1
        return "Yes."

    run_in_virtual_time(Probes(Scripted(answer), QUESTIONS * 4, concurrency=3).arun_once())
    assert most == [3]


def test_who_is_called_with_alarms_may_raise(caplog: pytest.LogCaptureFixture) -> None:
    def fail(alarm: Alarm) -> None:
        raise RuntimeError("boom")

    engine = Scripted("Yes.", model="one")
    told: list[Alarm] = []
    probes = Probes(engine, QUESTIONS * 3, on_alarm=[fail, told.append])
    rounds(probes, 25)
    engine.model = "two"
    assert (alarms := rounds(probes, 1, first=25))
    assert "boom" in caplog.text
    assert told == [alarm for _, alarm in alarms]


def test_a_pipeline_is_asked_as_a_whole() -> None:
    engine = Scripted("Yes.")
    pipeline = Pipeline("Answer {{ question }}", engine)
    once = Probes(pipeline, [{"question": "one"}, {"question": "two"}]).run_once()
    assert once.answered == 2
    assert [request.messages[-1].text for request in engine.requests] == ["Answer one", "Answer two"]


def test_the_ready_questions_are_asked_greedily_and_briefly() -> None:
    engine = Scripted("Yes.")
    assert Probes(engine).run_once().answered == 20
    assert {(request.temperature, request.max_tokens) for request in engine.requests} == {(0.0, 64)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prompts": []}, "a list of questions"),
        ({"prompts": "one"}, "a list of questions"),
        ({"repeats": 0}, "`repeats` is a whole number from 1"),
        ({"on_alarm": "tell"}, "function of an alarm"),
        ({"learn": 5}, "`learn` is a whole number from 10"),
        ({"every_s": 0}, "`every_s` is a number above 0"),
        ({"deadline_s": -1}, "`deadline_s` is a number above 0"),
        ({"false_alarms_per_day": 0}, "`false_alarms_per_day` is a number above 0"),
        ({"budget_usd": "much"}, "US dollars"),
    ],
)
def test_wrong_options_are_refused_with_words(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Probes(Scripted("Yes."), **options)
