"""The plan of an experiment: which pipelines, which metrics, how often; and the keys of what is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._fingerprints import fingerprint_of
from llmops_sdk.evaluation.metrics import Metric
from llmops_sdk.pipelines import Pipeline, configuration_hash
from llmops_sdk.prompts import Split

__all__ = ["Arm", "MetricPlan", "Plan", "arms_of", "pair_key", "plans_of", "run_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the pipelines that are compared.

    Attributes:
        label: What the experiment calls it.
        pipeline: It, with its prompts as they were at the start.
        fingerprint: Hash of all that its answers depend on: prompt, models and their settings, adapters, guards.
        unpinned: What of it has no form that another process could compare, with the reason.
    """

    label: str
    pipeline: Pipeline
    fingerprint: str
    unpinned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPlan:
    """What is kept of a metric beside its scores, so that an experiment can be read without it.

    Attributes:
        calibration: What a calibrated judge knows of its errors, as `Calibration.to_json` gives it.
    """

    name: str
    version: str
    higher_is_better: bool
    bounds: tuple[float, float]
    unit: str
    pairwise: bool
    kind: str = ""
    about: str = ""
    calibration: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, one: Metric, *, version: str) -> MetricPlan:
        """That of a metric."""
        said = {each.name: getattr(one, each.name) for each in dataclasses.fields(cls) if each.name != "version"}
        said["calibration"] = None if one.calibration is None else one.calibration.to_json()
        return cls(**said, version=version)

    @property
    def key(self) -> bytes:
        """16 bytes: its name and version."""
        return _digest(self.name, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that decides what an experiment finds.

    Attributes:
        base: Label of the pipeline that the others are compared with.
        arms: Label -> fingerprint, in the order in which they are shown.
        metrics: The metrics.
        repeats: Runs of each case by each pipeline.
        dataset: Hash of the cases.
        sequential: Whether cases are asked in an order that has nothing to do with what is in them, until it is clear.
        unpinned: Label -> what of the pipeline has no form that another process could compare; no part of `id`.
    """

    base: str
    arms: Mapping[str, str]
    metrics: tuple[MetricPlan, ...]
    repeats: int
    dataset: str
    sequential: bool = False
    unpinned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """32 hexadecimal digits: the same plan is the same experiment, which goes on where it was."""
        arms = json.dumps([self.base, dict(self.arms), self.repeats, self.dataset, self.sequential])
        return _digest(arms, *(one.key.hex() for one in self.metrics)).hex()

    def to_text(self) -> str:
        """As JSON, which has no infinity: a bound that is none is `null`. `from_text` reads it."""
        said = dataclasses.asdict(self)
        for one in said["metrics"]:
            one["bounds"] = [bound if math.isfinite(bound) else None for bound in one["bounds"]]
        return json.dumps(said, allow_nan=False)

    @classmethod
    def from_text(cls, text: str, /) -> Plan:
        """The plan that `to_text` wrote."""
        said = json.loads(text)
        metrics = tuple(MetricPlan(**{**one, "bounds": _bounds(*one["bounds"])}) for one in said["metrics"])
        unpinned = {label: tuple(reasons) for label, reasons in said["unpinned"].items()}
        return cls(**{**said, "metrics": metrics, "unpinned": unpinned})


def _bounds(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low, math.inf if high is None else high


def run_key(arm: Arm, case: Case, content: str, repeat: int) -> bytes:
    """16 bytes for what a run's answer depends on; `content` is the case's hash."""
    return _digest(arm.fingerprint, case.id, content, str(repeat))


def pair_key(base: bytes, other: bytes) -> bytes:
    """16 bytes for two runs that are compared with each other."""
    return hashlib.blake2b(base + other, digest_size=16).digest()


def plans_of(metrics: Sequence[Metric], *, kept: bool) -> tuple[MetricPlan, ...]:
    """What is kept of the metrics.

    Args:
        metrics: The metrics.
        kept: Whether the file outlives the experiment: then each metric needs a version that another process has, too.

    Raises:
        ConfigurationError: One has none.
    """
    return tuple(MetricPlan.of(one, version=_version(one, kept=kept)) for one in metrics)


def _version(one: Metric, *, kept: bool) -> str:
    try:
        return one.version
    except ConfigurationError as exc:
        if not kept:
            return uuid.uuid4().hex
        raise ConfigurationError(
            f"the metric {one.name!r} has no version by which its scores could be found again: {exc}; or give it a "
            "`version`, which you change when its scores may change: `metric(function, version='1')`"
        ) from exc


def arms_of(
    pipelines: Mapping[str, Any], *, versions: Mapping[str, str] | None, tags: Mapping[str, Any] | None
) -> tuple[Arm, ...]:
    """The pipelines with their fingerprints; of two that are equal the second is an arm of its own, and is run, too.

    Args:
        pipelines: Label -> pipeline.
        versions: Label -> what tells a pipeline from itself before a change that its configuration does not show.
        tags: The tags of the runs; splits may go by them.

    Raises:
        ConfigurationError: There is none, or one is no pipeline.
    """
    if not isinstance(pipelines, Mapping) or not pipelines:
        raise ConfigurationError('`pipelines` is a mapping of labels to pipelines: `{"base": a, "new": b}`')
    versions = {} if versions is None else versions
    strange = [label for label in versions if label not in pipelines]
    if strange:
        raise ConfigurationError(f"`versions` names {strange[0]!r}, which is none of {', '.join(map(repr, pipelines))}")
    equal: Counter[str] = Counter()
    arms = []
    for label, pipeline in pipelines.items():
        arm = _arm(label, pipeline, versions.get(label), tags)
        number = equal[arm.fingerprint]
        equal[arm.fingerprint] += 1
        arms.append(dataclasses.replace(arm, fingerprint=f"{arm.fingerprint}#{number}") if number else arm)
    return tuple(arms)


def _arm(label: Any, pipeline: Any, version: str | None, tags: Mapping[str, Any] | None) -> Arm:
    if not isinstance(label, str) or not label:
        raise ConfigurationError(f"a pipeline's label is a text, not {label!r}")
    if not isinstance(pipeline, Pipeline):
        raise ConfigurationError(f"{label!r} is no pipeline but {type(pipeline).__name__}: write `prompt | engine`")
    pipeline = pipeline.pinned()
    fingerprint, unpinned = fingerprint_of(pipeline)
    more: dict[str, Any] = {} if version is None else {"version": str(version)}
    if isinstance(pipeline.prompt, Split) and tags is not None and pipeline.prompt.key in tags:
        more["key"] = str(tags[pipeline.prompt.key])  # it decides which prompt is asked
    return Arm(
        label=label,
        pipeline=pipeline,
        fingerprint=configuration_hash([fingerprint, more]) if more else fingerprint,
        unpinned=() if version is not None else unpinned,
    )


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
