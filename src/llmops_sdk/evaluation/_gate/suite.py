"""`Suite`: what a pipeline is judged by, as an object in a file of yours, run at versions of its prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_sdk import loops
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets import Dataset
from llmops_sdk.evaluation._experiment import Experiment
from llmops_sdk.evaluation._gate.drops import Drop
from llmops_sdk.evaluation._gate.gating import gated, same
from llmops_sdk.evaluation._gate.limits import Limits
from llmops_sdk.evaluation._gate.result import GateResult
from llmops_sdk.evaluation._gate.versions import Build, Versions, name_of
from llmops_sdk.evaluation._running import aevaluate
from llmops_sdk.evaluation._running.plan import arms_of
from llmops_sdk.evaluation.metrics import MetricLike, metrics_of
from llmops_sdk.given import is_number
from llmops_sdk.pipelines import Pipeline

if TYPE_CHECKING:
    from llmops_sdk.prompts import PromptRepository

__all__ = ["Suite"]


class Suite:
    """Cases and metrics for a pipeline, and how much its scores may drop.

    Args:
        build: What is judged. A pipeline: at another version its prompt is exchanged for that of the version. A
            function without arguments that builds one: every prompt that is loaded in it is that of the version. A
            function of the version (a label, tag, branch or commit; `None` for the working tree) that builds the
            pipeline of it.
        dataset: The cases.
        metrics: What to score answers by.
        name: As reports and the command call it; and its name in a lock that holds several pipelines.
        repeats: Runs of each case at each version, `>= 1`.
        max_drop: How much scores may drop, where `gate` is not told: a number in the score's unit, a share of the
            base's mean such as `"1%"`, or a mapping of metrics to those. In a mapping, `"*"` stands for the metrics
            that are not named; without it, and where `None` stands, a metric is reported and takes no part.
        max_failures: Runs and metrics that may fail: a number of cells, or a share of all such as `"2%"`.
        margins: Metric -> difference that does not matter, for the verdicts of the experiment.
        level: Probability of intervals to cover the truth; by default 0.95.
        power: Probability with which "about so many more cases" are to tell; by default 0.8.
        store: The file that keeps runs and scores: what it has is not run again. By default none is kept.
        concurrency: How many runs are under way at once.
        budget_usd: US dollars that one experiment may spend.
        deadline_s: Seconds for each run.
        executor: Where to run: `"ray"`, as for `evaluate`.
        progress: Whether to show a progress bar; by default it is shown where there is a terminal.
        repository: Where prompts are; by default the git repository around the current folder.

    Attributes:
        name: See above.
        dataset: The cases.
        metrics: The metrics, functions made into some.
        limits: What may drop, and what may fail.
        options: What `evaluate` is told beside them.

    Raises:
        ConfigurationError: An option makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import metrics
        >>> cases = [Case(input={"sum": f"{n} + {n}"}, expected=str(2 * n)) for n in range(20)]
        >>> suite = Suite("{{ sum }}" | Scripted("4"), cases, [metrics.Exact()], name="sums", max_drop="1%")
        >>> suite
        <Suite 'sums': exact on 'sums'>
    """

    def __init__(
        self,
        build: Build,
        dataset: Dataset | Iterable[Case],
        metrics: Sequence[MetricLike],
        *,
        name: str = "suite",
        repeats: int = 1,
        max_drop: Drop | Mapping[str, Drop | None] | None = None,
        max_failures: int | str = 0,
        margins: Mapping[str, float] | None = None,
        level: float | None = None,
        power: float | None = None,
        store: str | Path | None = None,
        concurrency: int | None = None,
        budget_usd: Decimal | float | str | None = None,
        deadline_s: float | None = None,
        executor: Any = None,
        progress: bool | None = None,
        repository: PromptRepository | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"`name` is a text, not {name!r}")
        if not is_number(repeats) or not isinstance(repeats, int) or repeats < 1:
            raise ConfigurationError(f"`repeats` is 1 or more, not {repeats!r}")
        self.name = name
        self.dataset = dataset if isinstance(dataset, Dataset) else Dataset(dataset, name=name)
        self.metrics = metrics_of(metrics)
        if not self.metrics:
            raise ConfigurationError("a suite needs metrics: `[metrics.Exact()]`, or functions of a case and a result")
        self.limits = Limits.of(max_drop, max_failures, self.metrics)
        self._versions = Versions(build, repository=repository, locked_as=name)
        options = {
            "repeats": repeats,
            "margins": margins,
            "level": level,
            "power": power,
            "store": store,
            "concurrency": concurrency,
            "budget_usd": budget_usd,
            "deadline_s": deadline_s,
            "executor": executor,
            "progress": progress,
        }
        self.options = {option: value for option, value in options.items() if value is not None}

    def pipeline(self, version: str | None = None, /) -> Pipeline:
        """The pipeline at a version of its prompts.

        Args:
            version: A label, tag, branch or commit; a file `*.lock`; `None` for the working tree.

        Raises:
            ConfigurationError: It cannot be had at another version.
            PromptError: There is no such version, or no such prompt at it.
            LockError: There is no such lock, or more than prompts has changed since it was written.
        """
        return self._versions.at(version)

    async def arun(
        self, versions: Sequence[str | None] = (None,), /, *, dataset: Dataset | None = None, **options: Any
    ) -> Experiment:
        """`run`, for the event loop."""
        if isinstance(versions, str) or not versions:
            raise ConfigurationError(f"`versions` is a list, such as `['prod', None]`, not {versions!r}")
        pipelines = await loops.in_thread(lambda: {name_of(one): self.pipeline(one) for one in versions})
        return await self._evaluated(pipelines, dataset or self.dataset, options)

    def run(
        self, versions: Sequence[str | None] = (None,), /, *, dataset: Dataset | None = None, **options: Any
    ) -> Experiment:
        """Run the suite at versions of the prompts, without judging.

        Args:
            versions: Each as for `pipeline`; the first is the base of comparisons. By default the working tree alone.
            dataset: Other cases than those of the suite, such as some of them.
            options: Those of `evaluate`, in place of the suite's.

        Raises:
            ConfigurationError: A version cannot be had.
            LlmopsError: See `evaluate`.
        """
        return loops.run_sync(lambda: self.arun(versions, dataset=dataset, **options), method="run()")

    async def agate(
        self,
        against: str,
        *,
        candidate: str | None = None,
        max_drop: Drop | Mapping[str, Drop | None] | None = None,
        max_failures: int | str | None = None,
        **options: Any,
    ) -> GateResult:
        """`gate`, for the event loop."""
        limits = self.limits.but(max_drop, max_failures, self.metrics)
        limits.check_some(self.metrics)
        labels = name_of(against), name_of(candidate)
        if labels[0] == labels[1]:
            raise ConfigurationError(f"{labels[0]!r} cannot be compared with itself: name two versions")
        base = await loops.in_thread(lambda: self.pipeline(against))
        new = await loops.in_thread(lambda: self.pipeline(candidate))
        tags = options.get("tags")
        before, after = (arms_of({"it": one}, versions=None, tags=tags)[0] for one in (base, new))
        if before.fingerprint == after.fingerprint:
            await loops.in_thread(lambda: self._versions.check_differs(base, against, candidate))
            if not before.unpinned:
                return same(self.name, *labels)
        experiment = await self._evaluated(dict(zip(labels, (base, new), strict=True)), self.dataset, options)
        return await loops.in_thread(lambda: gated(self.name, experiment, self.metrics, limits, *labels))

    def gate(
        self,
        against: str,
        *,
        candidate: str | None = None,
        max_drop: Drop | Mapping[str, Drop | None] | None = None,
        max_failures: int | str | None = None,
        **options: Any,
    ) -> GateResult:
        """Whether a candidate is as good as a base, but for what it may drop.

        Args:
            against: The base, as for `pipeline`: what runs in production.
            candidate: What may take its place; by default the working tree.
            max_drop: As for the suite, in place of what that says; a mapping adds to it.
            max_failures: As for the suite, in place of what that says.
            options: Those of `evaluate`, in place of the suite's.

        Raises:
            ConfigurationError: Nothing says how much may drop, or a version cannot be had.
            LlmopsError: See `evaluate`.
        """
        return loops.run_sync(
            lambda: self.agate(against, candidate=candidate, max_drop=max_drop, max_failures=max_failures, **options),
            method="gate()",
        )

    async def _evaluated(
        self, pipelines: Mapping[str, Pipeline], dataset: Dataset, options: Mapping[str, Any]
    ) -> Experiment:
        given = self.options | {name: value for name, value in options.items() if value is not None}
        return await aevaluate(pipelines, dataset, self.metrics, name=self.name, **given)

    def __repr__(self) -> str:
        return f"<Suite {self.name!r}: {', '.join(one.name for one in self.metrics)} on {self.dataset.name!r}>"
