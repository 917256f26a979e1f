"""What a router or a cache does in a run is seen in each of the dialects."""

import json

import pytest

from llmops_sdk import tracing
from llmops_sdk.calls import CacheAnswered, Call, Escalated, Hedged, LimitsDegraded, LimitWaited

T = 5.0
SEEN = {
    Hedged(T, "cloud", 0.25): (
        "llmops.hedged",
        {"llmops.engine": "cloud", "llmops.hedge.after_s": 0.25},
        ("hedge → cloud", "no answer for 0.25 s"),
        {"event": "hedged", "engine": "cloud", "after": 0.25},
    ),
    Escalated(T, "small", "not sure enough"): (
        "llmops.escalated",
        {"llmops.engine": "small", "llmops.escalation.reason": "not sure enough"},
        ("escalate from small", "not sure enough"),
        {"event": "escalated", "engine": "small", "reason": "not sure enough"},
    ),
    LimitWaited(T - 0.5, T, "60 requests per minute"): (
        "llmops.limit_waited",
        {"llmops.limit": "60 requests per minute", "llmops.limit.waited_s": 0.5},
        ("wait for a limit", "60 requests per minute"),
        {"event": "limit_waited", "limit": "60 requests per minute"},
    ),
    LimitsDegraded(T, "redis", "fail_open", ConnectionError("my address")): (
        "llmops.limits_degraded",
        {"llmops.limit.store": "redis", "llmops.limit.policy": "fail_open", "error.type": "ConnectionError"},
        ("limits of redis away", "each process for itself"),
        {"event": "limits_degraded", "store": "redis", "policy": "fail_open"},
    ),
    CacheAnswered(T, "cloud", "exact", 12.0): (
        "llmops.cache_answered",
        {"llmops.engine": "cloud", "llmops.cache.how": "exact", "llmops.cache.age_s": 12.0},
        ("cache · cloud", "the same was asked before"),
        {"event": "cache_answered", "engine": "cloud", "how": "exact", "age": 12.0},
    ),
}


@pytest.mark.parametrize("event", SEEN, ids=lambda event: type(event).__name__)
def test_an_event_is_seen_in_every_dialect(event, runs, provider, exporter, named):
    name, attributes, (step, result), written = SEEN[event]
    call = runs.record(Call(hooks=(tracing.OpenTelemetry(provider),), clock=lambda: T), event)

    (seen,) = named(exporter.get_finished_spans(), "invoke_workflow").events
    assert (seen.name, dict(seen.attributes)) == (name, attributes)
    (explained,) = tracing.explain(call).steps
    assert (explained.name, explained.result) == (step, result)
    (kept,) = [
        one for one in json.loads(json.dumps(tracing.to_json(call)))["events"] if one["event"] == written["event"]
    ]
    assert written.items() <= kept.items()
    assert "my address" not in str(tracing.explain(call))
