"""Functions as metrics, and what any metric may return."""

import asyncio
import functools
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from llmops_sdk import Scripted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation import Case, evaluate
from llmops_sdk.evaluation.metrics import Exact, Metric, Score, metric, metrics_of, scores_of

CASE = Case(input="?", expected="Yes.")
THRESHOLD = 3


@metric(bounds=(0, 1), unit="points")
def polite(case, result):
    return "please" in result.text


@metric(bounds=(0, 1))
async def slow(case, result):
    await asyncio.sleep(0)
    return 1


def long(case, result):
    return len(result.text) > THRESHOLD


def logged(function):
    @functools.wraps(function)
    def wrapper(case, result):
        return function(case, result)

    return wrapper


class Longer:
    def __init__(self, than):
        self.than = than

    def configuration(self):
        return {"than": self.than}

    async def __call__(self, case, result):
        return len(result.text) > self.than


def test_a_function_is_a_metric_with_its_name_and_options():
    assert (polite.name, polite.bounds, polite.unit) == ("polite", (0.0, 1.0), "points")
    (one,) = metrics_of([long])
    assert one.name == "long"
    assert metric(long, name="short", higher_is_better=False).higher_is_better is False
    assert metric(logged(long)).name == "long"


def test_what_may_wait_is_called_in_a_thread_and_what_awaits_is_not():
    assert metric(long).blocks
    assert not slow.blocks
    assert not metric(Longer(3), name="longer").blocks
    assert not metric(long, blocks=False).blocks


def test_the_version_follows_the_code_and_the_data_around_it(monkeypatch):
    first = metric(long).version
    assert metric(long).version == first
    assert metric(logged(long)).version != first
    monkeypatch.setitem(globals(), "THRESHOLD", 4)
    assert metric(long).version != first
    assert metric(Longer(3), name="a").version != metric(Longer(4), name="a").version
    assert metric(long, version=7).version == "7"
    assert metric(functools.partial(long), name="a").version != first


def test_a_function_without_a_source_needs_a_version():
    namespace = {"__name__": "elsewhere"}
    exec("def made(case, result): return 1", namespace)
    with pytest.raises(ConfigurationError, match="source of elsewhere:made is not there"):
        _ = metric(namespace["made"]).version
    assert metric(namespace["made"], version="1").version == "1"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metric(lambda case, result: 1), "has no name"),
        (lambda: metric(Longer(3)), "has no name"),
        (lambda: metric(3), "is no metric"),
        (lambda: metric(Exact), "is no metric"),
        (lambda: metric(long, bounds=(1, 0)), "the smallest and the largest"),
        (lambda: metric(long, bounds=1), "the smallest and the largest"),
        (lambda: metric(long, name=""), "has no name"),
        (lambda: metrics_of([Exact]), r"write `Exact\(\.\.\.\)`"),
        (lambda: metrics_of([Exact(), Exact()]), "two metrics are called 'exact'"),
        (lambda: metrics_of([Exact(name="a.b")]), "without a dot"),
        (lambda: metrics_of(["exact"]), "is no metric"),
    ],
)
def test_what_is_no_metric_is_refused_with_words(make, words):
    with pytest.raises(ConfigurationError, match=words):
        make()


def test_an_unknown_option_is_an_error():
    with pytest.raises(TypeError, match="high_is_better"):
        metric(long, high_is_better=False)


@pytest.mark.parametrize(
    ("said", "number"),
    [
        (True, 1.0), (0, 0.0), (0.25, 0.25), (np.bool_(True), 1.0), (np.float32(0.5), 0.5), (np.int64(3), 3.0),
        (np.array(2.0), 2.0), (Decimal("0.5"), 0.5), (Fraction(1, 2), 0.5), (None, None), (Score(value=True), 1.0),
        (Score(value=np.float64(2)), 2.0), (Score(label="a"), None),
    ],
)  # fmt: skip
def test_numbers_of_all_kinds_are_scores(said, number):
    score = scores_of(polite_anything(), said)["anything"]
    assert score.value == number
    assert type(score.value) in (float, type(None))


def polite_anything(**options):
    return metric(long, name="anything", **options)


@pytest.mark.parametrize(
    "said",
    [
        "0.5", "yes", 1j, float("nan"), float("inf"), np.nan, [1], (1, 2), np.array([1.0, 2.0]), {1: 2}, {"": 1}, {},
        {"a": {"b": 1}}, {str(number): 1 for number in range(101)}, Score(value="a"), Score(label=3),
        Score(explanation=b"a"), Score(details={"a": object()}), Score(details={"a": float("nan")}),
        Score(details=[1]), Score(cost_usd="much"), Score(cost_usd=Decimal("NaN")), Score(cost_usd=True),
        Score(cost_usd=-1), object(), int, 10**400,
    ],
    ids=lambda one: repr(one)[:30],
)  # fmt: skip
def test_what_is_no_score_is_an_error_that_names_the_metric(said):
    with pytest.raises(ConfigurationError, match="'anything'"):
        scores_of(polite_anything(), said)


def test_scores_beyond_the_bounds_are_errors():
    with pytest.raises(ConfigurationError, match=r"gave 2, which is no finite number from 0\.0 to 1\.0"):
        scores_of(polite, 2)


def test_a_mapping_gives_several_scores():
    scores = scores_of(polite_anything(), {"a": True, "b": None, "c": Score(value=2, label="x")})
    assert {name: one.value for name, one in scores.items()} == {"anything.a": 1, "anything.b": None, "anything.c": 2}
    assert scores["anything.c"].label == "x"


def test_details_and_costs_are_kept_as_plain_values():
    score = scores_of(polite_anything(), Score(value=1, details={"a": (1, 2)}, cost_usd=0.25))["anything"]
    assert score.details == {"a": [1, 2]}
    assert score.cost_usd == Decimal("0.25")
    assert scores_of(polite_anything(), Score(value=1, cost_usd=None))["anything"].cost_usd is None


def test_a_decorated_function_travels_between_processes(monkeypatch):
    import sys
    import types

    module = types.ModuleType("own_metrics")
    monkeypatch.setitem(sys.modules, "own_metrics", module)
    function = types.FunctionType(long.__code__, {}, "long")
    function.__module__, function.__qualname__ = "own_metrics", "long"
    module.long = metric(function)
    assert pickle.loads(pickle.dumps(module.long)) is module.long


def test_a_subclass_with_settings_of_its_own_has_their_version():
    class Own(Metric):
        name = "own"

        def __init__(self, most):
            self.most = most

        def configuration(self):
            return {"most": self.most}

        def __call__(self, case, result):
            return float(len(result.text) <= self.most)

    assert Own(3).version == Own(3).version != Own(4).version
    assert Own(4)(CASE, ("?" | Scripted("Yes.")).run()) == 1.0


def test_metrics_of_all_kinds_take_part_in_one_experiment(tmp_path):
    cases = [Case(input={"q": str(number)}, expected="Yes.", id=str(number)) for number in range(6)]
    experiment = evaluate(
        {"base": "{{ q }}" | Scripted("No."), "new": "{{ q }}" | Scripted("Yes.")},
        cases,
        metrics=[
            Exact(),
            polite,
            slow,
            metric(long, bounds=(0, 1)),
            metric(lambda case, result: {"a": 1, "b": None}, name="two", bounds=(0, 1)),
        ],
        store=tmp_path / "experiment.db",
    )
    found = {one.score: one for one in experiment.contrasts}
    assert found["exact"].comparison.difference == 1.0
    assert found["polite"].comparison.difference == 0.0
    assert {"slow", "long", "two.a"} <= found.keys()
