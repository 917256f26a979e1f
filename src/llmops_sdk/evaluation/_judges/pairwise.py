"""`PairwiseJudge`: a model that says which of two answers is better, asked in both orders."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmops_sdk import loops
from llmops_sdk.costs import PriceTable
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._judges.asking import Asking, shown
from llmops_sdk.evaluation._judges.assessor import Assessor
from llmops_sdk.evaluation._judges.scale import Scale
from llmops_sdk.evaluation.metrics import Score
from llmops_sdk.prompts import Prompt
from llmops_sdk.protocols import EngineLike, Hook
from llmops_sdk.usage import total

__all__ = ["PairwiseJudge", "PositionBias"]

_SHOWN = {"A": -1.0, "tie": 0.0, "B": 1.0}
"""What the judge says, and what that is worth where the base's answer is A."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionBias:
    """How much a judge goes by the place of an answer.

    Attributes:
        asked: Pairs that were asked for in both orders.
        disagreed: Pairs whose two judgements name different answers, or one names none: they count as ties.
        first: Pairs where the answer that stood first was preferred both times.
        second: Pairs where the one that stood second was.
        p_value: Of "neither place is preferred", two-sided and exact (sign test); 1 where none was.
    """

    asked: int
    disagreed: int
    first: int
    second: int
    p_value: float

    @property
    def share(self) -> float:
        """Share of the pairs that were judged by their place; `nan` without any."""
        return (self.first + self.second) / self.asked if self.asked else float("nan")

    def __str__(self) -> str:
        if not self.asked:
            return "no pair was asked for in both orders"
        return (
            f"{self.disagreed} of {self.asked} pairs are judged otherwise in the other order: {self.first} times the "
            f"first answer is preferred, {self.second} times the second (p = {self.p_value:.2g})"
        )


class PairwiseJudge(Assessor):
    """Has a model say which of two answers is better: 1 for the new one, -1 for the base's, 0 for a tie.

    Models like what stands first, or last. So each pair is asked for twice, the second time with the answers swapped;
    where the two judgements differ, it is a tie, and `position_bias` counts it.

    Args:
        engine: Any engine or router; it is not closed.
        criteria: What makes an answer the better one, in words.
        swap: Whether to ask in both orders. Without it the order is that of a coin for each case, so that neither
            pipeline gains, but the preference for a place is noise then.
        reference: Whether the judge sees `case.expected`; it says nothing of cases without one then.
        prompt: A prompt of your own, with the variables `answer_a` and `answer_b`, and as wanted `input`, `expected`,
            `rubric` (the criteria) and `scale`. See `Judge`.
        name: Of its scores.
        temperature: See `Judge`, as the others.
        max_tokens: For one judgement.
        hooks: Called with every event of every judgement.
        prices: For the costs.
        deadline_s: Seconds for one judgement.
        budget_usd: US dollars for one judgement.

    Raises:
        ConfigurationError: There are no criteria, or the prompt cannot be used.
    """

    pairwise = True

    def __init__(
        self,
        engine: EngineLike,
        criteria: str,
        /,
        *,
        swap: bool = True,
        reference: bool = False,
        prompt: Prompt | None = None,
        name: str = "preference",
        temperature: float | None = 0.0,
        max_tokens: int = 1_000,
        hooks: Iterable[Hook] = (),
        prices: PriceTable | None = None,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
    ) -> None:
        self.name = name
        self.bounds = (-1.0, 1.0)
        self.scale = Scale(_SHOWN, bounds=self.bounds)
        self._swap, self._reference = swap, reference
        context = ("input", "expected") if reference else ("input",)
        self._asking = Asking(
            engine,
            role=(
                "You compare two answers of assistants, A and B, and say which of them is better by these criteria; "
                "neither their order nor their length counts:"
            ),
            material=(*context, "answer_a", "answer_b"),
            scale=self.scale,
            rubric=criteria,
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

    @property
    def identity(self) -> Any:
        """All that its judgements depend on."""
        return ["pairwise judge", *self._asking.identity, self._reference, self._swap]

    async def assess(self, case: Case, /, *answers: str) -> Score:
        """Judge the base's answer and the new one. See `Assessor.assess`."""
        if self._reference and case.expected is None:
            return Score()
        base, new = answers
        material = {"input": shown(case.input)}
        if self._reference:
            material["expected"] = shown(case.expected)
        coin = int(case.hash[-1], 16) % 2 == 1
        orders = (False, True) if self._swap else (coin,)
        said = await loops.gather(
            self._asking.judge({**material, "answer_a": new if swapped else base, "answer_b": base if swapped else new})
            for swapped in orders
        )
        values = [-one.value if swapped else one.value for swapped, one in zip(orders, said, strict=True)]
        value = values[0] if len(set(values)) == 1 else 0.0
        first = [{"A": "first", "B": "second"}.get(str(one.grade), "tie") for one in said]
        details = {
            "judgements": [
                {"first": "new" if swapped else "base", "preferred": place, "reason": one.reason}
                for swapped, one, place in zip(orders, said, first, strict=True)
            ],
            "agree": len(set(values)) == 1,
            "model": said[0].model,
            **self._asking.described,
            "version": self.version,
        }
        return Score(
            value=value,
            label={-1.0: "base", 0.0: "tie", 1.0: "new"}[value],
            explanation="\n".join(dict.fromkeys(one.reason for one in said)),
            details=details,
            cost_usd=total(one.cost_usd for one in said),
        )

    @staticmethod
    def position_bias(scores: Iterable[Score], /) -> PositionBias:
        """How much the judge went by the place of the answers, from its scores."""
        pairs = [one.details["judgements"] for one in scores if len(one.details.get("judgements", ())) == 2]
        places = [(one["preferred"], other["preferred"]) for one, other in pairs]
        first, second = places.count(("first", "first")), places.count(("second", "second"))
        agreed = {("tie", "tie"), ("first", "second"), ("second", "first")}
        statistics: Any = importlib.import_module("llmops_sdk.evaluation.statistics")
        return PositionBias(
            asked=len(places),
            disagreed=sum(pair not in agreed for pair in places),
            first=first,
            second=second,
            p_value=statistics.sign_test(first, second),
        )

    def __repr__(self) -> str:
        return f"<PairwiseJudge {self.name!r} by {self._asking.engine!r}>"
