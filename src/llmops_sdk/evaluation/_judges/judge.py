"""`Judge`: a model that grades answers by a rubric."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from llmops_sdk.costs import PriceTable
from llmops_sdk.errors import ConfigurationError, JudgementError, LlmopsError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._judges.asking import Asking, Judgement, shown
from llmops_sdk.evaluation._judges.assessor import Assessor
from llmops_sdk.evaluation._judges.scale import Scale, ScaleLike
from llmops_sdk.evaluation._judges.voting import Vote, decided, vote_of
from llmops_sdk.evaluation.metrics import Score
from llmops_sdk.prompts import Prompt
from llmops_sdk.protocols import EngineLike, Hook
from llmops_sdk.usage import total

__all__ = ["Judge"]

_MOST_VOTES = 99


class Judge(Assessor):
    """Has a model grade each answer by a rubric in plain words.

    The score is the grade's value from 0 to 1, its label the grade, its explanation the model's reason, and its cost
    that of the judgement. An answer of the judge that has no grade of the scale is asked for again once; then the cell
    has failed, and counts as that.

    Args:
        engine: Any engine or router; it is not closed.
        rubric: What a good answer is: "The answer is polite and solves the problem."
        scale: `(1, 5)`, the worst and the best grade; `"pass/fail"`; names from the worst to the best; or names with
            their values from 0 to 1.
        reference: Whether the judge sees `case.expected`; it says nothing of cases without one then.
        prompt: A prompt of your own, with the variable `answer`, and as wanted `input`, `expected`, `rubric` and
            `scale`; texts that are judged need a `fence`. It says itself what `temperature` and `max_tokens` are.
        votes: How often each answer is judged, `>= 1`; more than once needs a temperature over 0.
        vote: How several votes become one: `"majority"`, `"mean"` or `"median"`.
        name: Of its scores.
        temperature: Of the judge; `None` leaves it out, for models that take none.
        max_tokens: Most tokens of a judgement, with the reason.
        hooks: Called with every event of every judgement.
        prices: For the costs; by default those of a router, or the table that comes with the library.
        deadline_s: Seconds for one vote.
        budget_usd: US dollars for one vote.

    Raises:
        ConfigurationError: The rubric is empty, it is no scale, or the prompt cannot be used.

    Example:
        >>> from llmops_sdk.engines import Scripted
        >>> judge = Judge(Scripted('{"reason": "It is kind.", "grade": 4}'), "The answer is polite.")
        >>> result = ("Hello" | Scripted("Hi! How can I help?")).run()
        >>> score = asyncio.run(judge(Case(input="Hello"), result))
        >>> score.value, score.label, score.explanation
        (0.75, '4', 'It is kind.')
    """

    def __init__(
        self,
        engine: EngineLike,
        rubric: str,
        /,
        *,
        scale: ScaleLike = (1, 5),
        reference: bool = False,
        prompt: Prompt | None = None,
        votes: int = 1,
        vote: Vote = "majority",
        name: str = "judge",
        temperature: float | None = 0.0,
        max_tokens: int = 1_000,
        hooks: Iterable[Hook] = (),
        prices: PriceTable | None = None,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
    ) -> None:
        if isinstance(votes, bool) or not isinstance(votes, int) or not 1 <= votes <= _MOST_VOTES:
            raise ConfigurationError(f"`votes` is a whole number from 1 to {_MOST_VOTES}, not {votes!r}")
        self.name = name
        self.scale = Scale(scale)
        self.bounds = self.scale.bounds
        self._reference, self._votes, self._vote = reference, votes, vote_of(vote)
        self._asking = Asking(
            engine,
            role="You grade the answers of an assistant by this rubric:",
            material=("input", "expected", "answer") if reference else ("input", "answer"),
            scale=self.scale,
            rubric=rubric,
            prompt=prompt,
            name=name,
            temperature=temperature,
            max_tokens=max_tokens,
            hooks=hooks,
            prices=prices,
            deadline_s=deadline_s,
            budget_usd=budget_usd,
        )
        self.unpinned, self.about = self._asking.unpinned, self._asking.about
        if votes > 1 and self._asking.prompt.parameters.get("temperature") == 0:
            raise ConfigurationError(f"{votes} votes at temperature 0 are one: write `temperature=1`")

    @property
    def identity(self) -> Any:
        """All that its judgements depend on."""
        return ["judge", *self._asking.identity, self._reference, self._votes, self._vote]

    async def assess(self, case: Case, /, *answers: str) -> Score:
        """Judge an answer. See `Assessor.assess`."""
        (answer,) = answers
        if self._reference and case.expected is None:
            return Score()
        material = {"input": shown(case.input), "answer": answer}
        if self._reference:
            material["expected"] = shown(case.expected)
        asked = [self._asking.judge(material) for _ in range(self._votes)]
        if len(asked) == 1:
            return self._score([await asked[0]], [])
        said = await asyncio.gather(*asked, return_exceptions=True)
        failed = [one for one in said if isinstance(one, BaseException)]
        for one in failed:
            if not isinstance(one, LlmopsError):
                raise one
        given = [one for one in said if isinstance(one, Judgement)]
        if not given:
            raise JudgementError(f"all {len(said)} votes failed: {failed[0]}", cost_usd=total(map(_cost_of, failed)))
        return self._score(given, failed)

    def _score(self, given: list[Judgement], failed: list[BaseException]) -> Score:
        value = decided([one.value for one in given], self._vote)
        nearest = min(given, key=lambda one: abs(one.value - value))  # who decided so, and why
        details = {"grade": nearest.grade, "model": nearest.model, **self._asking.described, "version": self.version}
        if self._votes > 1:
            details |= {"votes": [one.grade for one in given], "failed": [str(one) for one in failed]}
        return Score(
            value=value,
            label=str(nearest.grade) if nearest.value == value else None,
            explanation=nearest.reason,
            details=details,
            cost_usd=total([*(one.cost_usd for one in given), *map(_cost_of, failed)]),
        )

    def __repr__(self) -> str:
        return f"<Judge {self.name!r} by {self._asking.engine!r}>"


def _cost_of(error: BaseException) -> Decimal | None:
    return getattr(error, "cost_usd", None)
