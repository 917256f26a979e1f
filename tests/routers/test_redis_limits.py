"""Limits that processes keep together in a real Redis."""

import asyncio
import json
import math
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_sdk import errors
from llmops_sdk.calls import Call, LimitsDegraded
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import Request, Usage
from llmops_sdk.routers import Limit, Router
from llmops_sdk.routers._limits.meters import CONCURRENT, REQUESTS, TOKENS, Blocked, Demand, Meter

redis = pytest.importorskip("redis", reason="needs the extra `redis`")
from llmops_sdk.routers.redis import RedisLimits  # noqa: E402

HAMMER = Path(__file__).with_name("limits_hammer.py")
HELLO = Request.of("hello")


def asked(call=None, **parameters):
    return Request(messages=HELLO.messages, call=call or Call(), **parameters)


def demand(quantity, amount, most, key=""):
    return Demand(Meter(name=quantity.name, quantity=quantity, amount=most, of="engine x"), key, amount)


class Store:
    """A store that is closed at the end, and patient: these tests share two cores with others."""

    def __init__(self, url, **options):
        self._store = RedisLimits(url, **{"timeout_s": 5.0, **options})

    async def __aenter__(self):
        return self._store

    async def __aexit__(self, *_):
        await self._store.aclose()


async def take(store, *demands, call=None):
    return await store.reserve(demands, call or Call())


async def until(condition, seconds=10):
    for _ in range(int(seconds / 0.02)):
        if await condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not within {seconds} s")


def degraded(call):
    return [event for event in call.events if isinstance(event, LimitsDegraded)]


# Building


@pytest.mark.parametrize(
    ("where", "options"),
    [
        ("http://localhost", {}),
        (None, {}),
        ("redis://localhost", {"prefix": "a{b}"}),
        ("redis://localhost", {"prefix": ""}),
        ("redis://localhost", {"policy": "fail"}),
        ("redis://localhost", {"share": 0}),
        ("redis://localhost", {"share": 1.5}),
        ("redis://localhost", {"share": math.nan}),
        ("redis://localhost", {"lease_s": 0.5}),
        ("redis://localhost", {"timeout_s": 0}),
        ("redis://localhost", {"timeout_s": math.inf}),
    ],
)
def test_wrong_stores_are_refused_when_they_are_built(where, options):
    with pytest.raises(errors.ConfigurationError):
        RedisLimits(where, **options)


def test_a_store_travels_by_pickle_and_shows_no_password():
    word = "secret-".removesuffix("-")
    store = pickle.loads(pickle.dumps(RedisLimits(f"redis://:{word}@localhost", share=0.5)))
    assert store._share == 0.5
    assert word not in repr(store)


def test_without_the_library_the_extra_is_named():
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from llmops_sdk.errors import MissingDependencyError\n"
        "try:\n    import llmops_sdk.routers.redis\n"
        "except MissingDependencyError as exc:\n    print(exc.extra)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "redis"


# Counting


async def test_two_processes_share_what_there_is(redis_url):
    async with Store(redis_url) as one, Store(redis_url) as two:
        outcomes = [await take(store, demand(REQUESTS, 1, 3)) for store in (one, two, one, two)]
        assert [isinstance(outcome, Blocked) for outcome in outcomes] == [False] * 3 + [True]
        assert 59 < outcomes[3].at - Call().clock() <= 61


async def test_prefixes_are_apart(redis_url):
    async with Store(redis_url, prefix="one") as one, Store(redis_url, prefix="two") as two:
        for store in (one, two):
            assert not isinstance(await take(store, demand(REQUESTS, 1, 1)), Blocked)


async def test_all_limits_are_met_together_or_none(redis_url):
    async with Store(redis_url) as store:
        await take(store, demand(CONCURRENT, 1, 1))
        for _ in range(3):
            blocked = await take(store, demand(REQUESTS, 1, 1), demand(CONCURRENT, 1, 1))
            assert blocked.demand.meter.quantity is CONCURRENT
        assert not isinstance(await take(store, demand(REQUESTS, 1, 1)), Blocked)


async def test_what_ends_is_settled_at_once_for_all(redis_url):
    async with Store(redis_url) as one, Store(redis_url) as two:
        hold = await take(one, demand(TOKENS, 90, 100), demand(CONCURRENT, 1, 1))
        assert isinstance(await take(two, demand(TOKENS, 50, 100)), Blocked)
        hold.end([30, 0], 0.0)

        async def room():
            return not isinstance(await take(two, demand(TOKENS, 70, 100), demand(CONCURRENT, 1, 1)), Blocked)

        await until(room)


async def test_what_took_more_than_estimated_counts(redis_url):
    async with Store(redis_url) as store:
        hold = await take(store, demand(TOKENS, 10, 100))
        hold.end([95], 0.0)

        async def full():
            return isinstance(await take(store, demand(TOKENS, 6, 100)), Blocked)

        await until(full)
        assert not isinstance(await take(store, demand(TOKENS, 5, 100)), Blocked)


async def test_what_was_never_sent_counts_as_nothing(redis_url):
    async with Store(redis_url) as store:
        hold = await take(store, demand(REQUESTS, 1, 1))
        hold.end([0], 0.0)

        async def room():
            return not isinstance(await take(store, demand(REQUESTS, 1, 1)), Blocked)

        await until(room)


async def test_room_that_may_be_given_back_is_not_called_surely_taken(redis_url):
    async with Store(redis_url) as store:
        hold = await take(store, demand(TOKENS, 100, 100))
        assert (await take(store, demand(TOKENS, 50, 100))).sure == -math.inf
        assert (await take(store, demand(TOKENS, 101, 100))).sure == math.inf
        hold.end([100], 0.0)

        async def sure():
            return (await take(store, demand(TOKENS, 50, 100))).sure > 0

        await until(sure)


async def test_a_cancelled_question_holds_nothing(redis_url):
    async with Store(redis_url) as store:
        await take(store, demand(REQUESTS, 1, 100))
        tasks = [asyncio.ensure_future(take(store, demand(CONCURRENT, 1, 1))) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        async def room():
            return not isinstance(await take(store, demand(CONCURRENT, 1, 1)), Blocked)

        await until(room)


async def test_every_key_expires_and_a_process_that_ends_leaves_nothing_of_itself(redis_url):
    client = redis.Redis.from_url(redis_url)
    async with Store(redis_url) as store:
        held = await take(store, demand(CONCURRENT, 1, 5), demand(REQUESTS, 1, 5), demand(TOKENS, 1, 5, "a{b}c"))
        keys = client.keys()
        assert len(keys) == 5
        assert all(client.ttl(key) > 0 for key in keys)
        held.end([0, 1, 1], 0.0)
    assert sorted(client.keys()) == [b"{llmops}:n:requests:", b"{llmops}:n:tokens:a{b}c"]
    client.close()


async def test_a_question_that_redis_reads_too_late_is_not_granted(redis_url):
    async with Store(redis_url) as store, Store(redis_url) as other:
        await take(store, demand(REQUESTS, 1, 99))
        store._session()._offset_ms -= 60_000  # as if it had been under way for a minute
        call = Call()
        await take(store, demand(CONCURRENT, 1, 1), call=call)
        assert len(degraded(call)) == 1
        assert not isinstance(await take(other, demand(CONCURRENT, 1, 1)), Blocked)


async def test_what_ends_after_its_lease_was_lost_counts_from_then_on(redis_url):
    client = redis.Redis.from_url(redis_url)
    async with Store(redis_url) as slept, Store(redis_url) as other:
        hold = await take(slept, demand(TOKENS, 90, 100))
        client.zadd("{llmops}:p", {slept._session()._process: 1})
        assert not isinstance(await take(other, demand(TOKENS, 1, 100)), Blocked)  # gives the 90 back
        assert not isinstance(await take(other, demand(TOKENS, 1, 100)), Blocked)
        hold.end([95], 0.0)

        async def counted():
            return client.hget("{llmops}:n:tokens:", "u") == b"97"

        await until(counted)
    client.close()


async def test_a_cluster_takes_the_scripts(redis_cluster_url):
    async with Store(redis_cluster_url) as store:
        wanted = [demand(CONCURRENT, 1, 1), demand(REQUESTS, 1, 5), demand(TOKENS, 1, 5, "ada")]
        hold = await take(store, *wanted)
        hold.end([0, 1, 1], 0.0)

        async def room():
            return not isinstance(await take(store, *wanted), Blocked)

        await until(room)


async def test_a_client_of_the_applications_own_is_used_and_stays_open(redis_url):
    client = redis.asyncio.Redis.from_url(redis_url)
    async with Store(client) as store:
        assert not isinstance(await take(store, demand(REQUESTS, 1, 1)), Blocked)
    assert await client.ping()
    await client.aclose()


async def test_a_server_that_forgot_the_scripts_is_told_them_again(redis_url):
    async with Store(redis_url) as store:
        await take(store, demand(REQUESTS, 1, 5))
        client = redis.Redis.from_url(redis_url)
        client.script_flush()
        client.close()
        call = Call()
        assert not isinstance(await take(store, demand(REQUESTS, 1, 5), call=call), Blocked)
        assert not degraded(call)


def test_a_store_works_on_one_event_loop_after_the_other(redis_url):
    store = RedisLimits(redis_url, timeout_s=5)

    async def main():
        return isinstance(await take(store, demand(REQUESTS, 1, 2)), Blocked)

    assert [asyncio.run(main()) for _ in range(3)] == [False, False, True]
    assert not store._sessions


# Many processes


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, str(HAMMER), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_eight_processes_never_exceed_the_limit_in_any_window(redis_url):
    output = started("hammer", redis_url, 8, 2.5).communicate(timeout=50)[0]
    of_each = json.loads(output)
    assert len(of_each) == 8
    assert sum(map(bool, of_each)) > 4  # between processes fairness is best effort
    admitted = sorted(one for admissions in of_each for one in admissions)
    for first, (began, _, _) in enumerate(admitted):
        window = [taken for at, _, taken in admitted[first:] if at < began + 1_000]
        assert len(window) <= 60
        assert sum(window) <= 2_000  # no estimate was too low, so the bound is the limit itself
        assert sum(at <= began < ended for at, ended, _ in admitted[: first + 1]) <= 12
    assert len(admitted) > 100  # about two windows' worth, so the window does slide


async def test_a_killed_process_returns_what_it_held_after_its_lease(redis_url):
    sys.path.insert(0, str(HAMMER.parent))
    try:
        from limits_hammer import demands
    finally:
        sys.path.pop(0)
    process = started("hold", redis_url)
    assert await asyncio.to_thread(process.stdout.readline) == "held\n"
    async with Store(redis_url) as store:
        await asyncio.sleep(1.5)  # longer than the lease, which a living process renews; and than the windows
        assert isinstance(await take(store, *demands(1)), Blocked)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()

        async def room():
            return not isinstance(await take(store, *demands(1)), Blocked)

        await until(room, 5)


# Away


async def test_while_redis_is_away_each_process_has_its_share(redis_server):
    async with Store(redis_server.url, share=0.5, timeout_s=0.2) as store:
        for _ in range(2):
            await take(store, demand(REQUESTS, 1, 10))
        redis_server.halt()
        calls = [Call() for _ in range(6)]
        outcomes = [await take(store, demand(REQUESTS, 1, 10), call=call) for call in calls]
        # What it had used just before counts, too.
        assert [isinstance(outcome, Blocked) for outcome in outcomes] == [False] * 3 + [True] * 3
        assert all(len(degraded(call)) == 1 for call in calls)
        assert degraded(calls[0])[0].policy == "fail_open"
        for outcome in outcomes[:3]:
            outcome.end([1], Call().clock())
        redis_server.go_on()

        async def back():
            call = Call()
            await take(store, demand(CONCURRENT, 1, 99), call=call)
            return not degraded(call)

        await until(back)
        await asyncio.sleep(0.1)
        # 2 before, 3 meanwhile: Redis has been told, so 5 are left.
        outcomes = [await take(store, demand(REQUESTS, 1, 10)) for _ in range(6)]
        assert [isinstance(outcome, Blocked) for outcome in outcomes] == [False] * 5 + [True]


async def test_a_question_that_went_unanswered_holds_nothing_when_redis_is_back(redis_server):
    async with Store(redis_server.url, timeout_s=0.2) as store:
        await take(store, demand(REQUESTS, 1, 99))
        redis_server.halt()
        outcome = await take(store, demand(CONCURRENT, 1, 1))
        outcome.end([0], Call().clock())
        redis_server.go_on()

        async def back():
            call = Call()
            return not isinstance(await take(store, demand(CONCURRENT, 1, 1), call=call), Blocked) and not degraded(
                call
            )

        await until(back)


async def test_nobody_gets_through_where_it_fails_closed(redis_server):
    async with Store(redis_server.url, policy="fail_closed", timeout_s=0.2) as store:
        router = Router([Scripted("a")], limits=Limit(requests_per_minute=100), limit_store=store)
        await router.agenerate(asked())
        redis_server.kill()
        for _ in range(2):
            call = Call()
            with pytest.raises(errors.LimitExceeded, match="cannot be reached") as refused:
                await router.agenerate(asked(call))
            assert refused.value.retry_after_s > 0
            assert [event.policy for event in degraded(call)] == ["fail_closed"]
        redis_server.start()

        async def back():
            try:
                return (await router.agenerate(asked())).text == "a"
            except errors.LimitExceeded:
                return False

        await until(back)
        await router.aclose()


async def test_a_redis_that_was_never_there_is_found_out_quickly():
    async with Store("redis://127.0.0.1:1", timeout_s=0.05) as store:
        call = Call()
        outcome = await take(store, demand(REQUESTS, 1, 2), call=call)
        assert not isinstance(outcome, Blocked)
        assert len(degraded(call)) == 1


# In a router


async def test_routers_share_a_limit_and_wait_for_each_other(redis_url):
    usage = Usage(input_tokens=5, output_tokens=5)
    under_way = [0, 0]

    class Counting(Scripted):
        async def agenerate(self, request):
            under_way[0] += 1
            under_way[1] = max(under_way)
            try:
                return await super().agenerate(request)
            finally:
                under_way[0] -= 1

    routers = [
        Router(
            [Counting("a", name="x", delay_s=0.005, usage=usage)],
            limits=[Limit(concurrent=3), Limit(tokens_per_minute=100_000, per="router")],
            limit_store=RedisLimits(redis_url, timeout_s=5),
        )
        for _ in range(2)
    ]
    calls = [Call(deadline_s=20) for _ in range(60)]
    await asyncio.gather(*(routers[i % 2].agenerate(asked(call)) for i, call in enumerate(calls)))
    assert under_way == [0, 3]
    assert not any(degraded(call) for call in calls)
    for router in routers:
        await router.aclose()


# Odd things


async def test_a_tag_that_is_no_text_or_very_long_is_counted_like_any_other(redis_url):
    async with Store(redis_url) as store:
        for key in ("\udc80", "z" * 100_000, "Jürgen"):
            call = Call()
            assert not isinstance(await take(store, demand(REQUESTS, 1, 1, key), call=call), Blocked)
            assert isinstance(await take(store, demand(REQUESTS, 1, 1, key), call=call), Blocked)
            assert not degraded(call)
    client = redis.Redis.from_url(redis_url)
    assert max(map(len, client.keys())) < 300
    client.close()


async def test_a_server_whose_clock_goes_back_goes_on_counting(redis_url):
    client = redis.Redis.from_url(redis_url)
    ahead = client.time()[0] + 3_600
    client.hset("{llmops}:n:requests:", mapping={str(ahead): 2, "u": 2, "p": 0, "o": ahead})
    async with Store(redis_url) as store:
        call = Call()
        assert not isinstance(await take(store, demand(REQUESTS, 1, 3), call=call), Blocked)
        blocked = await take(store, demand(REQUESTS, 1, 3), call=call)
        assert 59 < blocked.at - call.clock() <= 61
        assert not degraded(call)
        assert client.ttl("{llmops}:n:requests:") > 0
    client.close()


async def test_a_store_is_asked_no_longer_than_the_deadline_allows(redis_server):
    async with Store(redis_server.url, timeout_s=30) as store:
        router = Router([Scripted("a")], limits=Limit(requests_per_minute=100), limit_store=store)
        await router.agenerate(asked())
        redis_server.halt()
        began = asyncio.get_running_loop().time()
        with pytest.raises(errors.LimitExceeded, match="by the deadline"):
            await router.agenerate(asked(Call(deadline_s=0.2)))
        assert asyncio.get_running_loop().time() < began + 10
        redis_server.go_on()


async def test_closing_one_router_settles_what_others_do_with_the_same_store(redis_url):
    usage = Usage(input_tokens=40, output_tokens=40)
    store = RedisLimits(redis_url, timeout_s=5)
    one, other = (
        Router(
            [Scripted("a", name="x", delay_s=0.3, usage=usage)],
            limits=Limit(tokens_per_minute=1_000),
            limit_store=store,
        )
        for _ in range(2)
    )
    task = asyncio.create_task(other.agenerate(asked(max_tokens=200)))
    await asyncio.sleep(0.1)
    await one.aclose()
    await task
    client = redis.Redis.from_url(redis_url)

    async def settled():
        return client.hmget("{llmops}:n:tokens:engine:x:", "u", "p") == [b"80", b"0"]

    await until(settled)

    async def ended():
        return not client.exists("{llmops}:p")

    await until(ended)
    client.close()


async def test_who_waits_when_the_router_is_closed_leaves_nothing_running(redis_url):
    store = RedisLimits(redis_url, timeout_s=5)
    router = Router([Scripted("a", delay_s=0.2)], limits=Limit(concurrent=1), limit_store=store)
    tasks = [asyncio.create_task(router.agenerate(asked())) for _ in range(2)]
    await asyncio.sleep(0.1)
    await router.aclose()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Response", "ClosedError"]

    async def ended():
        return not any(task.get_name() == "llmops_sdk limits" for task in asyncio.all_tasks())

    await until(ended)


async def test_another_server_at_the_same_address_is_found(redis_server):
    """After a failover the old connection leads to a replica for ever."""
    async with Store(redis_server.url) as store:
        made = []
        session = store._session()
        connect = session._connect
        session._connect = lambda: made.append(connect()) or made[-1]
        await take(store, demand(REQUESTS, 1, 9))
        client = redis.Redis.from_url(redis_server.url)
        client.replicaof("127.0.0.1", "1")
        assert await is_away(store)
        client.replicaof("NO", "ONE")

        async def back():
            return not await is_away(store)

        await until(back)
        assert made
        client.close()


async def is_away(store):
    call = Call()
    await take(store, demand(REQUESTS, 1, 99), call=call)
    return bool(degraded(call))
