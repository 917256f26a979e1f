"""`Judge`: a model that reads a text and says whether it may pass."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, Self, Unpack

from llmops_sdk.calls import ASKER
from llmops_sdk.costs import recorded_aside, time_left
from llmops_sdk.errors import ConfigurationError, InvalidResponseError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._judge.engine import ask, read_by_guards, require_engine, said_before
from llmops_sdk.guards._judge.formats import (
    LLAMA_GUARD_CATEGORIES,
    QWEN3_GUARD_CATEGORIES,
    Format,
    GraniteGuardian,
    LlamaGuard,
    Moderates,
    Moderation,
    Qwen3Guard,
    ShieldGemma,
)
from llmops_sdk.guards._judge.rubric import AnswerForm, Judgement, Rubric
from llmops_sdk.guards._segments import Cutter, Segment, SegmentGuard
from llmops_sdk.loops import gather
from llmops_sdk.protocols import EngineLike, GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["Judge", "JudgeOptions"]

_AT_ONCE = 8
"""How many pieces of one text are judged at the same time."""


class JudgeOptions(GuardOptions, total=False):
    """What every judge takes besides its engine and its format; see `Judge`."""

    threshold: float
    action: Literal["block", "flag"]
    by: Literal["text", "sentence"]
    longest: int
    timeout_s: float | None


class Judge(SegmentGuard):
    """Has an engine judge each text, by a rubric in plain words or in the format of a model trained to judge.

    `Judge(engine, "...")` asks any model. `Judge.llama_guard`, `.shield_gemma`, `.granite_guardian`, `.qwen3_guard` and
    `.moderation` are for those models and for OpenAI's moderation endpoint. An answer that is no judgement is an error
    of the guard, so `on_error` decides, and that is to block unless you say otherwise.

    Engine calls run within the deadline and the budget of the run, and are paid from it. After the engine the judge
    sees the user's last message beside the answer. Messages of the application's own (origin `"system"`) are judged
    where untrusted text stands in them.

    Args:
        engine: Any engine; it is not closed by the guard.
        rubric: What is not allowed, in plain words; or a `Format` of your own.
        answer: How a rubric is answered. `"json"`: structured output with the model's own confidence. `"word"`: YES or
            NO, for engines without structured output; the score is the probability of the word where the engine
            reports log-probabilities, and 0 or 1 elsewhere.
        threshold: Score from which on the guard acts, `0 < threshold <= 1`.
        action: `"block"` (the default), or `"flag"`.
        by: `"text"` (the default): whole texts, in pieces of at most `longest` characters; a stream waits for its end.
            `"sentence"`: each sentence by itself, so that streams flow; a judge that sees single sentences misses what
            only several of them say.
        longest: Most characters of a piece; 8,000 for whole texts, 600 for sentences.
        timeout_s: Seconds for one question; `None` for no limit but the run's deadline.
        options: See `GuardOptions`. `overlap=True` lets the engine of the pipeline begin in the meantime.

    Example:
        >>> from llmops_sdk.engines import Scripted
        >>> engine = Scripted('{"violation": true, "confidence": 90}')
        >>> judge = Judge(engine, "The text gives medical advice.")
        >>> import asyncio
        >>> asyncio.run(judge.acheck("Take two of these a day.")).action
        'block'
    """

    blocking = False
    threshold: float = 0.5

    def __init__(
        self,
        engine: EngineLike | Moderates,
        rubric: str | Format | Moderation,
        *,
        answer: AnswerForm = "json",
        threshold: float = 0.5,
        action: Literal["block", "flag"] = "block",
        by: Literal["text", "sentence"] = "text",
        longest: int | None = None,
        timeout_s: float | None = 30.0,
        **options: Unpack[GuardOptions],
    ) -> None:
        if by not in {"text", "sentence"}:
            raise ConfigurationError(f"by={by!r} is neither 'text' nor 'sentence'")
        if longest is None:
            longest = 8000 if by == "text" else 600
        super().__init__(longest=longest, shortest=longest if by == "text" else 1, **options)
        if not 0 < threshold <= 1:
            raise ConfigurationError(f"threshold={threshold!r} is not in 0 < threshold <= 1")
        if action not in {"block", "flag"}:
            raise ConfigurationError(f"action={action!r} is neither 'block' nor 'flag'")
        if answer not in {"json", "word"}:
            raise ConfigurationError(f"answer={answer!r} is neither 'json' nor 'word'")
        if isinstance(rubric, str) and not rubric.strip():
            raise ConfigurationError("the rubric is empty: say in words what is not allowed")
        if timeout_s is not None and timeout_s <= 0:
            raise ConfigurationError(f"timeout_s={timeout_s!r} is not above 0")
        require_engine(engine, "amoderate" if isinstance(rubric, Moderation) else "agenerate")
        self._engine: Any = engine
        self._format: Format | Moderation = Rubric(rubric, answer) if isinstance(rubric, str) else rubric
        self._action = action
        self._timeout_s = timeout_s
        self.threshold = threshold
        if by == "text":
            self.window = None

    @classmethod
    def llama_guard(
        cls,
        engine: EngineLike,
        *,
        categories: Mapping[str, str] | None = None,
        prompt: Literal["model", "written"] = "model",
        logprobs: bool = False,
        **options: Unpack[JudgeOptions],
    ) -> Self:
        """Llama Guard 3 or 4.

        Args:
            engine: An engine with that model.
            categories: What counts, by key (`{"S1": "Violent Crimes"}`); `None`: all fourteen.
            prompt: Who writes the prompt around the conversation: the `"model"`'s own chat template (vLLM, SGLang,
                Ollama), or it is `"written"` here, for an endpoint with a plain chat template or for categories of
                your own.
            logprobs: Whether to ask for log-probabilities, so that scores have degrees.
            options: See `Judge`.

        Raises:
            ConfigurationError: Categories that the model's template does not know need `prompt="written"`.
        """
        wanted = dict(LLAMA_GUARD_CATEGORIES if categories is None else categories)
        if not wanted:
            raise ConfigurationError("`categories` is empty: nothing would ever count")
        if prompt == "model" and not wanted.items() <= LLAMA_GUARD_CATEGORIES.items():
            raise ConfigurationError("categories of your own need `prompt='written'`: the model's template has its own")
        return cls(engine, LlamaGuard(wanted, written=prompt == "written", logprobs=logprobs), **options)

    @classmethod
    def shield_gemma(
        cls,
        engine: EngineLike,
        *,
        policy: str = "dangerous_content",
        prompt: Literal["model", "written"] = "model",
        **options: Unpack[JudgeOptions],
    ) -> Self:
        """ShieldGemma; the score is the probability of "Yes".

        Args:
            engine: An engine with that model.
            policy: `"dangerous_content"`, `"harassment"`, `"hate_speech"`, `"sexual_content"`, or a policy in words.
                The model answers for one policy at a time; several are several judges.
            prompt: See `llama_guard`; the model's own template is given the policy as `guideline`.
            options: See `Judge`.
        """
        return cls(engine, ShieldGemma(policy, written=prompt == "written"), **options)

    @classmethod
    def granite_guardian(
        cls,
        engine: EngineLike,
        *,
        risk: str = "harm",
        definition: str | None = None,
        **options: Unpack[JudgeOptions],
    ) -> Self:
        """Granite Guardian 3.0 to 3.3, by the model's own chat template.

        Args:
            engine: An engine with that model.
            risk: A risk that the model knows: `"harm"`, `"jailbreak"`, `"violence"`, `"profanity"`, ...
            definition: A risk of your own, in words.
            options: See `Judge`.
        """
        return cls(engine, GraniteGuardian(risk, definition), **options)

    @classmethod
    def qwen3_guard(
        cls, engine: EngineLike, *, categories: Sequence[str] = QWEN3_GUARD_CATEGORIES, **options: Unpack[JudgeOptions]
    ) -> Self:
        """Qwen3Guard-Gen, by the model's own chat template. What it calls controversial scores 0.5.

        Args:
            engine: An engine with that model.
            categories: What counts, by the model's own names.
            options: See `Judge`.

        Raises:
            ConfigurationError: The model knows no such category.
        """
        unknown = [one for one in categories if one not in QWEN3_GUARD_CATEGORIES]
        if unknown or not categories:
            raise ConfigurationError(f"no categories {unknown}; there are {', '.join(QWEN3_GUARD_CATEGORIES)}")
        return cls(engine, Qwen3Guard(categories), **options)

    @classmethod
    def moderation(
        cls, engine: Moderates, *, categories: Sequence[str] | None = None, **options: Unpack[JudgeOptions]
    ) -> Self:
        """OpenAI's moderation endpoint. A threshold of 0.5 is the endpoint's own decision.

        Args:
            engine: `Engine.open("openai:omni-moderation-latest")`, or any object with `amoderate`.
            categories: What counts, by the endpoint's names (`"violence"`, `"self-harm/intent"`, ...); `None`: all.
            options: See `Judge`.
        """
        return cls(engine, Moderation(categories), **options)

    async def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Have the whole text judged."""
        decided = super().check(text, context)
        return await decided if inspect.isawaitable(decided) else decided

    async def rate(self, text: str, context: GuardContext | None = None, /) -> float:
        """The highest score of the text's pieces."""
        if not read_by_guards(context):
            return 0.0
        segments = Cutter(*self._cut).feed(text, final=True)
        judged = await self._judge_pieces(segments, context, stop_at=None)
        return max((judgement.score for judgement in judged), default=0.0)

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream, sentence by sentence; `None` where it judges whole texts."""
        return None if self.window is None else super().open_stream(context)

    def judge_all(
        self, segments: Sequence[Segment], context: GuardContext | None, /
    ) -> Sequence[Verdict] | Awaitable[Sequence[Verdict]]:
        """Have the pieces judged, some at a time, up to the first one that is blocked."""
        return self._verdicts(segments, context)

    async def _verdicts(self, segments: Sequence[Segment], context: GuardContext | None) -> Sequence[Verdict]:
        if not read_by_guards(context):
            return [ALLOW] * len(segments)
        stop_at = self.threshold if self._action == "block" else None
        judged = await self._judge_pieces(segments, context, stop_at=stop_at)
        return [self._verdict(segment.text, one) for segment, one in zip(segments, judged, strict=False)]

    async def _judge_pieces(
        self, segments: Sequence[Segment], context: GuardContext | None, *, stop_at: float | None
    ) -> list[Judgement]:
        judged: list[Judgement] = []
        for start in range(0, len(segments), _AT_ONCE):
            some = [self._judgement(segment.text, context) for segment in segments[start : start + _AT_ONCE]]
            judged += [await some[0]] if len(some) == 1 else await gather(some)
            if stop_at is not None and any(one.score >= stop_at for one in judged):
                break
        return judged

    async def _judgement(self, text: str, context: GuardContext | None) -> Judgement:
        if not text.strip():
            return Judgement(0.0)
        if isinstance(self._format, Moderation):
            return await self._moderated(self._format, text, context)
        after_engine = context is not None and context.stage == "output"
        stage = "output" if after_engine else "input"
        before = said_before(text, context, 1) if after_engine else []
        request = self._format.request(text, before, stage=stage)
        return self._format.read(await ask(self._engine, request, context, asker=self.name, timeout_s=self._timeout_s))

    async def _moderated(self, form: Moderation, text: str, context: GuardContext | None) -> Judgement:
        call = context.call if context is not None else None
        asked = text.encode("utf-8", "replace").decode("utf-8")
        with recorded_aside(call, ASKER.get() or self.name, self._engine, asked, operation="moderation"):
            async with asyncio.timeout(time_left(call, self._timeout_s)):
                said = await self._engine.amoderate([asked])
        if len(said) != 1:
            raise InvalidResponseError(f"{len(said)} moderations came for one text", engine=self._engine.name)
        return form.read(said[0])

    def _verdict(self, text: str, judged: Judgement) -> Verdict:
        if judged.score < self.threshold:
            return ALLOW
        rule = self._format.name
        found = [
            Finding(kind=kind, start=0, end=len(text), score=judged.score, rule=rule)
            for kind in judged.kinds or ("violation",)
        ]
        reason = f"judged by {rule} to be a violation" + (f": {', '.join(judged.kinds)}" if judged.kinds else "")
        return Verdict.flag(reason, found) if self._action == "flag" else Verdict.block(reason, found)
