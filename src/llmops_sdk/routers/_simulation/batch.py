"""Continuous batching as arithmetic: who runs, who waits, who is done when. Time is passed in, never read."""

from __future__ import annotations

import copy
import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.routers._simulation.model import EngineModel

__all__ = ["Batch", "Job"]


class Job:
    """A request inside an engine.

    Args:
        prompt: Tokens of its prompt that have to be read.
        context: Tokens that it occupies in the mean while it runs.
        steps: Steps that it takes when it has been read, `>= 0`; not only whole ones.

    Attributes:
        first_at: When its first token comes, 0.0 until its prompt has been read.
        on_read: Called when its prompt has been read.
    """

    __slots__ = ("context", "first_at", "on_read", "place", "prompt", "start", "steps")

    def __init__(self, prompt: float, context: float, steps: float) -> None:
        self.prompt = prompt
        self.context = context
        self.steps = steps
        self.first_at = 0.0
        self.on_read: Callable[[], None] | None = None
        self.start = 0.0
        self.place = _OUTSIDE


_OUTSIDE, _WAITS, _IS_READ, _RUNS = range(4)


class Batch:
    """The requests of one engine.

    Between two events every running request moves on at the same speed. So one count of steps serves all of them: a
    request that begins at count `n` and needs `k` steps ends at count `n + k`, and costs O(log running) whatever the
    length of its answer.
    """

    __slots__ = ("_at", "_cold_s", "_context", "_count", "_frozen", "_model", "_number", "_read_until", "_reading",
                 "_running", "_steps", "_waiting")  # fmt: skip

    def __init__(self, model: EngineModel, now: float) -> None:
        self._model = model
        self._waiting: deque[Job] = deque()
        self._reading: Job | None = None
        self._read_until = 0.0
        self._running: list[tuple[float, int, Job]] = []
        self._count = 0
        self._context = 0.0
        self._steps = 0.0
        self._at = now
        self._number = 0
        self._cold_s = model.cold_start_s
        self._frozen = False

    @property
    def running(self) -> int:
        """Requests that have a slot."""
        return self._count

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return self._count > 0

    def jobs(self) -> list[Job]:
        """All of them, those that run first."""
        inside = [job for _, _, job in sorted(self._running) if job.place == _RUNS]
        reading = [] if self._reading is None else [self._reading]
        return [*inside, *reading, *(job for job in self._waiting if job.place == _WAITS)]

    def next_at(self) -> float:
        """When something happens next by itself; infinity: nothing will."""
        if self._frozen:
            return math.inf
        if self._reading is not None:
            return self._read_until
        running = self._running
        while running and running[0][2].place != _RUNS:  # it was taken out in the middle
            heapq.heappop(running)
        if not running:
            return math.inf
        return self._at + max(running[0][0] - self._steps, 0.0) * self._model.step(self._count, self._context)

    def advance(self, now: float) -> list[Job]:
        """Let the time pass until `now`; gives the requests that ended, in order."""
        ended: list[Job] = []
        while (at := self.next_at()) <= now:
            self._at = at
            if self._reading is not None:
                job, self._reading = self._reading, None
                self._begin(job)
            else:
                self._steps, _, job = heapq.heappop(self._running)
                self._release(job)
                ended.append(job)
            self._admit()
        self._pass(now)
        return ended

    def add(self, job: Job, now: float) -> None:
        """Take a request; the time has to have passed until `now`."""
        self._at = max(self._at, now)
        job.place = _WAITS
        self._waiting.append(job)
        self._admit()

    def remove(self, job: Job) -> float:
        """Take a request out that nobody waits for any more; gives the tokens that were worked for it in vain."""
        place, job.place = job.place, _OUTSIDE
        if place == _IS_READ:
            self._reading = None
            wasted = job.prompt
        elif place == _RUNS:
            wasted = job.prompt + self._steps - job.start
        else:
            return 0.0  # among those that wait it is skipped when its turn comes
        self._release(job)
        self._admit()
        return wasted

    def freeze(self) -> None:
        """Stand still."""
        self._frozen = True

    def thaw(self, now: float) -> None:
        """Go on."""
        if self._reading is not None:
            self._read_until += now - self._at
        self._at = now
        self._frozen = False
        self._admit()

    def forecast(self, job: Job, now: float) -> float:
        """When `job` would end if it came now, and nobody after it. Nothing is changed; O(jobs)."""
        twin = copy.copy(self)
        twin._waiting = deque(copy.copy(one) for one in self._waiting if one.place == _WAITS)
        twin._running = [(at, number, copy.copy(one)) for at, number, one in self._running if one.place == _RUNS]
        heapq.heapify(twin._running)
        twin._reading = copy.copy(self._reading)
        for one in (*twin._waiting, twin._reading):
            if one is not None:
                one.on_read = None
        twin.add(job, now)
        while (at := twin.next_at()) < math.inf:
            if job in twin.advance(at):
                return at
        return math.inf

    def _admit(self) -> None:
        slots = self._model.slots
        while self._waiting and self._reading is None and (slots is None or self._count < slots) and not self._frozen:
            job = self._waiting.popleft()
            if job.place != _WAITS:
                continue
            self._count += 1
            self._context += job.context
            job.place = _IS_READ
            read_s = job.prompt / self._model.prefill_tokens_per_s + self._cold_s
            self._cold_s = 0.0
            if read_s:
                self._reading = job
                self._read_until = self._at + read_s
            else:
                self._begin(job)

    def _begin(self, job: Job) -> None:
        job.place = _RUNS
        job.start = self._steps
        job.first_at = self._at + self._model.step(self._count, self._context)
        self._number += 1
        heapq.heappush(self._running, (self._steps + job.steps, self._number, job))
        if job.on_read is not None:
            job.on_read()

    def _release(self, job: Job) -> None:
        job.place = _OUTSIDE
        self._count -= 1
        self._context -= job.context
        if not self._count:  # so that no error of rounding stays
            self._context = self._steps = 0.0
            self._running.clear()

    def _pass(self, now: float) -> None:
        if now > self._at and not self._frozen:
            if self._count and self._reading is None:
                self._steps += (now - self._at) / self._model.step(self._count, self._context)
            self._at = now
