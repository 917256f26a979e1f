"""The plan of an experiment: which pipelines, which metrics, how often; and the keys of what is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._fingerprints import fingerprint_of
from llmops_sdk.evaluation.metrics import Metric
from llmops_sdk.pipelines import Pipeline

__all__ = ["Arm", "MetricPlan", "Plan", "arms_of", "pair_key", "run_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the pipelines that are compared.

    Attributes:
        label: What the experiment calls it.
        pipeline: It.
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
    calibration: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, one: Metric) -> MetricPlan:
        return cls(
            name=one.name,
            version=one.version,
            higher_is_better=one.higher_is_better,
            bounds=one.bounds,
            unit=one.unit,
            pairwise=one.pairwise,
            calibration=None if one.calibration is None else one.calibration.to_json(),
        )

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
    """

    base: str
    arms: Mapping[str, str]
    metrics: tuple[MetricPlan, ...]
    repeats: int
    dataset: str

    @property
    def id(self) -> str:
        """32 hexadecimal digits: the same plan is the same experiment, which goes on where it was."""
        arms = json.dumps([self.base, dict(self.arms), self.repeats, self.dataset])
        return _digest(arms, *(one.key.hex() for one in self.metrics)).hex()


def run_key(arm: Arm, case: Case, repeat: int) -> bytes:
    """16 bytes for what a run's answer depends on; the label is among it, so that two equal pipelines are run both."""
    return _digest(arm.label, arm.fingerprint, case.id, case.hash, str(repeat))


def pair_key(base: bytes, other: bytes) -> bytes:
    """16 bytes for two runs that are compared with each other."""
    return hashlib.blake2b(base + other, digest_size=16).digest()


def arms_of(pipelines: Mapping[str, Any]) -> tuple[Arm, ...]:
    """The pipelines with their fingerprints.

    Raises:
        ConfigurationError: There is none, or one is no pipeline.
    """
    if not isinstance(pipelines, Mapping) or not pipelines:
        raise ConfigurationError('`pipelines` is a mapping of labels to pipelines: `{"base": a, "new": b}`')
    return tuple(_arm(label, one) for label, one in pipelines.items())


def _arm(label: Any, pipeline: Any) -> Arm:
    if not isinstance(label, str) or not label:
        raise ConfigurationError(f"a pipeline's label is a text, not {label!r}")
    if not isinstance(pipeline, Pipeline):
        raise ConfigurationError(f"{label!r} is no pipeline but {type(pipeline).__name__}: write `prompt | engine`")
    fingerprint, unpinned = fingerprint_of(pipeline)
    return Arm(label=label, pipeline=pipeline, fingerprint=fingerprint, unpinned=unpinned)


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
