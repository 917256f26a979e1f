"""A stream that broke, taken up elsewhere: nothing of it is repeated, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace

from llmops_sdk.errors import StreamInterrupted
from llmops_sdk.messages import Chunk

__all__ = ["Ahead", "DifferentAnswer", "interrupted"]


class DifferentAnswer(StreamInterrupted):
    """Another engine began a different answer."""

    retryable = False


class Ahead:
    """Leaves out of a new stream what the broken one had already emitted.

    Text is matched. Thoughts are not, since no two engines think alike: a choice keeps those of the first one.
    """

    def __init__(self, emitted: dict[int, str]) -> None:
        self._begun = frozenset(emitted)
        self._owed = {index: text for index, text in emitted.items() if text}

    def skip(self, chunk: Chunk) -> Chunk | None:
        if chunk.reasoning and chunk.index in self._begun:
            chunk = replace(chunk, reasoning="")
        owed = self._owed.get(chunk.index)
        if owed is None or not chunk.text:
            return chunk
        text = chunk.text
        common = min(len(owed), len(text))
        if owed[:common] != text[:common]:
            raise DifferentAnswer("the stream broke, and the next engine began a different answer")
        if len(owed) > common:
            self._owed[chunk.index] = owed[common:]
        else:
            del self._owed[chunk.index]
        # How much of the text each token stands for is not known here, so a cut chunk has none.
        rest = replace(chunk, text=text[common:], logprobs=(), token_ids=())
        return rest if rest.text or rest.finish_reason or rest.usage or rest.tool_calls else None

    def check_caught_up(self) -> None:
        if self._owed:
            raise DifferentAnswer("the stream broke, and the next engine's answer was shorter")


def interrupted(exc: Exception, emitted: dict[int, str]) -> StreamInterrupted:
    """The error of a stream that broke for good, with all that the caller has seen of it."""
    details = {name: getattr(exc, name, None) for name in ("engine", "model", "status_code", "request_id")}
    return StreamInterrupted(f"the stream broke for good: {exc}", partial_text=emitted.get(0, ""), **details)
