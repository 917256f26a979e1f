"""What a test is given of a case that was evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_sdk.pipelines import Result, result_of

if TYPE_CHECKING:
    from llmops_sdk.evaluation import Case, Experiment

__all__ = ["Evaluated"]

_LABEL = "worktree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A case, and what the pipeline made of it: what the fixture `evaluated` gives.

    Attributes:
        case: The case.
        texts: The answers of all repeats; the refusal where a run was blocked.
        scores: Name of a score -> its mean over the repeats; without those that do not apply to the case.
        explanations: Name of a score -> what its metric said of the first answer.
        errors: What failed: runs, and metrics with their tracebacks.
        records: The runs that did not fail, as JSON.
    """

    case: Case
    texts: tuple[str, ...]
    scores: Mapping[str, float]
    explanations: Mapping[str, str]
    errors: tuple[str, ...]
    records: tuple[Mapping[str, Any], ...] = field(repr=False)

    @property
    def text(self) -> str:
        """The first answer; empty where every run failed."""
        return self.texts[0] if self.texts else ""

    @property
    def results(self) -> tuple[Result, ...]:
        """The results of the runs that did not fail."""
        return tuple(result_of(one, resumed=True) for one in self.records)

    @classmethod
    def of(cls, experiment: Experiment, case: str) -> Evaluated:
        """What an experiment knows of a case."""
        answers = experiment.case(case)
        cells = answers.cells[_LABEL]
        values: dict[str, list[float]] = {}
        explanations: dict[str, str] = {}
        errors = [one.error for one in cells if one.error is not None]
        for one in (score for cell in cells for score in cell.scores):
            if one.error is not None:
                errors.append(one.error)
            elif one.score.value is not None:
                values.setdefault(one.name, []).append(one.score.value)
                if one.score.explanation:
                    explanations.setdefault(one.name, one.score.explanation)
        worked = [one for one in cells if one.error is None]
        return cls(
            case=answers.case,
            texts=tuple(one.text for one in worked),
            scores={name: sum(found) / len(found) for name, found in values.items()},
            explanations=explanations,
            errors=tuple(errors) if cells else ("it was not run",),
            records=tuple(one.record for one in worked),
        )

    def __str__(self) -> str:
        lines = [f"asked:    {self.case.input}"]
        if self.case.expected is not None:
            lines.append(f"expected: {self.case.expected}")
        lines += [f"answered: {text}" for text in self.texts]
        for name, score in self.scores.items():
            why = f" ({self.explanations[name]})" if name in self.explanations else ""
            lines.append(f"{name}: {score:g}{why}")
        return "\n".join([*lines, *(f"failed: {one}" for one in self.errors)])
