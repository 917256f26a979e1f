"""A router takes another table while it is at work: nothing is dropped, nothing is forgotten, nothing is left open."""

import asyncio
import contextlib
import copy
import dataclasses
import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmops_sdk.calls import Call
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.errors import ConfigurationError, LimitExceeded, ServerError
from llmops_sdk.messages import Choice, Request, Response
from llmops_sdk.routers import Breaker, Cascade, Leg, Limit, Router
from llmops_sdk.routers._runs import Runs
from llmops_sdk.routers.declaration import RouterSpec
from llmops_sdk.testing import FaultServer, Reply
from llmops_sdk.virtual_time import run_in_virtual_time

HELLO = Request.of("hello")


class Gated(Engine):
    """Answers when it may, and knows when it was closed."""

    def __init__(self, name):
        self.name = name
        self.asked = asyncio.Event()
        self.may = asyncio.Event()
        self.closed = threading.Event()

    async def agenerate(self, request):
        self.asked.set()
        await self.may.wait()
        assert not self.closed.is_set()
        return Response(choices=(Choice(text=self.name),), engine=self.name)

    async def aclose(self):
        self.closed.set()


def closed(engine):
    return asyncio.to_thread(engine.closed.wait, 10)


def declared(*servers, name="a", **options):
    engines = [
        {"open": server.url, "model": "test-model", "name": chr(ord(name) + i), **options}
        for i, server in enumerate(servers)
    ]
    return RouterSpec.model_validate({"engines": engines, "strategy": "priority"})


async def text(router):
    return (await router.agenerate(Request(messages=HELLO.messages, call=Call()))).text


# What changes, and what stays


async def test_new_requests_go_to_the_new_engines():
    router = Router([Scripted("old", name="old"), Scripted("both", name="both")], strategy="priority")
    reloaded = router.reload(Router([Scripted("new", name="new"), Scripted("both", name="both")], strategy="priority"))
    assert await text(router) == "new"
    assert (reloaded.added, reloaded.removed) == (("new",), ("old",))
    assert (reloaded.kept, reloaded.changed) == (("both",), ())
    assert reloaded.anything


async def test_the_same_engine_keeps_its_connection_and_all_that_was_learnt():
    with FaultServer("Hello") as server:
        router = declared(server).router()
        await text(router)
        leg = router.legs[0]
        learnt = leg.latency_s, leg.breaker, router.ledger.calls
        assert leg.latency_s > 0

        reloaded = router.reload(declared(server, weight=3, tags={"region": "eu"}))

        assert router.legs == (leg,)
        assert (leg.latency_s, leg.breaker, router.ledger.calls) == learnt
        assert (leg.weight, leg.tags) == (3.0, {"region": "eu"})
        assert (reloaded.changed, reloaded.kept) == (("a",), ())
        await text(router)
        assert server.open_connections == 1
        assert router.ledger.calls == 2
        await router.aclose()


@pytest.mark.parametrize(
    "change", [{"model": "another"}, {"options": {"read_timeout_s": 9}}, {"api_key_env": "MY_ONE"}]
)
async def test_an_engine_that_is_made_in_another_way_is_another_one(monkeypatch, change):
    monkeypatch.setenv("MY_ONE", "one-for-tests")
    with FaultServer("Hello") as server:
        router = declared(server).router()
        await text(router)
        engine = router.engines[0]
        reloaded = router.reload(declared(server, **change))
        assert router.engines[0] is not engine
        assert (reloaded.added, reloaded.removed) == (("a",), ("a",))
        await server.auntil(lambda: server.open_connections == 0)


async def test_a_new_value_of_a_key_makes_another_engine(monkeypatch):
    spec = RouterSpec.model_validate({"engines": [{"open": "openai:gpt-5-mini", "api_key_env": "MY_ONE"}]})
    monkeypatch.setenv("MY_ONE", "one-for-tests")
    router = spec.router()
    assert not router.reload(spec).anything
    monkeypatch.setenv("MY_ONE", "another-one-for-tests")
    assert router.reload(spec).removed == ("openai:gpt-5-mini",)


async def test_a_strategy_that_stays_keeps_its_state():
    three = [Scripted(name, name=name) for name in "abc"]
    router = Router(three, strategy="round_robin")
    assert [await text(router) for _ in range(2)] == ["a", "b"]
    router.reload(Router(three, strategy="round_robin", retries=5))
    assert await text(router) == "c"
    router.reload(Router(three, strategy="priority"))
    assert [await text(router) for _ in range(2)] == ["a", "a"]
    router.reload(Router(three, strategy={"name": "round_robin"}))
    assert [await text(router) for _ in range(2)] == ["a", "b"]


async def test_a_router_among_the_engines_is_reloaded_itself():
    def nested(*inner):
        return Router([Router([Scripted(name, name=name) for name in inner], name="inside"), Scripted("x", name="x")])

    router = nested("a", "b")
    inside, engine = router.engines[0], router.engines[0].engines[1]
    assert router.reload(nested("b", "c")).changed == ("inside",)
    assert router.engines[0] is inside
    assert [one.name for one in inside.engines] == ["b", "c"]
    assert inside.engines[0] is engine
    assert not router.reload(nested("b", "c")).anything


async def test_new_engines_book_to_the_same_ledger():
    router = Router([Scripted("old", name="old")])
    await text(router)
    router.reload(Router([Scripted("new", name="new")]))
    await text(router)
    assert router.ledger.calls == 2


async def test_an_engine_in_both_under_another_name_is_not_closed():
    engine = Gated("one")
    engine.may.set()
    router = Router([engine])
    engine.name = "two"
    router.reload(Router([engine]))
    assert await text(router) == "two"
    assert not engine.closed.is_set()


def with_judge(**options):
    judge = {"open": "http://judge/v1", "model": "m", "name": "judge", **options}
    engines = [{"open": "http://a/v1", "model": "m", "name": "a"}]
    return RouterSpec.model_validate({"engines": engines, "strategy": {"name": "cascade", "judge": judge}})


def test_a_judge_that_a_file_declares_in_the_same_way_stays():
    router = with_judge().router()
    (judge,) = router._table.strategy.legs
    router.reload(with_judge())
    assert router._table.strategy.legs == (judge,)
    router.reload(with_judge(model="better"))
    assert router._table.strategy.legs[0].engine.model == "better"


async def test_an_open_breaker_stays_open_unless_its_rules_have_changed():
    def declared(engine, **options):
        return Router([engine, Scripted("b", name="b")], strategy="priority", **options)

    engine = Scripted(ServerError("down"), name="a")
    router = declared(engine, breaker=Breaker(failures=1))
    assert await text(router) == "b"
    assert [one.engine for one in router.route("Hi").refused] == ["a"]
    router.reload(declared(engine, breaker=Breaker(failures=1), retries=7))
    assert [one.engine for one in router.route("Hi").refused] == ["a"]
    router.reload(declared(engine, breaker=Breaker(failures=2)))
    assert router.route("Hi").refused == ()


# What is wrong


async def test_what_is_wrong_changes_nothing(tmp_path):
    path = tmp_path / "router.yaml"
    router = Router([Scripted("old", name="old")], strategy="priority")
    before = router.legs
    for wrong in (
        "engines: []",
        "engines: [{open: 'opnai:x'}]",
        "engines: [{open: 'http://a/v1', model: m, name: x}, {open: 'http://a/v1', model: m, name: x}]",
    ):
        path.write_text(wrong)
        with pytest.raises(ConfigurationError, match=r"router.yaml:1:\d+: "):
            router.reload(path)
        assert router.legs is before
    with pytest.raises(ConfigurationError, match="its own place"):
        router.reload(router)
    assert await text(router) == "old"


# Copies


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
async def test_a_copy_is_a_router_of_its_own(copied):
    router = Router(
        [Leg(Scripted("a", name="a"), weight=2), Scripted("b", name="b")], strategy=Cascade(judge=Scripted("YES"))
    )
    one = copied(router)
    assert await text(one) == "a"
    assert (router.ledger.calls, one.ledger.calls) == (0, 2)
    assert one.legs[0].weight == 2
    assert not {*one.engines} & {*router.engines}
    router.reload(one)
    assert [leg.name for leg in copied(router).legs] == ["a", "b"]


def test_a_copy_is_what_the_router_is_now(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_ONE", "one-for-tests")
    path = tmp_path / "router.yaml"
    path.write_text("engines: [{open: 'http://a/v1', model: m, name: x}]\nretries: 4")
    router = Router.from_yaml(path)
    assert repr(pickle.loads(pickle.dumps(router))) == "<Router 'router' of 'x'>"

    path.write_text(
        "name: new\nstrategy: {name: round_robin}\n"
        "engines: [{open: 'http://a/v1', model: m, name: x, weight: 2}, {open: 'openai:y', api_key_env: MY_ONE}]"
    )
    router.reload(path)
    copy = pickle.loads(pickle.dumps(router))
    assert repr(copy) == "<Router 'new' of 'x', 'openai:y'>"
    assert copy.legs[0].weight == 2.0
    assert copy._table.strategy is not router._table.strategy
    assert type(copy._table.strategy) is type(router._table.strategy)
    assert not copy.reload(path).anything


# Runs that are under way


async def test_a_removed_engine_finishes_what_it_has_begun_and_is_closed_then():
    engine = Gated("old")
    router = Router([engine])
    run = asyncio.create_task(text(router))
    await engine.asked.wait()
    router.reload(Router([Scripted("new", name="new")]))
    assert await text(router) == "new"
    assert not engine.closed.is_set()
    engine.may.set()
    assert await run == "old"
    assert await closed(engine)


async def test_a_run_may_go_on_to_an_engine_that_was_removed_meanwhile():
    async def fails(request):
        first.asked.set()
        await first.may.wait()
        raise ServerError("down")

    first, spare = Gated("first"), Gated("spare")
    spare.may.set()
    first.agenerate = fails
    router = Router([first, spare], strategy="priority")
    run = asyncio.create_task(text(router))
    await first.asked.wait()
    router.reload(Router([Scripted("new", name="new")]))
    first.may.set()
    assert await run == "spare"
    assert await closed(spare)
    assert await closed(first)


async def test_an_engine_waits_for_the_runs_of_all_tables_that_had_it():
    engine = Gated("old")
    router = Router([engine], retries=0)
    run = asyncio.create_task(text(router))
    await engine.asked.wait()
    router.reload(Router([engine], retries=1))
    router.reload(Router([Scripted("new", name="new")]))
    assert await text(router) == "new"
    assert not engine.closed.is_set()
    engine.may.set()
    assert await run == "old"
    assert await closed(engine)


async def test_a_cancelled_run_holds_nothing_up():
    engine = Gated("old")
    router = Router([engine])
    run = asyncio.create_task(text(router))
    await engine.asked.wait()
    router.reload(Router([Scripted("new", name="new")]))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await closed(engine)


def test_a_hedge_goes_on_to_the_engine_that_was_removed_meanwhile():
    async def main():
        slow, spare = Scripted("late", delay_s=9, name="slow"), Scripted("old", name="spare")
        router = Router([slow, spare], strategy="priority", hedge=1)
        began = asyncio.get_running_loop().time()
        run = asyncio.create_task(router.agenerate(HELLO.bound_to(Call())))
        await asyncio.sleep(0.5)
        router.reload(Router([Scripted("new", name="new")]))
        assert await text(router) == "new"
        answer = await run
        return answer.text, asyncio.get_running_loop().time() - began

    assert run_in_virtual_time(main()) == ("old", pytest.approx(1))


async def test_who_waits_in_line_goes_by_the_new_limit_at_once_and_nobody_overtakes():
    engine = Gated("old")

    def declared(concurrent):
        return Router([Leg(engine, limits=Limit(concurrent=concurrent))])

    router = declared(1)
    first, second = (asyncio.create_task(text(router)) for _ in range(2))
    await engine.asked.wait()
    await asyncio.sleep(0)
    assert router.legs[0].in_flight == 1
    router.reload(declared(2))
    third = asyncio.create_task(text(router))
    for _ in range(5):
        await asyncio.sleep(0)
    assert router.legs[0].in_flight == 2  # who waited is through; who came later waits
    engine.may.set()
    assert await asyncio.gather(first, second, third) == ["old"] * 3
    assert router.legs[0].in_flight == 0
    assert not engine.closed.is_set()


async def test_a_run_that_a_reload_overtook_as_it_began_goes_by_the_new_table():
    class Overtaken(Runs):
        def add(self, run):
            router.reload(Router([Scripted("new", name="new")]))
            super().add(run)

    engine = Gated("old")
    router = Router([engine])
    router._table = dataclasses.replace(router._table, runs=Overtaken())
    assert await text(router) == "new"
    assert await closed(engine)
    assert not engine.asked.is_set()


async def test_embeddings_of_a_removed_engine_are_waited_for():
    class Embedding(Gated):
        async def aembed(self, texts):
            await self.agenerate(None)
            return [[1.0]]

    engine = Embedding("old")
    router = Router([engine])
    run = asyncio.create_task(router.aembed(["x"]))
    await engine.asked.wait()
    router.reload(Router([Scripted("new", name="new")]))
    assert not engine.closed.is_set()
    engine.may.set()
    assert await run == [[1.0]]
    assert await closed(engine)


async def test_the_judge_of_a_strategy_that_goes_is_closed_too():
    judge, engine = Gated("judge"), Scripted("x", name="x")
    router = Router([engine], strategy=Cascade(judge=judge))
    assert not router.reload(Router([engine], strategy="priority")).anything
    assert await closed(judge)
    other = Gated("other")
    router.reload(Router([engine], strategy=Cascade(judge=other)))
    assert router._table.strategy.legs[0].ledger is router.ledger
    await router.aclose()
    assert other.closed.is_set()


async def test_a_stream_goes_on_and_its_connection_is_closed_after_it():
    with FaultServer(Reply(chunks=("Hel", "lo ", "Ada"), chunk_delay_s=0.02)) as server, FaultServer("new") as other:
        router = declared(server).router()
        pieces = []
        async with contextlib.aclosing(router.astream(HELLO)) as chunks:
            async for chunk in chunks:
                if not pieces:
                    router.reload(declared(other, name="b"))
                    assert await text(router) == "new"
                    assert server.open_connections == 1
                pieces.append(chunk.text)
        assert "".join(pieces) == "Hello Ada"
        await server.auntil(lambda: server.open_connections == 0)
        assert other.open_connections == 1
        await router.aclose()


async def test_closing_the_router_closes_what_was_removed_before():
    engine = Gated("old")
    router = Router([engine])
    run = asyncio.create_task(text(router))
    await engine.asked.wait()
    router.reload(Router([Scripted("new", name="new")]))
    await router.aclose()
    assert engine.closed.is_set()
    run.cancel()


async def test_an_engine_that_cannot_be_closed_is_logged_and_holds_up_no_other(caplog):
    class Stuck(Engine):
        async def agenerate(self, request):
            return Response(choices=(Choice(text="x"),))

        async def aclose(self):
            raise OSError("no")

    engine = Gated("fine")
    router = Router([Stuck(), engine])
    with caplog.at_level(logging.ERROR, "llmops_sdk"):
        router.reload(Router([Scripted("new", name="new")]))
        assert await closed(engine)
        await router.aclose()
    assert "<Stuck 'stuck'>" in caplog.text


def test_requests_of_several_loops_are_all_answered_while_the_file_changes(tmp_path):
    """Each thread has a loop of its own; every reload takes an engine away and brings another."""
    path = tmp_path / "router.yaml"

    def write(first, second):
        path.write_text(
            "strategy: round_robin\nengines:\n"
            f"  - {{open: '{first.url}', model: m, name: stays}}\n"
            f"  - {{open: '{second.url}', model: m, name: comes}}\n"
        )

    async def ask(many):
        async def one():
            answers = [await text(router) for _ in range(5)]
            chunks = [chunk.text async for chunk in router.astream(Request(messages=HELLO.messages, call=Call()))]
            return [*answers, "".join(chunks)]

        return [answer for answers in await asyncio.gather(*(one() for _ in range(many))) for answer in answers]

    with FaultServer("Hello") as first, FaultServer("Hello") as second, FaultServer("Hello") as third:
        write(first, second)
        router = Router.from_yaml(path)
        stays = router.legs[0]
        with ThreadPoolExecutor(3) as pool:
            work = [pool.submit(asyncio.run, ask(40)) for _ in range(3)]
            for i in range(30):
                write(first, third if i % 2 == 0 else second)
                assert router.reload(path).kept == ("stays",)
            answers = [answer for done in work for answer in done.result()]
        assert answers == ["Hello"] * (3 * 40 * 6)
        assert router.legs[0] is stays
        assert third.request_count
        router.close()
        for server in (first, second, third):
            server.until(lambda server=server: server.open_connections == 0)


def test_legs_of_a_reloaded_router_are_ours():
    router = Router([Scripted("a", name="a")])
    router.reload(Router([Leg(Scripted("b", name="b"), weight=2)]))
    assert router.legs[0].ledger is router.ledger


# Limits


def limited(*names, **options):
    return Router([Scripted(name, name=name) for name in names], strategy="priority", limit_wait_s=0, **options)


async def test_what_is_used_up_of_a_limit_stays_used_up():
    router = limited("a", "b", limits=Limit(requests_per_minute=2, per="router"))
    assert [await text(router), await text(router)] == ["a", "a"]
    reloaded = router.reload(limited("a", "c", limits=Limit(requests_per_minute=3, per="router")))
    assert (reloaded.kept, reloaded.added) == (("a",), ("c",))
    assert await text(router) == "a"
    with pytest.raises(LimitExceeded):
        await text(router)
    router.reload(limited("a"))
    assert await text(router) == "a"


async def test_a_new_limit_of_an_engine_holds_at_once():
    router = Router([Scripted("a", name="a"), Scripted("b", name="b")], strategy="priority")
    leg = router.legs[0]
    await text(router)
    limits = Limit(requests_per_minute=1)
    router.reload(Router([Leg(leg.engine, limits=limits), Scripted("b", name="b")], strategy="priority"))
    assert router.legs[0] is leg
    assert [await text(router) for _ in range(2)] == ["a", "b"]


async def test_a_store_of_limits_stays_or_is_closed_after_the_last_run():
    redis = pytest.importorskip("llmops_sdk.routers.redis")
    one = redis.RedisLimits("redis://localhost:1", share=0.5)
    router = Router([Scripted("a", name="a")], limit_store=one)
    router.reload(Router([Scripted("a", name="a")], limit_store=redis.RedisLimits("redis://localhost:1", share=0.5)))
    assert router._table.counted.store is one
    other = redis.RedisLimits("redis://localhost:1", share=0.2)
    router.reload(Router([Scripted("a", name="a")], limit_store=other, limit_wait_s=3))
    assert router._table.counted.store is other
    assert router._table.counted.wait_s == 3.0
    await router.aclose()


async def test_a_store_of_limits_that_is_not_needed_any_more_is_closed_after_the_last_run():
    class Store:
        def __init__(self):
            self.closed = threading.Event()

        async def reserve(self, demands, call):
            raise AssertionError("nothing is limited here")

        peek = reserve

        async def aclose(self):
            self.closed.set()

    engine, store = Gated("old"), Store()
    router = Router([engine], limit_store=store)
    run = asyncio.create_task(text(router))
    await engine.asked.wait()
    router.reload(Router([engine]))
    assert not store.closed.is_set()
    engine.may.set()
    assert await run == "old"
    assert await asyncio.to_thread(store.closed.wait, 10)
