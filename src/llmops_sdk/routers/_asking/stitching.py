"""Two streams of one answer made one: nothing is repeated, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from llmops_sdk.messages import Choice, Chunk, ChunkJoiner, Request, StreamRestarted

__all__ = ["Ahead", "Seam", "Stitch"]


class Stitch(Protocol):
    """Joins a new stream to the one that broke.

    Attributes:
        ended: Whether the answer is whole, and the rest of the new stream is of no interest.
    """

    ended: bool

    def take(self, chunk: Chunk, /) -> Iterable[Chunk]:
        """What the caller has to be told on account of the new stream's next chunk."""
        ...

    def finish(self) -> Iterable[Chunk]:
        """What is left to be told when the new stream has ended."""
        ...


class Seam:
    """Puts the rest of an answer behind the text so far, which was sent without the white space at its end.

    That white space is expected at the beginning of the rest, and not repeated. A stop text that begins in the text so
    far and ends in the rest is found here, since no engine sees both. Thoughts are those of the engine that began.
    """

    def __init__(self, told: ChunkJoiner, request: Request) -> None:
        self._told = told
        text = told.text()
        self._text = text.rstrip()
        self._blank = text[len(self._text) :]
        self._stop = request.stop
        self._span = max(map(len, request.stop), default=1) - 1
        self._tail = self._end_of(text)
        self._waiting: list[Chunk] = []
        self.ended = False

    def take(self, chunk: Chunk, /) -> Iterable[Chunk]:
        if isinstance(chunk, StreamRestarted):  # a router went on, and had to begin the rest anew
            self._blank, self._tail = "", self._end_of(self._text)
            self._waiting.clear()
            return (replace(chunk, withdrawn=self._told.text()), Chunk(text=self._text, engine=chunk.engine))
        if chunk.reasoning:
            chunk = replace(chunk, reasoning="")
        if self._blank and chunk.text:
            chunk = self._without_blank(chunk)
        if self._tail:
            return self._stopped(chunk)
        return (chunk,) if _says_something(chunk) else ()

    def _end_of(self, text: str) -> str:
        """As much of the text as may be the beginning of a stop text."""
        return text[max(0, len(text) - self._span) :]

    def _without_blank(self, chunk: Chunk) -> Chunk:
        again = _common(self._blank, chunk.text)
        if again == len(chunk.text):
            self._blank = self._blank[again:]
        else:
            self._blank = ""
        return _cut(chunk, again)

    def _stopped(self, chunk: Chunk) -> Iterable[Chunk]:
        """Hold chunks back until no stop text can span the seam any more."""
        self._waiting.append(chunk)
        tail = self._tail
        text = tail + "".join(one.text for one in self._waiting)
        if any(0 <= text.find(stop, max(0, len(tail) - len(stop) + 1)) < len(tail) for stop in self._stop):
            self.ended = True
            return (replace(_cut(chunk, len(chunk.text)), tool_calls=(), finish_reason="stop"),)
        if len(text) - len(tail) >= self._span or chunk.finish_reason is not None:
            return self.finish()
        return ()

    def finish(self) -> Iterable[Chunk]:
        self._tail = ""
        waiting, self._waiting = self._waiting, []
        return [chunk for chunk in waiting if _says_something(chunk)]


class Ahead:
    """Leaves out of a new answer what the broken stream had already emitted.

    Text is matched. Thoughts are not, since no two engines think alike: a choice keeps those of the first one. A choice
    whose new text is another one begins anew, thoughts and all, after a `StreamRestarted`. A choice that had ended
    stays as it is.
    """

    def __init__(self, told: ChunkJoiner) -> None:
        self._told = told
        self._choices = told.choices()
        self._owed = {i: one.text for i, one in self._choices.items() if one.text and not one.finish_reason}
        self._held: dict[int, list[Chunk]] = {}
        self.ended = False

    def take(self, chunk: Chunk, /) -> Iterable[Chunk]:
        index = chunk.index
        begun = self._choices.get(index)
        if begun is None:
            return (chunk,)
        if begun.finish_reason is not None:
            return (Chunk(index=index, usage=chunk.usage, cost_usd=chunk.cost_usd),) if chunk.usage else ()
        if isinstance(chunk, StreamRestarted):
            return self._begins_anew(chunk, begun)
        owed = self._owed.get(index)
        if owed is None:
            chunk = replace(chunk, reasoning="") if chunk.reasoning else chunk
            return (chunk,) if _says_something(chunk) else ()
        same = _common(owed, chunk.text)
        if same < len(owed) and (same < len(chunk.text) or chunk.finish_reason is not None):
            return (*self._withdraw(index, chunk), chunk)
        if same < len(owed):
            self._owed[index] = owed[same:]
            self._held.setdefault(index, []).append(chunk)
            return ()
        del self._owed[index]
        calls = [call for one in self._held.pop(index, ()) for call in one.tool_calls]
        rest = replace(_cut(chunk, same), reasoning="", tool_calls=(*calls, *chunk.tool_calls))
        return (rest,) if _says_something(rest) else ()

    def _begins_anew(self, chunk: StreamRestarted, begun: Choice) -> Iterable[Chunk]:
        """A router among the engines gives another answer than it began to give."""
        self._held.pop(chunk.index, None)
        if chunk.index in self._owed:  # the caller has seen nothing of it
            self._owed[chunk.index] = begun.text
            return ()
        del self._choices[chunk.index]
        return (replace(chunk, withdrawn=self._told.text(chunk.index)),)

    def _withdraw(self, index: int, chunk: Chunk) -> list[Chunk]:
        """The caller has to forget a choice; what had matched of the new one is its beginning."""
        del self._owed[index], self._choices[index]
        forget = StreamRestarted(
            index=index, withdrawn=self._told.text(index), model=chunk.model, engine=chunk.engine, id=chunk.id
        )
        return [forget, *self._held.pop(index, ())]

    def finish(self) -> Iterable[Chunk]:
        """The new answer is shorter where something is owed."""
        return [one for index in list(self._owed) for one in self._withdraw(index, Chunk(engine=self._told.engine))]


def _common(one: str, other: str) -> int:
    """How many characters the two have in common at the beginning."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    return next(i for i in range(most) if one[i] != other[i])


def _cut(chunk: Chunk, start: int) -> Chunk:
    """The chunk without its first `start` characters."""
    if not start:
        return chunk
    # How much of the text each token stands for is not known here, so a cut chunk has none.
    return replace(chunk, text=chunk.text[start:], logprobs=(), token_ids=())


def _says_something(chunk: Chunk) -> bool:
    return bool(
        chunk.text
        or chunk.finish_reason
        or chunk.usage
        or chunk.tool_calls
        or chunk.logprobs
        or chunk.token_ids
        or chunk.reasoning
    )
