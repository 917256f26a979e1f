"""Probes: the same questions again and again, to notice that a provider changed its model."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib.resources
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.loops import Closing, run_sync, sdk_loop
from llmops_sdk.messages import Request
from llmops_sdk.monitoring._alarms import Alarm, Told
from llmops_sdk.monitoring._drift import Detector
from llmops_sdk.monitoring._likeness import KEPT, Likeness
from llmops_sdk.monitoring._options import check_numbers, money
from llmops_sdk.pipelines import Pipeline, Result

__all__ = ["ProbeRound", "Probes"]

log = logging.getLogger("llmops_sdk")
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRound:
    """What came of asking all questions once.

    Attributes:
        at: When, in seconds since the epoch.
        answered: How many answers there were to look at.
        failed: How many questions were not answered, by the class of the error. They are no sign of drift.
        cached: How many answers came out of a cache. They say nothing of the model, and are left out.
        alarms: What was noticed.
        cost_usd: US dollars for those whose cost is known.
        seconds: The median time of an answer; `None` without any. Not tested: times depend on each other.
    """

    at: float
    answered: int
    failed: Mapping[str, int] = field(default_factory=dict)
    cached: int = 0
    alarms: tuple[Alarm, ...] = ()
    cost_usd: Decimal = Decimal(0)
    seconds: float | None = None


class Probes(Closing):
    """Asks a model the same questions again and again, and raises an alarm when the answers change.

    The answers of the first rounds are what later ones are compared with. A model that answers differently each time
    is known by how differently it answers: for each question the distance to the first answers, the length, whether the
    answer is new, a refusal, by a model of another name, and how likely the model found it (where the question asks for
    log-probabilities) are ranked among those of the rounds before. These are the observations of a `Detector` each, and
    together they raise no more false alarms than are stated, however often the model is asked and whatever its
    temperature, as long as the answers do not depend on each other. After an alarm they learn the model anew.

    Args:
        target: A pipeline or an engine. Without a cache: what a cache answers is left out.
        prompts: What to ask: texts, messages or requests; for a pipeline with a prompt, mappings of its variables. By
            default 20 short questions.
        every_s: Seconds from one round to the next, once it was started, `> 0`.
        repeats: How often each question is asked in a round, `>= 1`.
        learn: The rounds that are only learnt from, `>= 10`.
        temperature: Of questions that are texts; others are asked as they are.
        max_tokens: The same.
        false_alarms_per_day: The most false alarms in a day, on average, of all signals together, `> 0`.
        deadline_s: Seconds for an answer, `> 0`.
        budget_usd: The most US dollars for a round, shared out evenly among its questions; `None` is no limit.
        concurrency: How many questions are asked at once, `>= 1`.
        on_alarm: Called with each alarm; one function or several. What they raise is logged.
        name: Stands before the names of the signals.
        seed: Of the detectors.

    Attributes:
        rounds: How many rounds there were since the model was last learnt.

    Example:
        >>> from llmops_sdk.engines import Scripted
        >>> model = ["The sea is wide."]
        >>> probes = Probes(Scripted(lambda request: model[0]))
        >>> for hour in range(40):
        ...     if hour == 30:
        ...         model[0] = "Sure! The sea is a vast body of salt water."
        ...     for alarm in probes.run_once(at=1.8e9 + 3600 * hour).alarms:
        ...         print(hour, alarm.signal, alarm.direction)
        30 probes: distance to the first answers up
        30 probes: length up
        30 probes: share of new answers up
    """

    def __init__(
        self,
        target: Any,
        prompts: Sequence[Any] | None = None,
        *,
        every_s: float = 3600.0,
        repeats: int = 1,
        learn: int = 20,
        temperature: float | None = 0.0,
        max_tokens: int | None = 64,
        false_alarms_per_day: float = 0.01,
        deadline_s: float = 60.0,
        budget_usd: Decimal | float | str | None = None,
        concurrency: int = 4,
        on_alarm: Callable[[Alarm], object] | Sequence[Callable[[Alarm], object]] = (),
        name: str = "probes",
        seed: int = 0,
    ) -> None:
        check_numbers(
            above_zero={"every_s": every_s, "deadline_s": deadline_s, "false_alarms_per_day": false_alarms_per_day},
            whole={"repeats": (repeats, 1), "learn": (learn, 10), "concurrency": (concurrency, 1)},
        )
        if isinstance(prompts, str) or (prompts is not None and not prompts):
            raise ConfigurationError(
                f"prompts={prompts!r}: write a list of questions, or leave it out for the ready ones"
            )
        self._pipeline = target if isinstance(target, Pipeline) else Pipeline(target, name=name)
        self._questions = [_question(one, temperature, max_tokens) for one in prompts or _ready()]
        self._every_s = every_s
        self._repeats = repeats
        self._learn = learn
        self._rate = false_alarms_per_day
        self._deadline_s = deadline_s
        budget = money(budget_usd)
        self._budget = None if budget is None else budget / (len(self._questions) * repeats)
        self._concurrency = concurrency
        self._told = Told(on_alarm)
        self._name = name
        self._seed = seed
        self._task: asyncio.Task[None] | concurrent.futures.Future[None] | None = None
        self._begin()

    def _begin(self) -> None:
        """With nothing learnt."""
        self.rounds = 0
        self._likeness = [Likeness() for _ in self._questions]
        warm_up = (self._learn * self._repeats) - KEPT
        self._detectors = {
            signal: Detector(
                f"{self._name}: {signal}",
                false_alarms_per_day=self._rate / len(_SIGNALS),
                warm_up=max(5, warm_up),
                seed=self._seed + number,
                **options,
            )
            for number, (signal, options) in enumerate(_SIGNALS.items())
        }

    async def arun_once(self, at: float | None = None) -> ProbeRound:
        """Ask all questions now. `at` is the time in seconds since the epoch, by default the clock's."""
        at = time.time() if at is None else at
        free = asyncio.Semaphore(self._concurrency)
        places = [place for place in range(len(self._questions)) for _ in range(self._repeats)]
        answers = await asyncio.gather(*(self._ask(self._questions[place], free) for place in places))
        alarms: list[Alarm] = []
        failed: Counter[str] = Counter()
        times: list[float] = []
        cached, cost = 0, Decimal(0)
        for place, answer in zip(places, answers, strict=True):
            if isinstance(answer, Exception):
                failed[type(answer).__name__] += 1
                continue
            result, seconds = answer
            cost += result.cost_usd or 0
            if result.response is not None and result.response.cached:
                cached += 1
                continue
            times.append(seconds)
            alarms += self._observe(place, result, at)
        self.rounds += 1
        if alarms:
            self._begin()
        for alarm in alarms:
            self._told(alarm)
        return ProbeRound(
            at=at,
            answered=len(times),
            failed=dict(failed),
            cached=cached,
            alarms=tuple(alarms),
            cost_usd=cost,
            seconds=sorted(times)[len(times) // 2] if times else None,
        )

    def run_once(self, at: float | None = None) -> ProbeRound:
        """`arun_once`, for code without an event loop."""
        return run_sync(lambda: self.arun_once(at), method="run_once()")

    def start(self) -> None:
        """Ask every `every_s` seconds from now on: on the running event loop, or else on the SDK's own thread."""
        if self._task is not None and not self._task.done():
            return
        try:
            self._task = asyncio.get_running_loop().create_task(self._forever())
        except RuntimeError:
            self._task = asyncio.run_coroutine_threadsafe(self._forever(), sdk_loop())

    async def aclose(self) -> None:
        """Stop asking. What was learnt is kept, and `start` goes on."""
        task, self._task = self._task, None
        if isinstance(task, asyncio.Task) and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])
        elif isinstance(task, asyncio.Task):
            with contextlib.suppress(RuntimeError):  # its loop has ended, and so has the task
                task.get_loop().call_soon_threadsafe(task.cancel)
        elif task is not None:
            task.cancel()

    def state(self) -> dict[str, Any]:
        """All that was learnt, as JSON."""
        return {
            "version": _VERSION,
            "rounds": self.rounds,
            "questions": len(self._questions),
            "likeness": [one.state() for one in self._likeness],
            "detectors": {signal: detector.state() for signal, detector in self._detectors.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state()` was taken. Raises `ConfigurationError` if that was with other questions."""
        if state.get("version") != _VERSION or state.get("questions") != len(self._questions):
            raise ConfigurationError("this is the state of other probes; leave it out, and the model is learnt anew")
        self.rounds = state["rounds"]
        self._likeness = [Likeness(**one) for one in state["likeness"]]
        self._detectors = {signal: Detector.from_state(one) for signal, one in state["detectors"].items()}

    async def _ask(self, question: Any, free: asyncio.Semaphore) -> tuple[Result, float] | Exception:
        async with free:
            begun = time.perf_counter()
            try:
                result = await self._pipeline.arun(
                    question, deadline_s=self._deadline_s, budget_usd=self._budget, tags={"probe": self._name}
                )
            except Exception as error:  # noqa: BLE001  (whatever an engine raises, the other questions are asked)
                log.debug("a probe failed: %s", type(error).__name__)
                return error
            return result, time.perf_counter() - begun

    def _observe(self, place: int, result: Result, at: float) -> list[Alarm]:
        seen = self._likeness[place].read(result)
        raised = (
            self._detectors[signal].observe(value, at, among=str(place))
            for signal, value in seen.items()
            if signal in self._detectors
        )
        return [alarm for alarm in raised if alarm is not None]

    async def _forever(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.arun_once()
            # A round that took longer than its time is not made up for.
            due = max(due + self._every_s, loop.time())
            await asyncio.sleep(due - loop.time())


_SIGNALS: dict[str, dict[str, Any]] = {
    "share of new answers": {"kind": "rate"},
    "share of another model's name": {"kind": "rate", "direction": "up"},
    "refusals": {"kind": "rate"},
    "distance to the first answers": {"kind": "value"},
    "length": {"kind": "value", "unit": "characters"},
    "log-probability": {"kind": "value"},
}


def _ready() -> list[str]:
    text = importlib.resources.files("llmops_sdk.monitoring").joinpath("data/probes.txt").read_text("utf-8")
    return text.splitlines()


def _question(given: Any, temperature: float | None, max_tokens: int | None) -> Any:
    if isinstance(given, str):
        return replace(Request.of(given), temperature=temperature, max_tokens=max_tokens)
    return given
