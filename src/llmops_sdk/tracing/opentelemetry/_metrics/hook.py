"""The hook that turns runs into metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider

from llmops_sdk import environment
from llmops_sdk.calls import AttemptEnded, AttemptStarted, Call, Ended, Evaluated, Event, Started, ToolExecuted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.tracing._later import LATER
from llmops_sdk.tracing.opentelemetry._metrics import names
from llmops_sdk.tracing.opentelemetry._metrics.bounded import Bounded
from llmops_sdk.tracing.opentelemetry._metrics.conventions import generations
from llmops_sdk.tracing.opentelemetry._metrics.in_flight import InFlight
from llmops_sdk.tracing.opentelemetry._metrics.in_trace import in_trace
from llmops_sdk.tracing.opentelemetry._metrics.instruments import Instruments
from llmops_sdk.tracing.opentelemetry._metrics.recorder import Recorder

__all__ = ["Metrics"]


class Metrics:
    """A hook that counts and times: runs, engines, guards, tokens, money. `docs/concepts/tracing/metrics.md` lists all.

    Metrics are recorded from the record of a run when it has ended, by another thread; the run itself only notes that
    it has begun and whom it is asking. Every run counts, whether its trace is sampled or not. Costs are added up as
    `float`, which is what metrics have; the exact `Decimal` stays in the record and in the ledger.

    Use one for all pipelines of the process: they are told apart by `gen_ai.agent.name`.

    Args:
        meter_provider: Where metrics go; the global provider by default, also one that is set later.
        tags: Names of tags that runs and costs are told by, as `llmops.tag.NAME`: `tags=("tenant",)`. None by default,
            since every value is a time series of its own.
        most_values: Different values that a tag may have, and everything else that is chosen by others (models as
            the provider names them, tools, labels, limits), `>= 1`. Further ones become `"other"`, and
            `llmops.metrics.values_folded` counts them.

    Raises:
        ConfigurationError: `meter_provider` is none, `tags` are no names, or `most_values` is less than 1.

    Example:
        >>> from llmops_sdk import Scripted
        >>> pipeline = ("Say hello to {{ name }}" | Scripted("Hello!")).with_hooks(Metrics(tags=("tenant",)))
        >>> pipeline.run(name="Ada", tags={"tenant": "acme"}).text
        'Hello!'
    """

    def __init__(
        self, meter_provider: MeterProvider | None = None, *, tags: Sequence[str] = (), most_values: int = 100
    ) -> None:
        if (
            isinstance(tags, str)
            or not isinstance(tags, Sequence)
            or not all(isinstance(tag, str) and tag for tag in tags)
        ):
            raise ConfigurationError(f"`tags` is a list of names of tags, like ('tenant',), not {tags!r}")
        if not isinstance(most_values, int) or isinstance(most_values, bool) or most_values < 1:
            raise ConfigurationError(f"`most_values` is a number of values, 1 or more, not {most_values!r}")
        if not (meter_provider is None or isinstance(meter_provider, MeterProvider)):
            raise ConfigurationError(f"`meter_provider` is a MeterProvider of OpenTelemetry, not {meter_provider!r}")
        meter = metrics.get_meter("llmops_sdk", meter_provider=meter_provider)
        instruments = Instruments(meter)
        bounded = Bounded(most_values, lambda attribute: instruments.values_folded.add(1, {names.FOLDED: attribute}))
        opted_in = environment.semconv_opt_in()
        self._recorder = Recorder(instruments, generations(meter, opted_in), bounded, tuple(dict.fromkeys(tags)))
        self._in_flight = InFlight(meter)
        LATER.empty_first_at_exit()
        self._taken: Mapping[type[Any], Callable[[Any, Call], None]] = {
            Started: self._started,
            AttemptStarted: self._asked,
            AttemptEnded: self._answered,
            Ended: self._ended,
            ToolExecuted: lambda event, call: LATER.do(_recorded, self._recorder.tool, event, call),
            Evaluated: lambda event, call: LATER.do(_recorded, self._recorder.evaluation, event, call),
        }

    def __call__(self, event: Event, call: Call, /) -> None:
        """Take the next event of a run."""
        take = self._taken.get(type(event))
        if take is not None:
            take(event, call)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Record all runs that have ended; `False` when that took longer than `timeout_s`. Blocks."""
        return LATER.flush(timeout_s)

    def _started(self, event: Started, call: Call) -> None:
        self._in_flight.begun(call.id, event.pipeline)

    def _asked(self, event: AttemptStarted, call: Call) -> None:
        self._in_flight.asked(call.id, event.engine)

    def _answered(self, event: AttemptEnded, call: Call) -> None:
        if not self._in_flight.answered(call.id, event.engine):  # the run did not wait for it, or there is no run
            LATER.do(_recorded, self._recorder.attempt, event, call)

    def _ended(self, _: Ended, call: Call) -> None:
        self._in_flight.ended(call.id)
        LATER.do(_recorded, self._recorder.run, len(call.events), call)


def _recorded(record: Callable[[Any, Call], None], what: Any, call: Call) -> None:
    with in_trace(call):
        record(what, call)
