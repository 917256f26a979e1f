"""What judges and panels have in common: answers are shown to them, and people's labels calibrate them."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Self

from llmops_sdk import loops
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._judges.asking import answer_of
from llmops_sdk.evaluation._judges.calibration import Calibration
from llmops_sdk.evaluation._judges.labels import PREFERENCES, Labelled, judged_labels
from llmops_sdk.evaluation._judges.scale import Scale
from llmops_sdk.evaluation.metrics import Metric, Score
from llmops_sdk.pipelines import Result, configuration_hash

__all__ = ["Assessor"]

_CONCURRENCY = 16


class Assessor(Metric):
    """A metric that shows answers to models.

    Attributes:
        scale: The grades.
        unpinned: What of it has no form that another process could compare, with the reason.
    """

    scale: Scale
    unpinned: tuple[str, ...] = ()

    async def __call__(self, case: Case, /, *results: Result) -> Score:
        """Judge the answer, or the base's and the other one's."""
        return await self.assess(case, *map(answer_of, results))

    @abstractmethod
    async def assess(self, case: Case, /, *answers: str) -> Score:
        """Judge an answer to `case`; pairwise: the base's and the other one's.

        Raises:
            JudgementError: No grade came of it, also where the judge could not be asked; with what was paid.
            ClosedError: Its engine was closed.
        """

    @property
    @abstractmethod
    def identity(self) -> Any:
        """All that its judgements depend on, as plain values."""

    @property
    def version(self) -> str:
        """Changes with the model, the prompt, the rubric, the scale: whatever its judgements depend on."""
        return configuration_hash(self.identity)[:16]

    def calibrate(
        self, labels: Iterable[Case | Mapping[str, Any]], /, *, concurrency: int = _CONCURRENCY
    ) -> Calibration:
        """`acalibrate`, for code without an event loop."""
        return loops.run_sync(lambda: self.acalibrate(labels, concurrency=concurrency), method="calibrate()")

    async def acalibrate(
        self, labels: Iterable[Case | Mapping[str, Any]], /, *, concurrency: int = _CONCURRENCY
    ) -> Calibration:
        """Judge answers that people have judged, and see how far the two agree.

        Args:
            labels: Answers with people's labels: mappings with `input`, `answer` (pairwise: `base_answer` and
                `new_answer`), `label` (a grade of the scale; for pass and fail also `True` and `False`; pairwise
                `"base"`, `"new"` or `"tie"`), and, where known, `expected`, `id`, `cluster`. Or cases (a `Dataset`)
                with the answers and the label in their `metadata`.
            concurrency: How many are judged at once, `>= 1`.

        Raises:
            DatasetError: There are no labels, or one cannot be read; `row` is its number, from 1.
            JudgementError: Not one of the answers could be judged.
        """
        read = [Labelled.of(given, row, self.scale, pairwise=self.pairwise) for row, given in enumerate(labels, 1)]
        pairs, failed, cost = await judged_labels(self.assess, read, concurrency)
        return Calibration(
            judge=self.name,
            version=self.version,
            bounds=self.bounds,
            grades=PREFERENCES if self.pairwise else {str(one): value for one, value in self.scale.values.items()},
            pairs=tuple(pairs),
            failed=tuple(failed),
            cost_usd=cost,
        )

    def calibrated(self, calibration: Calibration, /) -> Self:
        """The same judge, with what is known of its errors: experiments then show corrected scores beside its own.

        Raises:
            ConfigurationError: The calibration is of another judge (model, prompt, rubric, scale), or nothing can be
                corrected by it.
        """
        if calibration.version != self.version:
            raise ConfigurationError(
                f"the calibration is of the version {calibration.version} of {calibration.judge!r}, and this judge is "
                f"{self.version}: its model, prompt, rubric or scale has changed; calibrate it again"
            )
        if calibration.refusal is not None:
            raise ConfigurationError(calibration.refusal)
        made = copy.copy(self)
        made.calibration = calibration
        return made
