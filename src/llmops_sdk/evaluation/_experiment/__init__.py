"""Experiments: what was found, compared and in words."""

from __future__ import annotations

from llmops_sdk.evaluation._experiment.analysis import Analysis
from llmops_sdk.evaluation._experiment.contrasts import Contrast
from llmops_sdk.evaluation._experiment.experiment import Experiment
from llmops_sdk.evaluation._experiment.opening import experiments_in

__all__ = ["Analysis", "Contrast", "Experiment", "experiments_in"]
