"""A metric of this library that gives other scores than before has another revision, and so another version.

Kept scores are found again by the version, in which the code of this library's classes does not count.
"""

import hashlib
import inspect
import json

import pytest

import llmops_sdk
from llmops_sdk import Scripted, guards
from llmops_sdk.evaluation import Case, metrics
from llmops_sdk.messages import Choice, Response, ToolCall

TEXTS = [
    ("Paris", "Paris"), (" paris. ", ["Paris", "Paname"]), ("It is Paris, the capital.", "the Capital"), ("", "x"),
    ("The dog bit the man.", ["The dog had bit the man.", "A man was bitten"]),
    ("stra\u00dfe e\u0301", "STRASSE \u00e9"),
    ("It costs $1,299.50, or 20%.", "1299.5"), ("Minus \u22124e-1", -0.4), ("yes and no", "yes"),
    ("No!", ["no", "yes"]),
    ('So: ```json\n{"name": "Ada", "born": 1815.0}\n```', {"name": "Ada", "born": 1815}),
    ('{"a": 1, "a": NaN}', "a"),
]  # fmt: skip
CALLS = [
    ToolCall(id="1", name="weather", arguments='{"city": "Paris", "unit": "C"}'),
    ToolCall(id="2", name="clock", arguments="{}"),
]
KEPT = {
    metrics.Exact(): (1, "da8c1094"),
    metrics.Exact(case=False, space="collapse", unicode="NFKC", punctuation=False, articles=False): (1, "83ad6211"),
    metrics.Contains(case=False): (1, "ef24dd92"),
    metrics.ContainsAll(): (1, "16d784cf"),
    metrics.StartsWith(): (1, "e056b989"),
    metrics.Regex("(?i)paris"): (1, "e71aafa2"),
    metrics.Numeric(): (1, "9a4eb84e"),
    metrics.EditDistance(): (1, "aff24d4c"),
    metrics.EditSimilarity(): (1, "374ccc7a"),
    metrics.TokenF1(): (1, "6a20b594"),
    metrics.BLEU(): (1, "c2eeced2"),
    metrics.ChrF(): (1, "e90f339d"),
    metrics.ROUGE("rouge1"): (1, "eaa28117"),
    metrics.ROUGE("rougeL"): (1, "eaa28117"),
    metrics.ROUGE("rougeLsum", stem=True): (1, "eaa28117"),
    metrics.Classification(["yes", "no"]): (1, "b50c7896"),
    metrics.JSONValid(wrapped=True): (1, "ebeac2fc"),
    metrics.JSONValid(): (1, "a7d8f7d8"),
    metrics.FieldsEqual(): (1, "3ccd6554"),
    metrics.ToolCalls(arguments="contain"): (1, "78d98115"),
    metrics.ToolCalls(): (1, "67b67a35"),
}


def scores(metric):
    """All that it says of the texts, and of two calls of tools."""
    tools = Scripted(Response(choices=(Choice(text="", tool_calls=tuple(CALLS)),)))
    pairs = [(Scripted(answer), expected) for answer, expected in TEXTS]
    pairs += [(tools, [{"name": "weather", "arguments": {"city": "Paris"}}, "clock"]), (tools, [])]
    for engine, expected in pairs:
        try:
            said = metric(Case(input="?", expected=expected), ("?" | engine).run())
        except llmops_sdk.errors.LlmopsError as error:
            yield type(error).__name__
            continue
        assert not inspect.isawaitable(said)
        found = metrics.scores_of(metric, said)[metric.name]
        yield [None if found.value is None else round(found.value, 6), found.label, found.details.get("problem")]


@pytest.mark.parametrize("metric", KEPT, ids=lambda one: type(one).__name__)
def test_other_scores_need_another_revision(metric):
    found = metric.revision, hashlib.sha256(json.dumps(list(scores(metric))).encode()).hexdigest()[:8]
    assert found == KEPT[metric], (
        f"{type(metric).__name__} gives other scores than it did: if that is meant, raise its `revision`, put it here"
    )


def test_the_revision_is_part_of_the_version():
    class Later(metrics.Exact):
        revision = 2

    Later.__module__, Later.__qualname__ = metrics.Exact.__module__, "Exact"
    assert Later().configuration() == metrics.Exact().configuration()
    assert Later().version != metrics.Exact().version


def test_rules_of_guards_count_by_the_version_of_the_library_unless_they_may_be_paid_for(monkeypatch):
    judge = guards.Judge(Scripted("NO"), "Is it rude?")
    made = [metrics.Refused(), metrics.GuardMetric(guards.PII()), metrics.GuardMetric(judge), metrics.Exact()]
    before = [one.version for one in made]
    monkeypatch.setattr(llmops_sdk, "__version__", "99")
    after = [one.version for one in made]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True, True]
