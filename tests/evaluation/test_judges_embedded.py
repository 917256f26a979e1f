"""The embedded model as a judge: its grades are poor, and often none; the machinery counts."""

import pytest

from llmops_sdk import Engine
from llmops_sdk.errors import JudgementError
from llmops_sdk.evaluation import Case, Judge, PairwiseJudge, Panel

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]

QUESTION = "What is the capital of France?"
LABELS = [
    {"input": QUESTION, "answer": answer, "label": answer == "Paris.", "id": str(place)}
    for place, answer in enumerate(["Paris.", "A banana."] * 2)
]


async def values(judge, *answers):
    """What it says, or that it says nothing: a small model's reason may run on until its tokens are spent."""
    try:
        return {(await judge.assess(Case(input=QUESTION), *answers)).value}
    except JudgementError:
        return set()


async def test_the_embedded_model_judges_by_every_kind_of_judge_and_is_calibrated():
    async with Engine.open("embedded:", cpu_threads=1, kv_cache_gib=0.25, progress=False) as engine:
        judge = Judge(engine, "The answer is right.", scale="pass/fail", max_tokens=120)
        found = await judge.acalibrate(LABELS)
        assert len(found.pairs) + len(found.failed) == len(LABELS)
        assert all("JudgementError" in one.error for one in found.failed)
        assert {one.judged for one in found.pairs} <= {0.0, 1.0}
        assert "people \\ judge" in str(found)
        pairwise = PairwiseJudge(engine, "The shorter answer is better.", max_tokens=120)
        assert await values(pairwise, "Paris.", "It is Paris, of course.") <= {-1.0, 0.0, 1.0}
        panel = Panel([judge, Judge(engine, "It names a town.", scale="pass/fail", name="town", max_tokens=120)])
        assert await values(panel, "Paris.") <= {0.0, 1.0}
