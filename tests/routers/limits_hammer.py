"""What many processes do to a shared limit.

python limits_hammer.py hammer URL PROCESSES SECONDS: they ask as fast as it goes; prints all admissions as JSON, each
[begun, ended (milliseconds), tokens taken].
python limits_hammer.py hold URL: it reserves all there is, and never gives it back.
"""

import asyncio
import json
import multiprocessing
import random
import sys
import time

from llmops_sdk.calls import Call
from llmops_sdk.routers._limits.meters import CONCURRENT, Blocked, Demand, Meter, Quantity
from llmops_sdk.routers.redis import RedisLimits

# As those of a minute, only shorter.
REQUESTS = Quantity("requests", "requests per second", 1.0, 0.1)
TOKENS = Quantity("tokens", "tokens per second", 1.0, 0.1)

MOST = {REQUESTS: 60, TOKENS: 2_000, CONCURRENT: 12}


def demands(tokens):
    amounts = {REQUESTS: 1, TOKENS: tokens, CONCURRENT: 1}
    return [
        Demand(Meter(name=quantity.name, quantity=quantity, amount=MOST[quantity], of="x"), "", amount)
        for quantity, amount in amounts.items()
    ]


async def hammer(url, seed, seconds):
    dice = random.Random(seed)
    store = RedisLimits(url, policy="fail_closed", timeout_s=5)
    loop = asyncio.get_running_loop()
    session = store._session()
    until = loop.time() + seconds
    admitted = []

    async def one():
        while loop.time() < until:
            estimate = dice.randint(1, 60)
            wanted = demands(estimate)
            answer = await session.ask(wanted)
            if not answer.granted:
                await asyncio.sleep(dice.uniform(0, 0.02))
                continue
            await asyncio.sleep(dice.uniform(0, 0.1))
            taken = dice.randint(0, estimate)
            admitted.append([answer.now_ms, int(time.time() * 1000), taken])
            session.ended(answer.number, wanted, [1, taken, 0])

    await asyncio.gather(*(one() for _ in range(4)))
    await store.aclose()
    return admitted


def one_process(url, seed, seconds):
    return asyncio.run(hammer(url, seed, seconds))


async def hold(url):
    store = RedisLimits(url, lease_s=1, timeout_s=5)
    while not isinstance(await store.reserve(demands(100), Call()), Blocked):
        pass
    print("held", flush=True)
    await asyncio.sleep(60)


if __name__ == "__main__":
    what, url, *rest = sys.argv[1:]
    if what == "hold":
        asyncio.run(hold(url))
    else:
        count, seconds = int(rest[0]), float(rest[1])
        with multiprocessing.get_context("fork").Pool(count) as pool:
            found = pool.starmap(one_process, [(url, seed, seconds) for seed in range(count)], chunksize=1)
        print(json.dumps(found))
