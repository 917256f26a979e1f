"""`ConfusionMatrix`: which classes were taken for which, and what follows for each of them."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmops_sdk.errors import EvaluationError
from llmops_sdk.evaluation.metrics._metric import Score

__all__ = ["ClassReport", "ConfusionMatrix"]

_NONE = "(none)"
_MOST_SHOWN = 20
"""Classes that are shown as a matrix; of more the table by class is shown alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """How well one class is found.

    Attributes:
        label: The class.
        precision: Of the answers that name it, the share that is right; `None` where no answer names it.
        recall: Of the cases that expect it, the share whose answer names it; `None` where no case expects it.
        f1: Their harmonic mean, 2 tp / (2 tp + fp + fn); `None` where neither a case nor an answer has the class.
        support: Cases that expect it.
    """

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionMatrix:
    """Which classes were taken for which.

    Attributes:
        labels: The classes that cases expect or answers name, sorted.
        counts: By expected class, then by what the answer named, in the order of `labels`, and last the number of
            answers that named no class: (len(labels), len(labels) + 1).

    Example:
        >>> matrix = ConfusionMatrix.of_pairs([("cat", "cat"), ("cat", "dog"), ("dog", "dog"), ("dog", None)])
        >>> matrix.accuracy, round(matrix.macro_f1, 3)
        (0.5, 0.583)
        >>> print(matrix)
        expected  cat  dog  (none)
        cat         1    1       0
        dog         0    1       1
        <BLANKLINE>
        class  precision  recall     f1  cases
        cat        1.000   0.500  0.667      2
        dog        0.500   0.500  0.500      2
        macro      0.750   0.500  0.583      4
        accuracy 0.500, balanced 0.500, kappa 0.200
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, scores: Iterable[Score]) -> ConfusionMatrix | None:
        """That of the scores of a `Classification`; `None` where it applied to no case."""
        pairs = [(score.details["expected"], score.label) for score in scores if "expected" in score.details]
        return cls.of_pairs(pairs) if pairs else None

    @classmethod
    def of_pairs(
        cls,
        pairs: Iterable[tuple[str, str | None]] | Mapping[tuple[str, str | None], int],
        *,
        labels: Sequence[str] = (),
    ) -> ConfusionMatrix:
        """That of pairs of what was expected and what was named, `None` for nothing.

        Args:
            pairs: The pairs, or how often there is each.
            labels: Classes that are listed in any case, and first, in this order.

        Raises:
            EvaluationError: There are no pairs.
        """
        counted: Counter[tuple[str, str | None]] = Counter(pairs)
        if not counted:
            raise EvaluationError("a confusion matrix needs at least one case")
        found = {label for pair in counted for label in pair if label is not None}
        names = tuple(dict.fromkeys((*labels, *sorted(found))))
        said = (*names, None)
        return cls(labels=names, counts=tuple(tuple(counted[row, column] for column in said) for row in names))

    @property
    def cases(self) -> int:
        """How many answers were counted."""
        return sum(map(sum, self.counts))

    @property
    def accuracy(self) -> float:
        """Share of answers that are right."""
        return self._right / self.cases

    @property
    def _right(self) -> int:
        return sum(row[place] for place, row in enumerate(self.counts))

    @property
    def classes(self) -> tuple[ClassReport, ...]:
        """Precision, recall and F1 of each class."""
        named = [sum(column) for column in zip(*self.counts, strict=True)]
        return tuple(self._report(place, sum(row), named[place]) for place, row in enumerate(self.counts))

    def _report(self, place: int, support: int, named: int) -> ClassReport:
        right = self.counts[place][place]
        return ClassReport(
            label=self.labels[place],
            precision=right / named if named else None,
            recall=right / support if support else None,
            f1=2 * right / (support + named) if support + named else None,
            support=support,
        )

    @property
    def macro_f1(self) -> float:
        """Mean of the classes' F1, each class counting alike; those that nobody expects or names do not count."""
        return _mean(one.f1 for one in self.classes)

    @property
    def weighted_f1(self) -> float:
        """Mean of the classes' F1, each counting by its cases."""
        return sum((one.f1 or 0.0) * one.support for one in self.classes) / self.cases

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the classes' recall: 1 / classes for guessing, however unequal the classes are."""
        return _mean(one.recall for one in self.classes)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (1960): agreement beyond chance, 1 at most; `None` where all is one and the same class."""
        named = [sum(column) for column in zip(*self.counts, strict=True)]
        chance = sum(sum(row) * named[place] for place, row in enumerate(self.counts)) / self.cases**2
        return None if chance == 1 else (self.accuracy - chance) / (1 - chance)

    def _rows(self) -> tuple[list[list[str]], list[list[str]]]:
        """The matrix and the table by class, as cells; the first rows are their heads."""
        matrix = [["expected", *self.labels, _NONE]]
        matrix += [[label, *map(str, row)] for label, row in zip(self.labels, self.counts, strict=True)]
        table = [["class", "precision", "recall", "f1", "cases"]]
        classes = self.classes
        table += [[one.label, *map(_shown, (one.precision, one.recall, one.f1)), str(one.support)] for one in classes]
        means = [_mean(one.precision for one in classes), self.balanced_accuracy, self.macro_f1]
        table.append(["macro", *map(_shown, means), str(self.cases)])
        return matrix if len(self.labels) <= _MOST_SHOWN else [], table

    def in_words(self) -> str:
        """What follows from it, in a line."""
        return (
            f"accuracy {_shown(self.accuracy)}, balanced {_shown(self.balanced_accuracy)}, kappa {_shown(self.kappa)}"
        )

    def __str__(self) -> str:
        matrix, table = self._rows()
        parts = [_aligned(matrix), ""] if matrix else []
        return "\n".join([*parts, _aligned(table), self.in_words()])

    def _repr_html_(self) -> str:
        matrix, table = self._rows()
        most = max(map(max, self.counts))
        parts = [_table(matrix, most), _table(table, 0)] if matrix else [_table(table, 0)]
        return "".join(parts) + f"<p>{html.escape(self.in_words())}</p>"


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    cut = [[cell if len(cell) <= 40 else cell[:39] + "…" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    lines = (
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in cut
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _table(rows: Sequence[Sequence[str]], most: int) -> str:
    """A table; with `most`, the greatest count, its cells are the darker the more they count."""

    def cell(text: str) -> str:
        shade = f" style='background:rgba(70,110,180,{int(text) / most * 0.6:.2f})'" if most else ""
        return f"<td{shade}>{html.escape(text)}</td>"

    head = "".join(f"<th>{html.escape(one)}</th>" for one in rows[0])
    body = "".join(f"<tr><th>{html.escape(row[0])}</th>{''.join(map(cell, row[1:]))}</tr>" for row in rows[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
