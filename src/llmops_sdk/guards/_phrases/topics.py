"""`Topics`: what a text may not be about, or what it has to be about."""

from __future__ import annotations

import asyncio
import math
import operator
import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, Unpack

from llmops_sdk.calls import ASKER, Call
from llmops_sdk.costs import embedded
from llmops_sdk.errors import ConfigurationError, GuardFailed
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._phrases.guard import PhraseGuard
from llmops_sdk.guards._phrases.matcher import phrase_texts
from llmops_sdk.guards._segments import Cutter, Segment
from llmops_sdk.loops import in_thread
from llmops_sdk.protocols import GuardContext
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["Embeds", "Topics"]

_PASSAGE = 600
_SHORTEST_PASSAGE = 80


class Embeds(Protocol):
    """What `Topics` needs of an engine; every engine with embeddings has it."""

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        """Vectors of `texts`, in order."""
        ...


class Topics(PhraseGuard):
    """Blocks texts about topics, or all that are about nothing else.

    A topic is a list of phrases. They are found as whole words, in any case, with or without accents, in the plural
    and other frequent forms (`side effect` finds `Side-Effects`), with look-alike letters; not by their meaning. With
    an `engine` that makes embeddings the phrases are examples besides: a passage that is near one of them belongs to
    the topic, too. The phrases are embedded once, in the first check; a failing engine is a failing guard.

    Args:
        topics: Names of topics with the phrases that tell them.
        allow_only: The other way round: a text has to touch one of the topics; else it is off topic. Names and
            arguments of tool calls, and reasoning, are not read then (`waived`).
        engine: Makes embeddings; `llmops_sdk.Engine` does, where its model can.
        threshold: With an engine: the cosine from which on a passage is near an example, `0 < threshold <= 1`. It
            depends on the model: calibrate it. (With `allow_only` the attribute `threshold` is one minus it.)
        shortest: With `allow_only`: texts of fewer words (greetings, thanks) pass.
        action: `"block"` (the default) or `"flag"`.
        ignore: Phrases that are no findings, and compiled patterns of findings.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: There is no topic, or one has no phrase; `threshold` without an engine.

    Example:
        >>> guard = Topics({"medicine": ["dosage", "side effect"]})
        >>> guard.check("What are the side-effects?").findings[0].rule
        'medicine'
    """

    def __init__(
        self,
        topics: Mapping[str, Sequence[str]],
        *,
        allow_only: bool = False,
        engine: Embeds | None = None,
        threshold: float | None = None,
        shortest: int = 4,
        action: Literal["block", "flag"] = "block",
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        if action not in ("block", "flag"):
            raise ConfigurationError(f'action={action!r} is neither "block" nor "flag"; nothing can be rewritten here')
        texts = phrase_texts(topics, "Topics")
        phrases = [(phrase, name) for name, listed in texts.items() for phrase in listed]
        super().__init__(phrases, kind="topic", inflected=True, action=action, ignore=ignore, **options)
        if engine is None and threshold is not None:
            raise ConfigurationError("threshold is the nearness of embeddings: give an `engine`, too")
        if engine is not None and not callable(getattr(engine, "aembed", None)):
            raise ConfigurationError(f"engine={engine!r} has no `aembed`: give an engine that makes embeddings")
        self._allow_only = allow_only
        self._shortest = shortest
        self._engine = engine
        self._examples = _Examples(engine, phrases) if engine is not None else None
        if engine is not None:
            self.waits = True
            cosine = 0.6 if threshold is None else threshold
            if not 0 < cosine <= 1:
                raise ConfigurationError(f"threshold={threshold!r} is not in 0 < threshold <= 1")
            self.threshold = 1 - cosine if allow_only else cosine  # it acts where `rate` reaches it
        if engine is not None or allow_only:
            self.window = None
        if allow_only:  # a call of a tool is about nothing
            self.waived = frozenset({"tool_calls", "reasoning"})

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:  # type: ignore[override]
        """Decide about the whole text; awaitable with an engine."""
        by_phrase = super().check(text, context)
        if self._examples is None or (by_phrase.findings and (self._allow_only or by_phrase.blocked)):
            return self._decided(text, by_phrase)
        return self._by_meaning(text, by_phrase, self._payer(context))

    def rate(self, text: str, context: GuardContext | None = None, /) -> float | Awaitable[float]:
        """How near the text is to a topic (to none of them, with `allow_only`): 1 where a phrase stands in it."""
        found = bool(super().check(text, context).findings)
        if self._examples is None or found:
            return float(found != self._allow_only and not self._passes(text))
        return self._rated(text, self._payer(context))

    def _payer(self, context: GuardContext | None) -> _Payer:
        return _Payer(None if context is None else context.call, ASKER.get() or self.name)

    async def _rated(self, text: str, payer: _Payer) -> float:
        assert self._examples is not None
        nearest = max((cosine for _, _, cosine in await self._examples.nearest(text, payer)), default=0.0)
        if self._allow_only:
            return 0.0 if self._passes(text) else 1 - min(1.0, max(0.0, nearest))
        return min(1.0, max(0.0, nearest))

    async def _by_meaning(self, text: str, by_phrase: Verdict, payer: _Payer) -> Verdict:
        assert self._examples is not None
        assert self.threshold is not None
        near = [
            Finding(
                kind="topic",
                start=segment.start,
                end=segment.start + len(segment.text),
                score=min(1.0, cosine),
                rule=topic,
            )
            for segment, topic, cosine in await self._examples.nearest(text, payer)
            if (1 - cosine < self.threshold if self._allow_only else cosine >= self.threshold)
        ]
        findings = sorted([*by_phrase.findings, *near], key=lambda finding: (finding.start, finding.end))
        if not findings:
            return self._decided(text, ALLOW)
        reason = f"found {', '.join(sorted({finding.rule for finding in findings}))}"
        return self._decided(text, Verdict(action=self.action, findings=tuple(findings), reason=reason))

    def _decided(self, text: str, verdict: Verdict) -> Verdict:
        if not self._allow_only:
            return verdict
        if verdict.findings or self._passes(text):
            return ALLOW
        return Verdict(
            action=self.action,
            reason="off topic",
            findings=(Finding(kind="off_topic", start=0, end=len(text), rule="allow_only"),),
        )

    def _passes(self, text: str) -> bool:
        """Whether the text is too short to be about anything, where it has to be about something."""
        return self._allow_only and len(text.split(maxsplit=self._shortest)) < self._shortest


class _Payer(NamedTuple):
    """The run that vectors are made for, and the guard's name in it."""

    call: Call | None
    asker: str


class _Examples:
    """The phrases of all topics as vectors: embedded once, when they are first needed, for the run that needs them."""

    def __init__(self, engine: Embeds, phrases: Sequence[tuple[str, str]]) -> None:
        self._engine = engine
        self._phrases = tuple(phrases)
        self._vectors: list[tuple[str, list[float]]] | None = None
        self._pending: tuple[asyncio.AbstractEventLoop, asyncio.Task[list[tuple[str, list[float]]]]] | None = None

    async def nearest(self, text: str, payer: _Payer) -> list[tuple[Segment, str, float]]:
        """For each passage of `text` the nearest topic, and the cosine of the two."""
        segments = Cutter(_PASSAGE, _SHORTEST_PASSAGE, 0).feed(text, final=True)
        passages = [segment for segment in segments if segment.text.strip()]
        if not passages:
            return []
        examples = await self._embedded(payer)
        vectors = await self._embed([passage.text for passage in passages], payer)
        return await in_thread(lambda: [_nearest(p, v, examples) for p, v in zip(passages, vectors, strict=True)])

    async def _embedded(self, payer: _Payer) -> list[tuple[str, list[float]]]:
        if self._vectors is not None:
            return self._vectors
        loop = asyncio.get_running_loop()
        if self._pending is None or self._pending[0] is not loop or self._pending[1].done():
            self._pending = (loop, loop.create_task(self._make(payer)))
        # One check that is cancelled does not cancel the others that wait for the same vectors.
        return await asyncio.shield(self._pending[1])

    async def _make(self, payer: _Payer) -> list[tuple[str, list[float]]]:
        vectors = await self._embed([phrase for phrase, _ in self._phrases], payer)
        self._vectors = [(topic, vector) for (_, topic), vector in zip(self._phrases, vectors, strict=True)]
        return self._vectors

    async def _embed(self, texts: list[str], payer: _Payer) -> list[list[float]]:
        vectors = await embedded(self._engine, texts, payer.call, payer.asker)
        if len(vectors) != len(texts):
            raise GuardFailed(f"the engine gave {len(vectors)} vectors for {len(texts)} texts", guard="topics")
        return [_unit(vector) for vector in vectors]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pending": None}


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(map(operator.mul, vector, vector)))
    if not math.isfinite(length):
        raise GuardFailed("the engine gave a vector with numbers that are not finite", guard="topics")
    return [value / length for value in vector] if length else [0.0] * len(vector)


def _nearest(
    passage: Segment, vector: list[float], examples: Sequence[tuple[str, list[float]]]
) -> tuple[Segment, str, float]:
    cosine, topic = max((sum(map(operator.mul, vector, example)), topic) for topic, example in examples)
    return passage, topic, cosine
