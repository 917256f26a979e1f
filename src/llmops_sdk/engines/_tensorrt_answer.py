"""From what TensorRT-LLM says of a request, which grows as it goes on, to our chunks of what is new."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llmops_sdk.messages import Chunk, FinishReason, Request, TokenLogprob, Usage

__all__ = ["AnswerReader", "unsure"]


@dataclasses.dataclass(slots=True)
class _Sent:
    """How much of a choice has been handed on."""

    characters: int = 0
    tokens: int = 0
    logprobs: int = 0
    ended: bool = False


class AnswerReader:
    """Turns TensorRT-LLM's `RequestOutput`, after each of its steps, into chunks.

    What is new is found by counting here: with several choices in a stream a step is about one of them, and the
    output's own `text_diff` and `token_ids_diff` then still say of the others what was new before.

    Args:
        request: What is asked.
        decode: Gives the text of a list of token ids.
        finish: Gives our finish reason for TensorRT-LLM's, or raises.
        labels: `engine`, `model` and `id` of each chunk.
    """

    def __init__(
        self,
        request: Request,
        decode: Callable[[list[int]], str],
        finish: Callable[[str], FinishReason],
        labels: Mapping[str, Any],
    ) -> None:
        self._decode = decode
        self._finish = finish
        self._labels = labels
        self._likeliest = request.logprobs
        self._most = request.max_tokens
        self._stops = () if request.extra.get("include_stop_str_in_output") else request.stop
        self._sent: dict[int, _Sent] = {}

    def read(self, result: Any) -> Iterator[Chunk]:
        """The chunks that are new since the last call."""
        finished = bool(result.finished)
        chunks = []
        for output in result.outputs:
            sent = self._sent.setdefault(output.index, _Sent())
            if not sent.ended:
                chunk = self._read_choice(output, sent, finished=finished)
                if chunk is not None:
                    chunks.append(chunk)
        if finished:
            last = chunks.pop() if chunks else Chunk(**self._labels)
            chunks.append(dataclasses.replace(last, usage=self._usage(result)))
        yield from chunks

    def _read_choice(self, output: Any, sent: _Sent, *, finished: bool) -> Chunk | None:
        ids: list[int] = output.token_ids or []
        reason: FinishReason | None = None
        if output.finish_reason is not None:
            reason = self._finish(output.finish_reason)
        elif finished:  # of several choices only the last one is told why it ended
            reason = "length" if self._most is not None and len(ids) >= self._most else "stop"
        visible = len(output.text) if reason is not None else len(output.text) - unsure(output.text, self._stops)
        text = output.text[sent.characters : visible]
        if reason is None and not text:  # half a character, or what may become a stop text
            return None
        new = tuple(ids[sent.tokens :])
        logprobs: tuple[TokenLogprob, ...] = ()
        if self._likeliest is not None:
            places = (output.logprobs or [])[sent.logprobs :]
            logprobs = self._logprobs(new, places, self._likeliest)
            sent.logprobs += len(places)
        sent.characters, sent.tokens = max(visible, sent.characters), max(len(ids), sent.tokens)
        sent.ended = reason is not None
        return Chunk(
            text=text,
            index=output.index,
            finish_reason=reason,
            logprobs=logprobs,
            token_ids=new,
            **self._labels,
        )

    def _logprobs(self, ids: Sequence[int], places: Sequence[Any], likeliest: int) -> tuple[TokenLogprob, ...]:
        """Read what is said of the tokens `ids`: of each a mapping from token ids, or only its own log-probability."""
        read = []
        for token, place in zip(ids, places, strict=False):  # a stop text is cut from one of the two only
            if not isinstance(place, Mapping):
                read.append(TokenLogprob(token=self._decode([token]), logprob=float(place)))
                continue
            best = sorted(place.items(), key=lambda one: -one[1].logprob)[:likeliest]
            read.append(
                TokenLogprob(
                    token=self._decode([token]),
                    logprob=place[token].logprob,
                    top=tuple((self._decode([other]), said.logprob) for other, said in best),
                )
            )
        return tuple(read)

    def _usage(self, result: Any) -> Usage:
        return Usage(
            input_tokens=len(result.prompt_token_ids),
            output_tokens=sum(sent.tokens for sent in self._sent.values()),
            cached_input_tokens=int(getattr(result, "cached_tokens", 0) or 0),
        )


def unsure(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of a stop text, which is no part of the answer.

    Example:
        >>> unsure("It is 4. EN", (" END",))
        3
        >>> unsure("It is 4.", ("END",))
        0
    """
    return max(
        (length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length])),
        default=0,
    )
