"""`Calibration`: how far a judge agrees with people, and scores with its errors taken out."""

from __future__ import annotations

import functools
import html
import importlib
import json
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmops_sdk.errors import DatasetError

if TYPE_CHECKING:
    from llmops_sdk.evaluation.statistics import Comparison, Corrected, Labelled, Share
    from llmops_sdk.evaluation.statistics import Scores as CaseScores

__all__ = ["Calibration", "Failed", "Pair"]

_FORMAT = 1


class Pair(NamedTuple):
    """An answer that people and the judge have judged.

    Attributes:
        case: Id of its case.
        human: What people's label is worth.
        judged: What the judge's grade is worth.
        cluster: The cluster of its case.
    """

    case: str
    human: float
    judged: float
    cluster: str | None


class Failed(NamedTuple):
    """An answer that the judge could not judge.

    Attributes:
        case: Id of its case.
        error: Why.
    """

    case: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far a judge agrees with people. Made by `judge.calibrate(labels)`; `print` it for the figures.

    It belongs to one version of the judge (model, prompt, rubric, scale), and to answers like those that were labelled.

    Attributes:
        judge: Name of the judge.
        version: Its version.
        bounds: Smallest and largest value of the scale.
        grades: Grade -> value.
        pairs: What people and the judge have said of the same answers, in the order of the labels.
        failed: Answers that the judge could not judge: left out, and counted.
        cost_usd: What the judgements cost; `None` where that is not known.
    """

    judge: str
    version: str
    bounds: tuple[float, float]
    grades: Mapping[str, float]
    pairs: tuple[Pair, ...]
    failed: tuple[Failed, ...] = ()
    cost_usd: Decimal | None = None

    @property
    def sensitivity(self) -> Share | None:
        """How often the judge passes what people pass, with its 95 % interval; `None` for grades."""
        return self._labelled(0.95).sensitivity

    @property
    def specificity(self) -> Share | None:
        """How often the judge fails what people fail, with its 95 % interval; `None` for grades."""
        return self._labelled(0.95).specificity

    @property
    def slope(self) -> tuple[float, float, float]:
        """By how much the judge's mean moves where people's moves by 1, and the ends of its 95 % interval.

        For pass and fail it is `sensitivity + specificity - 1`. 1 is a judge without errors, 0 one that sees nothing.
        """
        found = self._labelled(0.95)
        return found.slope, found.slope_low, found.slope_high

    @property
    def kappa(self) -> float:
        """Cohen's kappa, weighted by squared distance for pass and fail the plain one; `nan` where nothing varies."""
        return float(_statistics().cohen_kappa([one.human for one in self.pairs], [one.judged for one in self.pairs]))

    @property
    def refusal(self) -> str | None:
        """Why nothing can be corrected by it, in words; `None` where something can."""
        return self._labelled(0.95).refusal

    @property
    def confusion(self) -> Mapping[tuple[str, str], int]:
        """People's grade and the judge's (the nearest one, where several votes were averaged) -> how many answers."""
        return Counter((self._grade(one.human), self._grade(one.judged)) for one in self.pairs)

    def difference(
        self,
        base: CaseScores,
        new: CaseScores,
        /,
        *,
        clusters: Mapping[Any, Hashable] | None = None,
        level: float = 0.95,
    ) -> Corrected:
        """The difference of two pipelines as people would have judged it; see `statistics.corrected_difference`.

        Raises:
            ConfigurationError: Nothing can be corrected (`refusal`), or no case has both scores.
        """
        found: Corrected = _statistics().corrected_difference(
            base, new, self._labelled(level), clusters=clusters, bounds=self.bounds
        )
        return found

    def mean(
        self, scores: CaseScores, /, *, clusters: Mapping[Any, Hashable] | None = None, level: float = 0.95
    ) -> Corrected:
        """The mean score of one pipeline as people would have judged it; see `statistics.corrected_mean`.

        Raises:
            ConfigurationError: Nothing can be corrected (`refusal`).
        """
        found: Corrected = _statistics().corrected_mean(
            scores, self._labelled(level), clusters=clusters, bounds=self.bounds
        )
        return found

    def comparison(self, comparison: Comparison, /, *, pairwise: bool = False) -> Corrected:
        """What a comparison by this judge would have found by people; see `statistics.corrected_comparison`.

        Raises:
            ConfigurationError: Nothing can be corrected (`refusal`).
        """
        found: Corrected = _statistics().corrected_comparison(
            comparison, self._labelled(comparison.level), bounds=self.bounds, pairwise=pairwise
        )
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain values; `from_json` reads it."""
        plain = asdict(self) | {"format": _FORMAT, "cost_usd": None if self.cost_usd is None else str(self.cost_usd)}
        return plain | {"pairs": [list(one) for one in self.pairs], "failed": [list(one) for one in self.failed]}

    @classmethod
    def from_json(cls, given: Mapping[str, Any], /) -> Calibration:
        """The calibration that `to_json` wrote.

        Raises:
            DatasetError: It is none.
        """
        try:
            fields = dict(given)
            if fields.pop("format") != _FORMAT:
                raise DatasetError(f"a calibration of the format {given['format']!r}; this version reads {_FORMAT}")
            cost = fields["cost_usd"]
            return cls(
                **fields
                | {
                    "bounds": tuple(fields["bounds"]),
                    "pairs": tuple(Pair(*one) for one in fields["pairs"]),
                    "failed": tuple(Failed(*one) for one in fields["failed"]),
                    "cost_usd": None if cost is None else Decimal(cost),
                }
            )
        except (LookupError, TypeError, ValueError, ArithmeticError) as exc:
            if isinstance(exc, DatasetError):
                raise
            raise DatasetError(f"this is no calibration: {type(exc).__name__}: {exc}") from exc

    def save(self, path: Path | str, /) -> None:
        """Write it to a file (JSON), for `load`. It holds no answers, only the ids of their cases and the grades."""
        Path(path).write_text(json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str, /) -> Calibration:
        """The calibration that `save` wrote.

        Raises:
            DatasetError: The file holds none.
            OSError: It cannot be read.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (DatasetError, ValueError) as exc:
            raise DatasetError(f"{path}: {exc}", path=str(path)) from exc

    def table(self) -> list[list[str]]:
        """The confusion matrix: a row for each grade of people, a column for each of the judge; heads first."""
        names, counts = list(self.grades), self.confusion
        rows = [[name, *(str(counts.get((name, said), 0)) for said in names)] for name in names]
        return [["people \\ judge", *names], *rows]

    def __str__(self) -> str:
        rows = self.table()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([*self._figures(), *lines])

    def __repr__(self) -> str:
        return f"<Calibration of {self.judge!r} {self.version} by {len(self.pairs)} labels>"

    def _repr_html_(self) -> str:
        heads, *rows = [[html.escape(cell) for cell in row] for row in self.table()]
        head = "".join(f"<th>{cell}</th>" for cell in heads)
        body = "".join(f"<tr><th>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows)
        figures = "<br>".join(map(html.escape, self._figures()))
        return f"<p>{figures}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _figures(self) -> list[str]:
        failed = f", {len(self.failed)} could not be judged" if self.failed else ""
        cost = "" if self.cost_usd is None else f", {self.cost_usd:f} USD"
        lines = [f"{self.judge} {self.version} against people: {len(self.pairs)} answers{failed}{cost}"]
        for name, share in (("sensitivity", self.sensitivity), ("specificity", self.specificity)):
            if share is not None and share.of:
                lines.append(
                    f"{name} {share.value:.3f} (95% interval {share.low:.3f} to {share.high:.3f}; "
                    f"{share.hits} of {share.of})"
                )
        if self.sensitivity is None:
            slope, low, high = self.slope
            lines.append(f"slope on people's grades {slope:.3f} (95% interval {low:.3f} to {high:.3f})")
        lines.append(f"Cohen's kappa {self.kappa:.3f}")
        return lines if self.refusal is None else [*lines, self.refusal]

    def _grade(self, value: float) -> str:
        return min(self.grades, key=lambda grade: abs(self.grades[grade] - value))

    def _labelled(self, level: float) -> Labelled:
        return _labelled(self.pairs, level, graded=set(self.grades.values()) != {0.0, 1.0})


@functools.lru_cache(maxsize=64)
def _labelled(pairs: tuple[Pair, ...], level: float, *, graded: bool) -> Labelled:
    found: Labelled = _statistics().labelled(
        [one.human for one in pairs],
        [one.judged for one in pairs],
        clusters=[one.cluster for one in pairs],
        level=level,
        graded=graded,
    )
    return found


def _statistics() -> Any:
    return importlib.import_module("llmops_sdk.evaluation.statistics")
