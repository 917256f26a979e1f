"""Whatever stands where an option belongs, an object is built or a ConfigurationError says what to write."""

import contextlib
import inspect
import math

import pytest

from llmops_sdk import Router, Scripted, routers
from llmops_sdk.engines import Cached, MemoryStore, Semantic, SQLiteStore
from llmops_sdk.engines.redis import RedisStore
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.routers.redis import RedisLimits

NOWHERE = "redis://127.0.0.1:1"
ALWAYS = {
    Router: lambda: ([Scripted("a")],),
    routers.Leg: lambda: (Scripted("a"),),
    Cached: lambda: (Scripted("a"),),
    SQLiteStore: lambda: (":memory:",),
    RedisStore: lambda: (NOWHERE,),
    RedisLimits: lambda: (NOWHERE,),
}
NEEDED = {Semantic: {"embedder": Scripted("a"), "threshold": 0.9}, routers.Limit: {"concurrent": 1}}
CLASSES = [
    *ALWAYS, *NEEDED, MemoryStore, routers.Hedge, routers.Breaker, routers.Retries, routers.Adaptive, routers.Latency,
    routers.PrefixAffinity, routers.Cascade, routers.EngineModel, routers.Traffic,
]  # fmt: skip
OPTIONS = [
    (cls, one.name)
    for cls in CLASSES
    for one in inspect.signature(cls.__init__).parameters.values()
    if one.kind is one.KEYWORD_ONLY
]


@pytest.mark.parametrize(("cls", "option"), OPTIONS, ids=lambda one: getattr(one, "__name__", one))
@pytest.mark.parametrize("given", ["x", b"x", True, -1, math.nan, math.inf, [], {}, ...], ids=repr)
def test_an_option_is_taken_or_refused_with_words(cls, option, given, tmp_path):
    always = (str(tmp_path / "answers.db"),) if cls is SQLiteStore else ALWAYS.get(cls, tuple)()
    with contextlib.suppress(ConfigurationError):
        cls(*always, **{**NEEDED.get(cls, {}), option: given})
