"""`Optimisation`: what was tried, what came of it, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from llmops_sdk.evaluation._experiment import Contrast, Experiment
from llmops_sdk.evaluation._optimising import showing
from llmops_sdk.evaluation._optimising.halving import Standing
from llmops_sdk.prompts import Prompt

if TYPE_CHECKING:
    from llmops_sdk.evaluation.statistics import Verdict

__all__ = ["Candidate", "Optimisation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A prompt that was tried, or a proposal that could not be.

    Attributes:
        label: What the experiments call it.
        kind: What of the prompt is another.
        prompt: It; `None` where it was refused.
        refused: Why it was not tried; `None` where it was.
        standing: How it stood on the largest number of cases that it was tried on; `None` where it was not tried.
    """

    label: str
    kind: Literal["instructions", "examples", "both"]
    prompt: Prompt | None = None
    refused: str | None = None
    standing: Standing | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Optimisation:
    """What `optimise` found. `print` it; notebooks show it as a table.

    Attributes:
        original: The prompt that was given.
        prompt: The one to use: the winner where it was judged better, else the original.
        verdict: Of the winner against the original, on cases that the search never saw. `"cannot tell"`, too, where
            nothing was judged: `why` says so.
        why: The outcome in words.
        winner: Label of the candidate that won the search; `None` where none did better than the original there.
        contrast: The judgement; `None` where there was none.
        candidates: All candidates, in the order in which they were made.
        experiment: The judgement's experiment, for reports; `None` where there was none.
        metric: Name of the score.
        train: Number of cases that demonstrations and proposals came from.
        trials: Number of cases that candidates were tried on.
        test: Number of cases that judge.
        left_out: Cases of the data set that took no part, since another part asks the same, or the prompt shows them.
        split: Hash of the cases that judge, 64 hexadecimal digits.
        rungs: Number of cases on each rung of the search.
        cost_usd: US dollars for all of it, whichever process paid, each run counted once; at least that where
            `unpriced`.
        budget_usd: What it was allowed to cost; `None` for no limit.
        unpriced: Whether some runs have cost what nobody knows.
        exhausted: What the budget did not reach for; `None` where it reached.
        commit: The commit that was made, 40 hexadecimal digits; `None` where none was.
        branch: The branch that it was made on.
        seed: The seed.
    """

    original: Prompt
    prompt: Prompt
    verdict: Verdict
    why: str
    winner: str | None
    contrast: Contrast | None
    candidates: tuple[Candidate, ...]
    experiment: Experiment | None
    metric: str
    train: int
    trials: int
    test: int
    left_out: int
    split: str
    rungs: tuple[int, ...]
    cost_usd: Decimal
    budget_usd: Decimal | None
    unpriced: bool
    exhausted: str | None
    seed: int
    commit: str | None = None
    branch: str | None = None

    @property
    def refused(self) -> tuple[Candidate, ...]:
        """Candidates that could not be tried."""
        return tuple(one for one in self.candidates if one.refused is not None)

    def __str__(self) -> str:
        return showing.text(self)

    def __repr__(self) -> str:
        return f"<Optimisation of {self.original.name!r}: {self.verdict}, {len(self.candidates)} candidates>"

    def _repr_html_(self) -> str:
        return showing.page(self)
