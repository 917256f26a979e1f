"""The prompt with a budget of tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llmops_sdk.calls import Call, Cut
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.messages import PromptRef, Request
from llmops_sdk.prompts._fitting.reports import FitReport
from llmops_sdk.prompts._fitting.shrinking import Fitting, Parts
from llmops_sdk.prompts._fitting.summaries import Summaries, Summariser
from llmops_sdk.prompts._outputs import Output
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._variables import Variable, complete
from llmops_sdk.protocols import EngineLike
from llmops_sdk.stations import Station
from llmops_sdk.tokens import Counted, TokenCounter, counter_of

__all__ = ["FittedPrompt", "Source"]

_ROUNDS = 3
_LONG = 20_000
"""Characters from which on counting and cutting leave the event loop: a millisecond or two for each 10,000."""


class Source(NamedTuple):
    """The prompt that is fitted: what a `FittedPrompt` takes over from it."""

    ref: PromptRef
    variables: Mapping[str, Variable]
    sections: tuple[Section, ...]
    output: Output | None
    max_tokens: int | None
    parts: Parts


class _Outcome(NamedTuple):
    request: Request
    counted: Counted
    fitting: Fitting | None
    """`None` where nothing had to be cut."""

    @property
    def cuts(self) -> Sequence[Cut]:
        return () if self.fitting is None else self.fitting.cuts


class FittedPrompt(Station):
    """A prompt whose requests have at most so many tokens; made by `Prompt.fit`, which says how. Immutable.

    Attributes:
        name: That of the prompt, as are the others.
        ref: Its name, version, commit and hash.
        variables: Names of its variables.
        sections: Its body, as written.
        output: The type of the answer, or its JSON schema.
        counter: Name of what counts.
    """

    def __init__(
        self,
        source: Source,
        tokens: int | str | EngineLike,
        *,
        counter: TokenCounter = None,
        marker: str = "[...]",
        summariser: EngineLike | None = None,
        summary_share: float = 0.3,
    ) -> None:
        engine = counter if tokens == "window" else tokens
        self._window_of = None if is_number(tokens) else _windowed(engine)
        if is_number(tokens) and not (isinstance(tokens, int) and tokens > 0):
            raise ConfigurationError(f"`tokens` is a whole number over 0, not {tokens!r}")
        if self._window_of is not None and source.max_tokens is None:
            raise ConfigurationError(
                f"a window holds the answer, too, and the prompt {source.ref.name!r} does not say how long that may "
                "be: set its parameter `max_tokens`"
            )
        if not isinstance(marker, str):
            raise ConfigurationError(f"`marker` is a text such as '[...]', or '' for none, not {marker!r}")
        if not (is_number(summary_share) and 0 < summary_share <= 1):
            raise ConfigurationError(f"`summary_share` is a number over 0 and at most 1, not {summary_share!r}")
        lacking = next((one for one in source.sections if one.shrink == "summarise"), None)
        if summariser is None and lacking is not None:
            raise ConfigurationError(
                f"the section {lacking.name or lacking.role!r} has `shrink=summarise`: say which engine does it, "
                "`fit(..., summariser=Engine.open(...))`"
            )
        if summariser is not None and not callable(getattr(summariser, "agenerate", None)):
            raise ConfigurationError(f"`summariser` is an engine, `Engine.open('scheme:model')`, not {summariser!r}")
        self._options = {
            "counter": counter,
            "marker": marker,
            "summariser": summariser,
            "summary_share": summary_share,
        }
        self._source = source
        self._tokens = tokens
        self._guessed = counter is None and self._window_of is None
        self._counter = counter_of(self._window_of if counter is None else counter)
        self._marker = marker
        self._summaries = Summaries()
        self._summariser = (
            None if summariser is None else Summariser(summariser, share=summary_share, asker=f"{self.name}:summary")
        )

    @property
    def name(self) -> str:
        """That of the prompt."""
        return self._source.ref.name

    @property
    def ref(self) -> PromptRef:
        """What requests carry of the prompt."""
        return self._source.ref

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of its variables, in order."""
        return tuple(self._source.variables)

    @property
    def sections(self) -> tuple[Section, ...]:
        """Its body, as written."""
        return self._source.sections

    @property
    def output(self) -> Any:
        """The type of the answer, or its JSON schema; `None` where the answer is free."""
        return None if self._source.output is None else self._source.output.wanted

    def configuration(self) -> dict[str, Any]:
        """What it was made with; a lock pins it by a hash of this."""
        return {"prompt": self._source.ref.hash, "budget": self._tokens, **self._options}

    def output_for(self, _ref: PromptRef | None, /) -> Output | None:
        """What the answer to a request of this prompt has to be; pipelines ask it of whatever renders."""
        return self._source.output

    @property
    def counter(self) -> str:
        """Name of what counts."""
        return self._counter.name

    @property
    def budget(self) -> int:
        """Most tokens of a request.

        Raises:
            ConfigurationError: It is the window of an engine, which is not known before the engine has started.
        """
        if self._window_of is None:
            return int(self._tokens)  # type: ignore[arg-type]  # a number, see `__init__`
        window = self._window_of.capabilities.context_window
        if window is None:
            raise ConfigurationError(
                f"nobody knows the window of the engine {self._window_of.name!r} (yet): give a number, `fit(4000)`"
            )
        return int(window) - (self._source.max_tokens or 0)

    def render(self, /, **variables: object) -> Request:
        """The request for these variables, cut where it has to be.

        It does not wait for anything: where a summary is asked for, one that was made before is taken, or else the text
        is cut. `arender` makes summaries, and so does a pipeline.

        Raises:
            PromptError: As `Prompt.render` does.
            ContextLengthError: All is cut that may be, and it is still too long.
        """
        return self._fit(variables).request

    def report(self, /, **variables: object) -> FitReport:
        """`render`, with what was cut, and the tokens of each section. Errors are those of `render`."""
        return self._reported(self._fit(variables), variables)

    async def arender(self, /, **variables: object) -> Request:
        """`render`, with summaries where they are asked for and the engine gives them in time."""
        return (await self._afit(variables, None)).request

    async def areport(self, /, **variables: object) -> FitReport:
        """`report`, with summaries as in `arender`."""
        return self._reported(await self._afit(variables, None), variables)

    async def render_in(self, call: Call, variables: Mapping[str, object], /) -> tuple[Request, Sequence[Cut]]:
        """`arender` as part of a run, which pays for summaries and has them in its record; and what was cut."""
        outcome = await self._afit(variables, call)
        return outcome.request, tuple(outcome.cuts)

    async def _afit(self, variables: Mapping[str, object], call: Call | None) -> _Outcome:
        whole = self._whole(variables)
        long = sum(len(message.text) for message in whole.messages) > _LONG
        for number in range(_ROUNDS):
            outcome = (
                await asyncio.to_thread(self._fitted, whole, variables) if long else self._fitted(whole, variables)
            )
            wanted = () if outcome.fitting is None else tuple(outcome.fitting.wanted)
            if not wanted or self._summariser is None or number == _ROUNDS - 1:
                break
            made = await asyncio.gather(*(self._summariser.summary(one.text, one.tokens, call) for one in wanted))
            for one, summary in zip(wanted, made, strict=True):
                if summary is not None:
                    self._summaries.put(one.text, summary)
            if not any(made):
                break
        return outcome

    def _fit(self, variables: Mapping[str, object]) -> _Outcome:
        return self._fitted(self._whole(variables), variables)

    def _whole(self, variables: Mapping[str, object]) -> Request:
        """The request with nothing cut."""
        parts = self._source.parts
        return parts.render(parts.sections, variables)

    def _fitted(self, request: Request, variables: Mapping[str, object]) -> _Outcome:
        """What becomes of the request of all of the variables."""
        counted = self._counter.request(request)
        if counted.tokens <= self.budget:
            return _Outcome(request, counted, None)
        fitting = self._begun(request, counted, variables)
        fitting.run()
        return _Outcome(fitting.request, fitting.counted, fitting)

    def _reported(self, outcome: _Outcome, variables: Mapping[str, object]) -> FitReport:
        doubt = outcome.counted.doubt
        if doubt is None and self._guessed:
            doubt = f"no counter was given, and the model may count otherwise than {self._counter.name}"
        return FitReport(
            request=outcome.request,
            tokens=outcome.counted.tokens,
            budget=self.budget,
            cuts=tuple(outcome.cuts),
            sections=(outcome.fitting or self._begun(outcome.request, outcome.counted, variables)).sizes(),
            counter=self._counter.name,
            doubt=doubt,
        )

    def _begun(self, request: Request, counted: Counted, variables: Mapping[str, object]) -> Fitting:
        return Fitting(
            self._source.parts,
            complete(variables, self._source.variables, self.name),
            request=request,
            counted=counted,
            counter=self._counter,
            budget=self.budget,
            marker=self._marker,
            summaries=self._summaries,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._source, self._tokens, self._options)

    def __repr__(self) -> str:
        room = f"{self._tokens} tokens" if self._window_of is None else "the window of an engine"
        return f"<FittedPrompt {self.name} in {room}>"


def _again(source: Source, tokens: Any, options: Mapping[str, Any]) -> FittedPrompt:
    return FittedPrompt(source, tokens, **options)


def _windowed(engine: Any) -> Any:
    if not hasattr(engine, "agenerate") or not hasattr(engine, "capabilities"):
        raise ConfigurationError(
            "`tokens` is a number, an engine (whose window it fits), or 'window' with `counter=` an engine; "
            f"not {engine!r}"
        )
    return engine
