"""What people have said of answers, and what a judge says of the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmops_sdk import loops
from llmops_sdk.errors import ConfigurationError, DatasetError, JudgementError, LlmopsError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._judges.calibration import Failed, Pair
from llmops_sdk.evaluation._judges.scale import Scale
from llmops_sdk.evaluation.metrics import Score
from llmops_sdk.usage import total

__all__ = ["PREFERENCES", "Labelled", "judged_labels"]

PREFERENCES = {"base": -1.0, "tie": 0.0, "new": 1.0}
"""What people may say of two answers, and what it is worth."""
_OF_CASES = ("input", "expected", "id", "tags", "cluster", "metadata")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One answer, or two, with what people say.

    Attributes:
        case: What was asked.
        answers: The answer; pairwise: the base's and the other one's.
        value: What people's label is worth.
    """

    case: Case
    answers: tuple[str, ...]
    value: float

    @classmethod
    def of(cls, given: object, row: int, scale: Scale, *, pairwise: bool) -> Labelled:
        """Read one.

        Raises:
            DatasetError: Something is missing, or the label is not on the scale.
        """
        if isinstance(given, Case):
            case, said = given, given.metadata
        elif isinstance(given, Mapping) and "input" in given:
            case, said = Case(**{name: given[name] for name in _OF_CASES if name in given}), given
        else:
            raise DatasetError(f"the label {row} is no case and no mapping with `input`: {str(given)[:80]}", row=row)
        names = ("base_answer", "new_answer") if pairwise else ("answer",)
        missing = [name for name in (*names, "label") if said.get(name) is None]
        if missing:
            raise DatasetError(f"the label {row} has no {', '.join(map(repr, missing))}", row=row)
        try:
            value = _preference(said["label"]) if pairwise else scale.said(said["label"])
        except ConfigurationError as exc:
            raise DatasetError(f"the label {row}: {exc}", row=row) from exc
        return cls(case=case, answers=tuple(str(said[name]) for name in names), value=value)


def _preference(label: Any) -> float:
    value = PREFERENCES.get(label) if isinstance(label, str) else label
    if isinstance(value, bool) or value not in (-1, 0, 1):
        raise ConfigurationError(f"{label!r} is no preference: write 'base', 'new' or 'tie'")
    return float(value)


async def judged_labels(
    assess: Callable[..., Awaitable[Score]], labels: Sequence[Labelled], concurrency: int
) -> tuple[list[Pair], list[Failed], Decimal | None]:
    """What the judge says of the answers, in their order; what it could not judge; what all of it cost.

    Raises:
        DatasetError: There is none.
        JudgementError: None could be judged.
    """
    if not labels:
        raise DatasetError("there are no labels to calibrate by")
    if concurrency < 1:
        raise ConfigurationError(f"`concurrency` is {concurrency!r}; write at least 1")
    scores: dict[int, Score | LlmopsError] = {}
    waiting: Iterator[tuple[int, Labelled]] = iter(enumerate(labels))

    async def work() -> None:
        for place, one in waiting:
            try:
                scores[place] = await assess(one.case, *one.answers)
            except LlmopsError as exc:
                scores[place] = exc

    await loops.gather(work() for _ in range(concurrency))
    pairs, failed = [], []
    cost = total(getattr(score, "cost_usd", None) for score in scores.values())
    for place, one in enumerate(labels):
        score = scores[place]
        if isinstance(score, LlmopsError):
            failed.append(Failed(one.case.id, f"{type(score).__name__}: {score}"))
        elif score.value is None:
            failed.append(Failed(one.case.id, "does not apply: there is nothing expected to compare with"))
        else:
            pairs.append(Pair(one.case.id, one.value, score.value, one.case.cluster))
    if not pairs:
        raise JudgementError(f"not one of {len(labels)} answers could be judged: {failed[0].error}", cost_usd=cost)
    return pairs, failed, cost
