"""Where answers are kept: bounds, several threads and processes, damage, a Redis that is away."""

import asyncio
import contextlib
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace
from decimal import Decimal

import pytest
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.engines import Cached, Engine, MemoryStore, Scripted, SQLiteStore
from llmops_sdk.engines._cache.entries import Entry, from_bytes, to_bytes
from llmops_sdk.engines.redis import RedisStore
from llmops_sdk.errors import CacheError, ConfigurationError
from llmops_sdk.messages import Chunk, RateLimit, Request, Usage
from llmops_sdk.testing import FaultServer, Hang
from llmops_sdk.virtual_time import run_in_virtual_time

ASKED = Request.of("What is it?")


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make_store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore
    if request.param == "sqlite":
        return lambda: SQLiteStore(tmp_path / "answers.db", timeout_s=30)
    url = request.getfixturevalue("redis_url")
    return lambda: RedisStore(url, prefix=f"{tmp_path.name}:", timeout_s=5)


async def test_a_store_gives_back_what_was_put(make_store):
    store = make_store()
    assert await store.get("1:a") is None
    await store.put("1:a", b"one", None)
    await store.put("1:b", b"\x00\xff" * 50_000, 60)
    await store.put("1:a", b"two", None)
    assert (await store.get("1:a"), await store.get("1:b")) == (b"two", b"\x00\xff" * 50_000)
    await store.forget("1:a")
    await store.forget("1:none")
    assert (await store.get("1:a"), await store.get("1:b")) == (None, b"\x00\xff" * 50_000)
    await store.clear()
    assert await store.get("1:b") is None
    assert store.entries in (0, None)
    await store.aclose()
    await store.aclose()


async def test_an_engine_is_asked_once_whatever_the_store(make_store):
    engine = Scripted("a", "b")
    async with Cached(engine, make_store()) as cached:
        first = await cached.agenerate(ASKED)
        again = [await cached.agenerate(ASKED) for _ in range(3)]
        assert [one.text for one in (first, *again)] == ["a"] * 4
        assert all(one.cached for one in again)
        assert len(engine.requests) == 1


def test_one_store_serves_several_threads_and_loops(make_store):
    store = make_store()
    failed = []

    def work(number):
        async def main():
            for turn in range(20):
                key = f"1:{number}-{turn}"
                await store.put(key, key.encode(), 60)
                if await store.get(key) != key.encode():
                    failed.append(key)
            await store.get("1:0-0")

        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    asyncio.run(store.aclose())


async def test_a_store_outside_of_the_process_is_found_again_by_a_copy(make_store, tmp_path):
    store = make_store()
    if isinstance(store, MemoryStore):
        pytest.skip("it is in this process")
    async with Cached(Scripted("a"), store) as cached:
        await cached.agenerate(ASKED)
    async with pickle.loads(pickle.dumps(cached)) as again:
        assert (await again.agenerate(ASKED)).cached


# Memory.


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 900), st.booleans()), max_size=40))
def test_the_memory_never_holds_more_than_it_may_and_drops_what_was_not_used_for_longest(steps):
    store = MemoryStore(max_bytes=2000)
    held = {}  # the least recently used first

    def size():
        return sum(1 + 400 + len(value) for value in held.values())

    for key, length, read in steps:
        if read:
            value = asyncio.run(store.get(key)) if length == 0 else store.at_hand(key)
            assert value == held.get(key)
            if key in held:
                held[key] = held.pop(key)
            continue
        _now(store.put(key, b"x" * length, None))
        held.pop(key, None)
        while held and size() + 401 + length > 2000:
            held.pop(next(iter(held)))
        held[key] = b"x" * length
        assert (store.entries, store.size_bytes) == (len(held), size())
        assert store.size_bytes <= 2000


def _now(work):
    """Run what never waits."""
    with pytest.raises(StopIteration):
        work.send(None)


async def test_what_does_not_fit_at_all_is_not_kept():
    store = MemoryStore(max_bytes=1000)
    await store.put("a", b"x" * 500, None)
    await store.put("b", b"x" * 1000, None)
    assert (store.entries, await store.get("a")) == (1, b"x" * 500)
    await store.put("a", b"x" * 1000, None)
    assert (store.entries, store.size_bytes) == (0, 0)


async def test_the_memory_counts_what_it_really_takes():
    store = MemoryStore()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2000):
            await store.put(f"1:{number:064d}", bytes(300), 60)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.7 * taken <= store.size_bytes <= 1.5 * taken


async def test_many_large_answers_take_no_more_memory_than_they_may():
    cached = Cached(Scripted(*[f"{number}" * 50_000 for number in range(10, 20)]), MemoryStore(2_000_000))
    tracemalloc.start()
    try:
        for number in range(300):
            await cached.agenerate(Request.of(f"Question {number}"))
            cached.engine.requests.clear()
        await asyncio.sleep(0)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 1.3 * 2_000_000
    assert 15 <= cached.stats.entries <= 20


# SQLite.


async def test_the_file_is_bounded_and_drops_what_was_not_used_for_longest(tmp_path):
    path = tmp_path / "answers.db"
    store = SQLiteStore(path, max_bytes=1_000_000)
    for number in range(300):
        await store.put(f"1:{number}", os.urandom(10_000), None)
        assert store.size_bytes <= 1_000_000
    assert 90 <= store.entries <= 100
    assert [await store.get(f"1:{number}") is not None for number in (0, 150, 250, 299)] == [False, False, True, True]
    await store.put("1:big", bytes(2_000_000), None)
    assert await store.get("1:big") is None
    await store.aclose()
    assert path.stat().st_size < 1.3 * 1_000_000


def test_what_was_used_lately_stays_and_what_is_too_old_goes_first(tmp_path):
    async def main():
        store = SQLiteStore(tmp_path / "answers.db", max_bytes=3500)
        for key in "abc":
            await store.put(key, bytes(850), 1000 if key == "c" else None)
            await asyncio.sleep(10)
        await asyncio.sleep(100)
        assert await store.get("a")  # writes down that it was used
        await asyncio.sleep(1)
        assert await store.get("c")
        await store.put("d", bytes(850), None)
        assert [await store.get(key) is not None for key in "abcd"] == [True, False, True, True]
        await asyncio.sleep(1000)
        assert await store.get("c") is None
        await store.put("e", bytes(850), None)
        assert [await store.get(key) is not None for key in "acde"] == [True, False, True, True]
        assert store.entries == 3
        await store.aclose()

    run_in_virtual_time(main())


WRITER = """
import asyncio, sys
from llmops_sdk.engines import SQLiteStore
async def main():
    store = SQLiteStore(sys.argv[1], max_bytes=200_000, timeout_s=30)
    print("ready", flush=True)
    for turn in range(int(sys.argv[3])):
        key = f"1:{sys.argv[2]}-{turn % 40}"
        await store.put(key, key.encode() * 500, 60)
        value = await store.get(key)
        assert value in (None, key.encode() * 500)
    print("done", flush=True)
asyncio.run(main())
"""


def start_writer(path, name, turns):
    command = [sys.executable, "-c", WRITER, str(path), name, str(turns)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_share_a_file(tmp_path):
    path = tmp_path / "answers.db"
    writers = [start_writer(path, name, 150) for name in "ab"]
    for writer in writers:
        said, failed = writer.communicate(timeout=50)
        assert (said.split(), failed) == (["ready", "done"], "")
    store = SQLiteStore(path)
    with sqlite3.connect(path) as db:
        counted = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM entries").fetchone()
    db.close()
    assert (store.entries, store.size_bytes) == counted
    assert 0 < store.size_bytes <= 200_000


def test_a_process_that_is_killed_leaves_a_good_file(tmp_path):
    path = tmp_path / "answers.db"
    for name in "abc":
        writer = start_writer(path, name, 1_000_000)
        with writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.15)  # anywhere in its work
            writer.send_signal(signal.SIGKILL)
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            counted = db.execute("SELECT count(*), sum(size) FROM entries").fetchone()
        db.close()
        store = SQLiteStore(path)
        assert (store.entries, store.size_bytes) == counted
        assert store.entries > 0


def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(tmp_path):
    text, theirs, newer, folder = (tmp_path / name for name in ("text", "theirs.db", "newer.db", "folder"))
    text.write_bytes(b"Dear diary, " * 20)
    with sqlite3.connect(theirs) as db:
        db.execute("CREATE TABLE entries (key, value)")
    db.close()
    SQLiteStore(newer)
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 2")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    folder.mkdir()
    for path, said in ((text, "no SQLite file"), (theirs, "another program"), (newer, "another version")):
        before = path.read_bytes()
        with pytest.raises(ConfigurationError, match=said):
            SQLiteStore(path)
        assert path.read_bytes() == before
    with pytest.raises(ConfigurationError, match="cannot be read"):
        SQLiteStore(folder)
    with pytest.raises(ConfigurationError, match="another path"):
        SQLiteStore(tmp_path / "nowhere" / "answers.db")


async def test_a_damaged_file_is_refused_or_breaks_no_call(tmp_path):
    path = tmp_path / "answers.db"
    store = SQLiteStore(path)
    for number in range(50):
        await store.put(f"1:{number}", os.urandom(3000), None)
    await store.aclose()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    with pytest.raises(ConfigurationError, match="delete it"):
        SQLiteStore(path)
    path.write_bytes(whole)
    store = SQLiteStore(path)
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    async with Cached(Scripted("a"), store) as cached:
        assert (await cached.agenerate(ASKED)).text == "a"
        assert cached.stats.errors >= 1
        with pytest.raises(CacheError, match="delete it"):
            await cached.clear()


async def test_a_file_that_goes_away_is_made_anew(tmp_path):
    path = tmp_path / "folder" / "answers.db"
    path.parent.mkdir()
    async with Cached(Scripted("a"), SQLiteStore(path)) as cached:
        shutil.rmtree(path.parent)
        assert (await cached.agenerate(ASKED)).text == "a"
        assert cached.stats.errors == 1


async def test_another_process_that_holds_the_file_for_long_breaks_no_call(tmp_path):
    path = tmp_path / "answers.db"
    async with Cached(Scripted("a"), SQLiteStore(path, timeout_s=0.05)) as cached:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        assert (await cached.agenerate(ASKED)).text == "a"
        holder.execute("ROLLBACK")
        holder.close()


async def test_a_disk_that_is_full_breaks_no_call_and_loses_nothing(tmp_path):
    path = tmp_path / "answers.db"
    engine = Scripted("a" * 3000)
    async with Cached(engine, SQLiteStore(path)) as cached:
        await cached.agenerate(ASKED)
        await _landed(cached)
        pages = cached.store._file._db.execute("PRAGMA page_count").fetchone()[0]
        cached.store._file._db.execute(f"PRAGMA max_page_count = {pages + 1}")  # what SQLite says of a full disk, too
        for number in range(5):
            assert (await cached.agenerate(Request.of(f"And {number}?"))).text == "a" * 3000
        await _landed(cached)
        assert cached.stats.errors == 1
        assert (await cached.agenerate(ASKED)).cached
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def _landed(cached):
    """What is on its way has been written down, and nobody can join it any more."""
    await asyncio.gather(*(flight.task for flight in cached._flights.values()))
    await asyncio.sleep(0)


async def test_a_log_that_was_left_behind_is_read(tmp_path):
    path, copy = tmp_path / "answers.db", tmp_path / "copy.db"
    store = SQLiteStore(path)
    await store.put("1:a", b"one", None)
    for end in ("", "-wal"):  # as a process leaves them that is killed
        shutil.copy(f"{path}{end}", f"{copy}{end}")
    assert (tmp_path / "copy.db-wal").stat().st_size > 0
    other = SQLiteStore(copy)
    assert await other.get("1:a") == b"one"
    await other.aclose()
    await store.aclose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_the_file_anew(tmp_path):
    store = SQLiteStore(tmp_path / "answers.db", timeout_s=30)
    asyncio.run(store.put("1:a", b"parent", None))
    inherited = store._file._db
    assert inherited is not None
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(store.put("1:b", b"child", None))
            code = 0 if asyncio.run(store.get("1:a")) == b"parent" and store._file._db is not inherited else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(store.get("1:b")) == b"child"
    asyncio.run(store.aclose())


# Redis.


async def test_redis_lets_answers_expire_and_only_ours_are_cleared(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.set("theirs", "x")
        store = RedisStore(redis_url, prefix="mine:")
        await store.put("1:a", b"one", 90.5)
        assert 89_000 < client.pttl("mine:1:a") <= 90_500
        for number in range(1200):
            client.set(f"mine:{number}", "x")
        # A client of one's own, even one that decodes.
        own = RedisStore(client, prefix="mine:")
        assert await own.get("1:a") == b"one"
        await own.aclose()
        await store.clear()
        assert client.keys("mine:*") == []
        assert client.get("theirs") == "x"
        client.delete("theirs")
        await store.aclose()
        with pytest.raises(TypeError, match="does not travel"):
            pickle.dumps(own)


async def test_what_another_program_keeps_under_a_key_is_no_answer_and_gives_way(redis_url):
    store = RedisStore(redis_url, prefix="odd:", timeout_s=5)
    engine = Scripted("a")
    with redis.Redis.from_url(redis_url) as client:
        async with Cached(engine, store) as cached:
            key = "odd:" + cached._answers.key(ASKED)
            client.rpush(key, "theirs")
            assert not (await cached.agenerate(ASKED)).cached
            await _landed(cached)
            assert (await cached.agenerate(ASKED)).cached
            assert cached.stats.errors == 0
            await _landed(cached)
            assert client.unlink(key) == 1  # as Redis does when it is short of memory
            assert not (await cached.agenerate(ASKED)).cached
            await _landed(cached)
            client.unlink(key)


@pytest.mark.parametrize("ttl_s", [1e-9, 1e300])
async def test_any_time_will_do_for_redis(redis_url, ttl_s):
    store = RedisStore(redis_url, timeout_s=5)
    await store.put("1:t", b"x", ttl_s)
    assert await store.get("1:t") in ((b"x",) if ttl_s > 1 else (b"x", None))
    await store.forget("1:t")
    await store.aclose()


async def test_a_redis_that_is_away_breaks_no_call(caplog):
    async with Cached(Scripted("a"), RedisStore("redis://:word@127.0.0.1:9/0")) as cached:
        for _ in range(3):
            assert (await cached.agenerate(ASKED)).text == "a"
        assert cached.stats.errors == 1  # then it is left alone for a while
        assert len(caplog.records) == 1
        assert "word" not in caplog.text
        with pytest.raises(CacheError, match=r"127\.0\.0\.1:9"):
            await cached.clear()


async def test_a_redis_that_hangs_holds_no_call_up_for_longer_than_it_may():
    async with FaultServer(Hang()) as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        store = RedisStore(f"redis://127.0.0.1:{port}", timeout_s=0.05)
        async with Cached(Scripted("a"), store) as cached:
            async with asyncio.timeout(5):
                assert (await cached.agenerate(ASKED)).text == "a"
            assert cached.stats.errors >= 1


def test_a_redis_that_comes_back_is_used_again(redis_server):
    async def main():
        engine = Scripted("a", "b", "c")
        async with Cached(engine, RedisStore(redis_server.url, timeout_s=5)) as cached:
            while cached.stats.hits == 0:  # until it is written down
                await cached.agenerate(ASKED)
                await asyncio.sleep(0.01)
            asked = len(engine.requests)
            redis_server.kill()
            other = Request.of("Another?")
            assert not (await cached.agenerate(other)).cached
            assert cached.stats.errors == 1
            redis_server.start()
            cached._answers.shelf._unread_until = cached._answers.shelf._unwritten_until = 0.0  # a second later
            await cached.agenerate(ASKED)
            assert len(engine.requests) == asked + 2
            assert cached.stats.errors == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RedisStore("http://x"), "redis://host"),
        (lambda: RedisStore(redis.asyncio.Redis()), "asyncio"),
        (lambda: RedisStore(5), "redis.Redis"),
        (lambda: RedisStore("redis://x", prefix=""), "prefix"),
        (lambda: RedisStore("redis://x", prefix="a*"), "prefix"),
        (lambda: RedisStore("redis://x", timeout_s=0), "timeout_s"),
        (lambda: SQLiteStore("/tmp/x", max_bytes=0), "max_bytes"),
        (lambda: SQLiteStore("/tmp/x", timeout_s=-1), "timeout_s"),
    ],
)
def test_wrong_stores_are_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()


@settings(max_examples=20)
@given(st.binary(max_size=200))
def test_random_bytes_are_no_cache_file(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("random") / "answers.db"
    path.write_bytes(content)
    if content:
        with pytest.raises(ConfigurationError):
            SQLiteStore(path)
    else:
        SQLiteStore(path)


def test_engines_in_another_process_find_the_same_answers(tmp_path):
    path = tmp_path / "answers.db"
    source = (
        "import sys; from llmops_sdk.engines import *\n"
        "with Cached(Engine.open('http://127.0.0.1:9/v1', model='m'), SQLiteStore(sys.argv[1])) as engine:\n"
        "    print(engine.generate('What is it?').text)"
    )
    with FaultServer("Hello there") as server:
        url = server.url
        with Cached(Engine.open(url, model="m"), SQLiteStore(path)) as engine:
            assert engine.generate("What is it?").text == "Hello there"
    command = [sys.executable, "-c", source.replace("http://127.0.0.1:9/v1", url), str(path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "Hello there\n"


def test_bills_come_back_as_they_were_and_limits_of_the_moment_do_not():
    usage = Usage(input_tokens=1, billed_usd=Decimal("0.25"), also_charged=("web_search_requests",))
    chunk = Chunk(text="x", usage=usage, cost_usd=Decimal("0.25"), rate_limit=RateLimit(remaining_requests=3))

    kept = from_bytes(to_bytes(Entry(1.0, (chunk,))))

    assert kept is not None
    assert kept.chunks == (replace(chunk, rate_limit=None, cached=True),)
