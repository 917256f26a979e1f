"""Statistics of paired experiments: is the difference more than noise?

`compare(base, new)` takes the scores of two pipelines on the same cases and says how much better the second is, with an
interval, a p-value, and a verdict in words. `adjusted` corrects many p-values; `compare_sequentially` and
`ConfidenceSequence` may be looked at after every case; `corrected_rate` takes a judge's known errors out of what it
says. Needs the extra `evaluation`.
"""

from __future__ import annotations

from llmops_sdk.evaluation.statistics._compare import compare
from llmops_sdk.evaluation.statistics._comparison import Comparison, Verdict
from llmops_sdk.evaluation.statistics._drop import Drop
from llmops_sdk.evaluation.statistics._judges import CorrectedRate, corrected_rate
from llmops_sdk.evaluation.statistics._many import adjusted
from llmops_sdk.evaluation.statistics._means import Mean, mean
from llmops_sdk.evaluation.statistics._paired import Paired, paired
from llmops_sdk.evaluation.statistics._sequence import ConfidenceSequence
from llmops_sdk.evaluation.statistics._sequential import compare_sequentially

__all__ = [
    "Comparison",
    "ConfidenceSequence",
    "CorrectedRate",
    "Drop",
    "Mean",
    "Paired",
    "Verdict",
    "adjusted",
    "compare",
    "compare_sequentially",
    "corrected_rate",
    "mean",
    "paired",
]
