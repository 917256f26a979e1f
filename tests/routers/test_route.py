"""A router says what it would do, and does nothing."""

import io

import pytest
from rich.console import Console

from llmops_sdk import errors
from llmops_sdk.calls import Call
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Classification, Request
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers import Cascade, Latency, Leg, Route, Router
from llmops_sdk.routers._strategies import STRATEGIES

TOOLS = Request(messages=Request.of("hello").messages, tools=({"type": "function", "function": {"name": "f"}},))


def engines(count):
    return [Scripted(str(i), name=f"e{i}") for i in range(count)]


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
async def test_looking_sends_nothing_and_changes_nothing(strategy):
    looked, other = Router(engines(5), strategy=strategy), Router(engines(5), strategy=strategy)
    if strategy == "latency":
        looked, other = (Router(engines(1), strategy=strategy) for _ in range(2))
    answers = []
    for _ in range(7):
        looked.route("hello")
        looked.route(TOOLS)
        answers.append([(await router.agenerate(Request.of("hello"))).text for router in (looked, other)])
    assert all(one == another for one, another in answers)
    assert sum(len(engine.requests) for engine in looked.engines) == 7


def test_looking_records_nothing_in_the_run():
    call = Call()
    Router(engines(2)).route(Request.of("hello").bound_to(call))
    assert call.events == []


def test_route_is_what_is_done_next():
    router = Router(engines(3), strategy="round_robin")
    for _ in range(4):
        assert router.route("hello").order[0].engine == f"e{router.generate('hello').text}"


def test_route_prints_well():
    blind = Leg(Scripted("a", name="no tools here"), capabilities=Capabilities(tools=False))
    route = Router([blind, Leg(Scripted("a", name="b"), weight=2)], strategy="weighted").route(TOOLS)
    assert str(route) == ("  1  b              weight 2\n  -  no tools here  not asked: it has no tools")
    console = Console(file=io.StringIO(), width=80)
    console.print(route)
    shown = console.file.getvalue()
    assert "not asked: it has no tools" in shown
    assert str(Route(order=())) == ""


def test_route_leaves_out_engines_without_room():
    router = Router(engines(3), strategy="priority")

    class Full:
        def refusal(self, leg, request, call):
            return "10 of 10 requests in flight" if leg.name == "e0" else None

    object.__setattr__(router._table, "gate", Full())
    route = router.route("hello")
    assert [one.engine for one in route.order] == ["e1", "e2"]
    assert route.refused == (("e0", "10 of 10 requests in flight"),)


def test_own_object_of_a_strategy_is_taken():
    strategy = Latency(seed=1)
    assert Router(engines(2), strategy=strategy)._table.strategy is strategy
    assert Router(engines(2), strategy=Cascade(by="price")).route("hello").order[0].reason.startswith("the price of")


# Embeddings and classes


class Embeds(Engine):
    def __init__(self, name, answer, model="m"):
        self.name, self.model, self._answer = name, model, answer
        self.asked = 0

    async def agenerate(self, request):
        raise errors.UnsupportedError("embeds only")

    async def aembed(self, texts):
        self.asked += 1
        if isinstance(self._answer, Exception):
            raise self._answer
        return [self._answer] * len(texts)

    async def aclassify(self, texts):
        return [Classification(label=self.name, score=1.0, scores={self.name: 1.0})] * len(texts)


async def test_first_engine_that_embeds_is_asked():
    router = Router([Scripted("a"), Embeds("gone", errors.NotFoundError("no such path")), Embeds("b", [1.0])])
    assert await router.aembed(["x", "y"]) == [[1.0], [1.0]]
    assert [one.label for one in await router.aclassify(["x"])] == ["gone"]


async def test_only_an_engine_of_the_same_model_stands_in():
    down = Embeds("a", errors.ServerError("down"))
    other, same = Embeds("b", [2.0], model="another"), Embeds("c", [1.0])
    assert await Router([down, other, same]).aembed(["x"]) == [[1.0]]
    assert other.asked == 0
    with pytest.raises(errors.AllEnginesFailed, match="another model than 'm'") as failed:
        await Router([down, other]).aembed(["x"])
    assert [attempt.engine for attempt in failed.value.attempts] == ["a"]


async def test_nobody_embeds():
    with pytest.raises(errors.UnsupportedError, match=r"no engine of the router can `aembed`.*scripted"):
        await Router([Scripted("a"), Scripted("b")]).aembed(["x"])
