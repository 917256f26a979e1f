"""Judges: models that grade answers, how far they agree with people, and scores with their errors taken out."""

from __future__ import annotations

from llmops_sdk.evaluation._judges.calibration import Calibration
from llmops_sdk.evaluation._judges.judge import Judge
from llmops_sdk.evaluation._judges.pairwise import PairwiseJudge, PositionBias
from llmops_sdk.evaluation._judges.panel import Panel

__all__ = ["Calibration", "Judge", "PairwiseJudge", "Panel", "PositionBias"]
