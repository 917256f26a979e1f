"""One fit under way: sections are shrunk, the least important first, until the request fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from llmops_sdk.calls import Cut
from llmops_sdk.messages import Message, Request
from llmops_sdk.prompts._fitting.changed import Change, changed_sections
from llmops_sdk.prompts._fitting.histories import exchanges_from, newest
from llmops_sdk.prompts._fitting.reports import does_not_fit, labels_of
from llmops_sdk.prompts._fitting.summaries import Summaries, summarised_history, summarised_value, transcript, words_of
from llmops_sdk.prompts._fitting.texts import Kept, Side, keep, nothing_of
from llmops_sdk.prompts._fitting.values import emptied, shortened, size_of
from llmops_sdk.prompts._rendering import CompiledSection
from llmops_sdk.prompts._sections import way_of
from llmops_sdk.tokens import Counted, Counter

__all__ = ["Fitting", "Parts", "Wanted"]

_TRIES = 8


class Parts(NamedTuple):
    """A prompt, as it is fitted.

    Attributes:
        name: Its name.
        sections: Its sections, compiled.
        render: The request of other sections, for values of all variables.
    """

    name: str
    sections: tuple[CompiledSection, ...]
    render: Callable[[Sequence[CompiledSection], Mapping[str, object]], Request]


class Wanted(NamedTuple):
    """A summary that would have been of use: of `text`, in `tokens` or fewer."""

    text: str
    tokens: int


class Fitting:
    """One fit under way.

    Attributes:
        request: The request so far.
        counted: Its tokens.
        cuts: What was cut so far.
        wanted: Summaries that were not there.
    """

    def __init__(
        self,
        parts: Parts,
        values: Mapping[str, object],
        *,
        request: Request,
        counted: Counted,
        counter: Counter,
        budget: int,
        marker: str,
        summaries: Summaries,
    ) -> None:
        self._parts = parts
        self._values = values
        self._counter = counter
        self._budget = budget
        self._marker = marker
        self._summaries = summaries
        self._changes: dict[int, Change] = {}
        self._labels = labels_of([one.section for one in parts.sections])
        self._density = sum(len(message.text) for message in request.messages) / max(counted.tokens, 1)
        self.request = request
        self.counted = counted
        self.cuts: list[Cut] = []
        self.wanted: list[Wanted] = []

    @property
    def _fits(self) -> bool:
        return self.counted.tokens <= self._budget

    def run(self) -> None:
        """Cut until it fits.

        Raises:
            ContextLengthError: It cannot; the message has the tokens of every section.
        """
        ranked = [(one.section.priority, -number) for number, one in enumerate(self._parts.sections)]
        for _, place in sorted((priority, place) for priority, place in ranked if priority is not None):
            if self._fits:
                return
            self._shrink(-place)
        if not self._fits or not self.request.messages:
            before = self.sizes(original=True)
            rows = [
                (self._labels[number], one.section, before[self._labels[number]])
                for number, one in enumerate(self._parts.sections)
            ]
            raise does_not_fit(self._parts.name, self.counted.tokens, self._budget, rows)

    def sizes(self, *, original: bool = False) -> dict[str, int]:
        """Tokens of each section by its label, now or as it was in the beginning."""
        return {label: self._size(number, original=original) for number, label in enumerate(self._labels)}

    def _size(self, number: int, *, original: bool = False) -> int:
        one = self._parts.sections[number]
        if one.placed is None:
            one = one._replace(section=one.section._replace(kind="message"), alone=True)
        change = None if original else self._changes.get(number)
        sections = changed_sections([one], {} if change is None else {0: change})
        rendered = self._parts.render(sections, self._values)
        return sum(self._counter.text(message.text) for message in rendered.messages)

    # Each way to shrink leaves the request as long as it fits, or else as short as that way can make it.

    def _shrink(self, number: int) -> None:
        before, whole = self.counted.tokens, self.request
        section = self._parts.sections[number].section
        way = way_of(section)
        how = "dropped"
        if way != "drop":
            shrink = {"history": self._shrink_history, "examples": self._shrink_examples}.get(section.kind)
            how = (shrink or self._shrink_text)(number, way)
        if not self._fits:
            self._changes[number] = Change(dropped=True)
            self._render()
            how = "dropped"
        # By the request: counting the section itself, as it was, would take as long as all the rest.
        after = self._size(number)
        if self.request != whole:  # an empty history, say, has nothing that could be cut
            self.cuts.append(Cut(self._labels[number], after + before - self.counted.tokens, after, how))

    def _shrink_history(self, number: int, way: str) -> str:
        messages = self._placed(number)
        change = self._changes[number] = Change()
        room = self._room(lambda: None)
        if room <= 0 or not messages:
            return "dropped"
        if way == "summarise":
            kept = newest(messages, room // 2, self._counter)
            text = transcript(messages[: len(messages) - len(kept)])
            summary = self._summary(text, room - self._counter.messages(kept))
            if summary is not None:
                name = self._parts.sections[number].section.name or ""
                change.messages = [summarised_history(summary, name), *kept]
                self._render()
                if self._fits:
                    return "summarised"

        def fill(most: int) -> None:
            change.messages = newest(messages, most, self._counter)

        self._fill(fill, room)
        return self._but("oldest messages dropped", way)

    def _shrink_examples(self, number: int, way: str) -> str:
        messages = self._placed(number)
        change = self._changes[number] = Change()

        def fill(most: int) -> None:
            change.messages = exchanges_from(messages, most, self._counter, last=way == "start")

        self._fill(fill, self._room(lambda: None))
        return "first examples dropped" if way == "start" else "last examples dropped"

    def _placed(self, number: int) -> Sequence[Message]:
        placed = self._parts.sections[number].placed
        return () if placed is None else placed.messages(self._values)

    def _shrink_text(self, number: int, way: str) -> str:
        side: Side = "end" if way not in ("start", "middle") else way  # type: ignore[assignment]
        change = self._changes[number] = Change()
        compiled = self._parts.sections[number]
        if not compiled.variables:
            self._shrink_own_words(change, compiled, side)
            return f"cut at the {side}"
        sizes = {name: size for name in compiled.variables if (size := size_of(self._values[name]))}
        summarised = False
        for name in sorted(sizes, key=lambda one: -sizes[one]):
            summarised = self._shrink_variable(change, name, side, summarise=way == "summarise") or summarised
            if self._fits:
                break
        return "summarised" if summarised else self._but(f"cut at the {side}", way)

    def _shrink_own_words(self, change: Change, compiled: CompiledSection, side: Side) -> None:
        text = compiled.template.render({})[0]

        def empty() -> None:
            change.text = nothing_of(self._marker)

        def fill(most: int) -> None:
            change.text = keep(text, side, most, self._counter, self._marker, self._density)

        self._fill(fill, self._room(empty))

    def _shrink_variable(self, change: Change, name: str, side: Side, *, summarise: bool) -> bool:
        """Shorten one variable of a section; whether a summary stands in its place."""
        value = self._values[name]

        def put(left: object, kept: Kept | None = None) -> None:
            change.values[name] = left
            change.kept.pop(name, None)
            if kept is not None:
                change.kept[name] = kept

        room = self._room(lambda: put(*emptied(value, side, self._marker)))
        words = words_of(value) if summarise and room > 0 else None
        summary = None if words is None else self._summary(words, room)
        if summary is not None:
            put(summarised_value(value, summary))
            self._render()
            if self._fits:
                return True
        self._fill(
            lambda most: put(*shortened(value, side, most, self._counter, self._marker, self._density)),
            room,
            otherwise=lambda: put(*emptied(value, side, self._marker)),
        )
        return False

    def _summary(self, text: str, room: int) -> str | None:
        summary = self._summaries.get(text)
        if summary is not None and self._counter.text(summary) <= room:
            return summary
        self.wanted.append(Wanted(text, room))
        return None

    def _but(self, how: str, way: str) -> str:
        return f"{how}, since there is no summary" if way == "summarise" else how

    def _room(self, empty: Callable[[], object]) -> int:
        """Tokens that are left for something when nothing of it is there."""
        empty()
        self._render()
        return self._budget - self.counted.tokens

    def _fill(self, fill: Callable[[int], None], room: int, otherwise: Callable[[], object] | None = None) -> None:
        """Fill `room` tokens, and less of it as long as the request is too long: counts of parts do not add up."""
        for number in range(_TRIES):
            if room <= 0:
                break
            fill(room)
            self._render()
            if self._fits:
                return
            room -= (self.counted.tokens - self._budget) << (number // 3)
        if otherwise is None:
            fill(0)
        else:
            otherwise()
        self._render()

    def _render(self) -> None:
        sections = changed_sections(self._parts.sections, self._changes)
        self.request = self._parts.render(sections, self._values)
        self.counted = self._counter.request(self.request)
