"""What can happen in a run: one class for each kind of event.

An event is a tuple, so that making one costs next to nothing. All times are seconds of `time.perf_counter()`;
`Call.wall_time()` turns one into seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeAlias

from llmops_sdk.messages import PromptRef, Request, Response, ToolCall, Usage
from llmops_sdk.verdicts import Stage, Verdict

__all__ = [
    "Aside",
    "Assessor",
    "AttemptEnded",
    "AttemptStarted",
    "CacheAnswered",
    "Cut",
    "Ended",
    "Escalated",
    "Evaluated",
    "Event",
    "FirstChunk",
    "GuardChecked",
    "Hedged",
    "LimitWaited",
    "LimitsDegraded",
    "Outcome",
    "OutputValidated",
    "Rendered",
    "Retried",
    "Routed",
    "Started",
    "StreamResumed",
    "ToolExecuted",
]


class Started(NamedTuple):
    """The run began. `streamed`: the caller asked for a stream."""

    at: float
    pipeline: str
    streamed: bool
    lock: str | None = None
    """Hash of the lock by which the pipeline was built."""


class Cut(NamedTuple):
    """What was cut of one section of a prompt, so that it fits."""

    section: str
    """Its name, or its role."""
    before: int
    """Tokens of it before."""
    after: int
    how: str
    """`"dropped"`, `"cut at the end"`, `"oldest messages dropped"`, `"summarised"`, ..."""


class Rendered(NamedTuple):
    """The prompt became a request."""

    started: float
    at: float
    prompt: PromptRef | None
    request: Request
    variables: Mapping[str, Any] | None = None
    """What the prompt was rendered with."""
    template: Sequence[tuple[Any, ...]] = ()
    """The messages of the prompt as written, each (role, text, ...)."""
    cuts: Sequence[Cut] = ()
    """What was cut of it, where it has a budget of tokens."""


class GuardChecked(NamedTuple):
    """A guard gave its verdict on everything that it had to read at one stage (in a stream: when the stream ended)."""

    started: float
    at: float
    guard: str
    stage: Stage
    verdict: Verdict
    busy_s: float
    """Seconds that the guard itself worked; in a stream less than `at - started`."""
    let_stay: bool = False
    """Whether it let something stay that it had found in one of the texts; `verdict` is that of the worst text."""
    untold: bool = False
    """Whether it acted on a text without saying where it had found something."""


class Routed(NamedTuple):
    """A router decided in which order it would ask its engines; `refused` holds (engine, reason) pairs."""

    at: float
    router: str
    order: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


class AttemptStarted(NamedTuple):
    """An engine was asked."""

    at: float
    engine: str
    number: int
    """1 for the first attempt of the call."""
    provider: str | None = None
    model: str | None = None
    """The model that is asked for."""
    in_process: bool = False
    """Whether the model runs in this process."""
    server: tuple[str, int] | None = None
    """Host and port of the server that is asked, where the engine says so."""


class FirstChunk(NamedTuple):
    """The first chunk of a stream came from the engine."""

    at: float
    engine: str


class AttemptEnded(NamedTuple):
    """An engine answered, or failed (`error`)."""

    started: float
    at: float
    engine: str
    provider: str
    number: int
    request: Request
    response: Response | None
    usage: Usage | None
    cost_usd: Decimal | None
    error: BaseException | None
    streamed: bool
    first_chunk_at: float | None
    chunks: int
    model: str | None = None
    """The model that was asked for; the one that answered is in `response`."""
    in_process: bool = False
    """Whether the model runs in this process."""
    cut_off: bool = False
    """Whether it ended before the engine could say what it took, which may have to be paid for all the same."""
    estimated_usd: Decimal | None = None
    """What it may have cost, where it is `unpriced` and there is a price to estimate by."""
    chunk_times: Sequence[float] = ()
    """When each chunk of a stream came, the first one included; of more than 16,384 chunks those of the beginning."""

    @property
    def unpriced(self) -> bool:
        """Whether it took tokens, or may have, and nobody knows what they cost."""
        return self.cost_usd is None and (self.cut_off or self.usage is not None or self.response is not None)


class Aside(NamedTuple):
    """A station asked an engine of its own for the run: a guard its judge, say. It is none of the run's attempts.

    The run pays for it, so its cost is part of the run's. `attempt` is numbered within its asking.
    """

    at: float
    asker: str
    """Name of the station in its pipeline: the `guard` of its `GuardChecked`, or the name of a cache."""
    attempt: AttemptEnded
    operation: Literal["chat", "embeddings", "moderation"] = "chat"
    """What was asked for. Of the last two the attempt's request holds the texts, and there is no answer to show."""


class Retried(NamedTuple):
    """After a failure the next attempt waits `delay_s` seconds; `engine` is the one that will be asked."""

    at: float
    engine: str
    delay_s: float
    error: BaseException


class Hedged(NamedTuple):
    """The engine that was asked had not begun to answer after `after_s` seconds: `engine` is asked beside it."""

    at: float
    engine: str
    after_s: float


class Escalated(NamedTuple):
    """`engine` answered, and the strategy was not content with it: the next one is asked. `reason` says why."""

    at: float
    engine: str
    reason: str


class LimitWaited(NamedTuple):
    """The run waited from `started` to `at` until `limit` let it through."""

    started: float
    at: float
    limit: str


class LimitsDegraded(NamedTuple):
    """The shared store of limits cannot be reached; `policy` is `"fail_open"` (the local share) or `"fail_closed"`."""

    at: float
    store: str
    policy: str
    error: BaseException


class CacheAnswered(NamedTuple):
    """A cache in front of `engine` answered; nothing was sent. `how` is `"exact"`, `"shared"` or `"semantic"`."""

    at: float
    engine: str
    how: str
    age_s: float
    similarity: float | None = None
    """Cosine of the two questions, where `how` is `"semantic"`."""


class StreamResumed(NamedTuple):
    """A stream broke and `engine` went on. `emitted` counts the characters that the caller had seen by then.

    `how`: `"resume"`, it continues the text so far; `"restart"`, it answers from the start, and what was emitted is not
    repeated; `"different"`, the answer from the start turned out to be another one, and takes the place of the first.
    """

    at: float
    engine: str
    how: str
    emitted: int


class OutputValidated(NamedTuple):
    """The answer was held against what the prompt asks for. `error` says what is wrong with it, and never quotes it."""

    started: float
    at: float
    error: str | None
    repair: str | None = None
    """Of a wrong answer to a prompt with an `output`: `"asked again"`, or `"no: ..."` with the reason, such as that the
    answer of a stream has been shown."""


Outcome: TypeAlias = str
"""`"ok"`, `"blocked"`, `"cancelled"` or the name of an error class."""


class Ended(NamedTuple):
    """The run ended. What comes after this is what was done with its answer: tools, evaluations, feedback."""

    at: float
    outcome: Outcome
    error: BaseException | None
    response: Response | None = None
    """What the caller got, so after the guards; `None` for a run that was blocked, failed or cancelled."""
    unrestored: Response | None = None
    """`response` as it was before guards put true values back (`PII(restore=True)`); `None` where none were."""


class ToolExecuted(NamedTuple):
    """The application executed a tool that the answer had called."""

    started: float
    at: float
    tool_call: ToolCall
    result: object
    """What the tool returned; `None` where it failed."""
    error: BaseException | None


Assessor: TypeAlias = Literal["code", "llm", "human"]
"""Who judged a run."""


class Evaluated(NamedTuple):
    """Somebody judged the run: a metric, a model or a person."""

    at: float
    name: str
    """Of the metric, or `"feedback"`."""
    score: float | None
    label: str | None = None
    explanation: str | None = None
    by: Assessor = "code"
    error: BaseException | None = None
    """Why there is no score."""


Event: TypeAlias = (
    Started
    | Rendered
    | GuardChecked
    | Routed
    | AttemptStarted
    | FirstChunk
    | AttemptEnded
    | Retried
    | Hedged
    | Escalated
    | LimitWaited
    | LimitsDegraded
    | CacheAnswered
    | StreamResumed
    | Aside
    | OutputValidated
    | Ended
    | ToolExecuted
    | Evaluated
)
