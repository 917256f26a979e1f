"""Limits that many processes and machines keep together, counted in Redis or Valkey.

Router([...], limits=Limit(requests_per_minute=600), limit_store=RedisLimits("redis://localhost:6379"))
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from llmops_sdk.calls import Call, LimitsDegraded
from llmops_sdk.errors import ConfigurationError, LimitExceeded, MissingDependencyError
from llmops_sdk.given import is_number
from llmops_sdk.routers._limits.counters import LocalLimits
from llmops_sdk.routers._limits.forked import anew_in_child
from llmops_sdk.routers._limits.meters import Blocked, Demand, Hold, Meter
from llmops_sdk.routers._limits.session import Session
from llmops_sdk.routers._limits.words import Answer, Away, Connection, SessionOptions

try:
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import NoScriptError
except ImportError as exc:
    raise MissingDependencyError("`RedisLimits`", package="redis", extra="redis") from exc

__all__ = ["RedisLimits"]

Policy: TypeAlias = Literal["fail_open", "fail_closed"]
_FULL = 1_000


class RedisLimits:
    """Counters in Redis (6.2 or later) or Valkey, for all processes that use the same prefix.

    One Lua script, one atomic step, reserves for all limits of an attempt together or for none; the server's clock
    tells the time, so clocks of clients need not agree. Reservations that come together share a round trip. The
    settlement never waits: it is queued, and told in batches.

    Bounds: those of `Limit`, over all processes together, with these additions.

    * A process that dies (`kill -9`) gives back its places and its estimated tokens and money `lease_s` after its last
      sign of life; its requests count until their minute is over. What it had sent, and nobody settled, is not known
      and no longer counted. The same is true of one that is stopped for longer than `lease_s`; when it goes on, what
      it settles counts from then on.
    * While Redis cannot be reached, `"fail_open"` lets each process use its share of each limit, what it used itself
      just before included: together at most the limit when the shares add up to one, and at most twice the limit in a
      window that holds the beginning or the end of the outage. A share is never below 1 request, token or place. What
      was used is told to Redis when it is back. `"fail_closed"` lets nobody through (`LimitExceeded`).
      Either way the run's record says so (`calls.LimitsDegraded`), and the log once.
    * What Redis forgets (a restart without persistence, a failover that loses writes, `FLUSHALL`) no longer counts:
      within a window at most the limit once more for each such loss. It must not evict keys: `maxmemory-policy
      noeviction`.
    * The server's clock is trusted: when it jumps ahead, what was counted leaves early, as after a loss; when it jumps
      back, what was counted counts as of then.
    * A run whose deadline is over before Redis has answered, within `timeout_s`, gets `LimitExceeded`.

    Fairness: first come first served among the waiters of a process; between processes it is best effort. The head of
    each process's line asks again when its turn may have come, and every 20 ms while others may give room back.

    Every key expires, at the latest 26 hours after it was last written. All keys share a hash tag, so that they lie on
    one node of a Redis cluster.

    Args:
        url_or_client: `"redis://host:port/db"`, `"rediss://..."`, `"unix://..."`, or a `redis.asyncio.Redis` of your
            own, which works on its own event loop only and stays open.
        prefix: What is counted together has the same; letters, digits, `-`, `_`, `.` and `:`.
        policy: What to do while Redis cannot be reached.
        share: This process's share of each limit then, `0 < share <= 1`; by default an equal part for each of the
            processes that Redis has seen lately.
        lease_s: Seconds after which a silent process counts as dead, `>= 1`; a living one says so three times as often.
        timeout_s: Longest wait for Redis, `> 0`; after it Redis counts as away. The event loop's own delays count, too.

    Raises:
        ConfigurationError: An argument makes no sense.
        MissingDependencyError: `redis` is not installed; the extra is `redis`.
    """

    def __init__(
        self,
        url_or_client: Any,
        /,
        *,
        prefix: str = "llmops",
        policy: Policy = "fail_open",
        share: float | None = None,
        lease_s: float = 10.0,
        timeout_s: float = 0.5,
    ) -> None:
        if not isinstance(url_or_client, str) and not hasattr(url_or_client, "pipeline"):
            raise ConfigurationError(f"write `RedisLimits('redis://host:6379')`, not {url_or_client!r}")
        if not isinstance(prefix, str) or re.fullmatch(r"[\w.:-]+", prefix, re.ASCII) is None:
            raise ConfigurationError(f"`prefix` is letters, digits, '-', '_', '.' and ':', not {prefix!r}")
        if policy not in ("fail_open", "fail_closed"):
            raise ConfigurationError(f"`policy` is 'fail_open' or 'fail_closed', not {policy!r}")
        if share is not None and not (is_number(share) and 0 < share <= 1):
            raise ConfigurationError(f"`share` is over 0 and at most 1, not {share!r}")
        if not (is_number(lease_s) and 1 <= lease_s < math.inf):
            raise ConfigurationError(f"`lease_s` is a time of 1 second or more, not {lease_s!r}")
        if not (is_number(timeout_s) and 0 < timeout_s < math.inf):
            raise ConfigurationError(f"`timeout_s` is a time over 0 seconds, not {timeout_s!r}")
        if isinstance(url_or_client, str):
            try:
                redis.asyncio.ConnectionPool.from_url(url_or_client)
            except ValueError as exc:
                raise ConfigurationError(f"the URL of Redis is none: {exc}") from exc
        self._where = url_or_client
        self._prefix = prefix
        self._policy: Policy = policy
        self._share = share
        self._options = SessionOptions(prefix=f"{{{prefix}}}:", timeout_s=timeout_s, lease_s=lease_s)
        # What this process itself has used, so that it knows its share when it is alone.
        self._own = LocalLimits(self._own_part)
        self._processes = 1
        self._full: OrderedDict[tuple[str, str], Blocked] = OrderedDict()
        self._sessions: dict[asyncio.AbstractEventLoop, Session] = {}
        self.start_anew()
        anew_in_child(self)

    def start_anew(self) -> None:
        """In a forked child: no thread of it holds the lock. Its loops are others, so they have their own sessions."""
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        if not isinstance(self._where, str):
            raise ConfigurationError("`RedisLimits` of a client cannot be pickled; give it a URL")
        options = {
            "prefix": self._prefix,
            "policy": self._policy,
            "share": self._share,
            "lease_s": self._options.lease_s,
            "timeout_s": self._options.timeout_s,
        }
        return _again, (self._where, options)

    async def reserve(self, demands: Sequence[Demand], call: Call, /) -> Hold | Blocked:
        """See `LimitStore.reserve`."""
        session = self._session()
        try:
            remaining_s = call.remaining_s()
            answer = await session.ask(demands, math.inf if remaining_s is None else remaining_s)
        except Away as exc:
            if session.away is None and remaining_s is not None and remaining_s < self._options.timeout_s:
                text = demands[0].meter.text(demands[0].key)
                raise LimitExceeded(
                    f"the store of limits had not answered by the deadline: nobody knows whether there is room: {text}",
                    limit=text,
                ) from exc
            return self._alone(session, demands, call, session.away or exc)
        self._processes = session.processes
        now = call.clock()
        if answer.granted:
            own = self._own.reserve_at(demands, now, force=True)
            assert not isinstance(own, Blocked)
            return _Held(session, answer.number, demands, own)
        return self._blocked(demands, answer, now)

    def peek(self, demands: Sequence[Demand], now: float, /) -> Blocked | None:
        """See `LimitStore.peek`."""
        for demand in demands:
            full = self._full.get((demand.meter.name, demand.key))
            if full is not None and full.at is not None and full.at > now:
                return full
        return None

    async def aclose(self) -> None:
        """Tell what is still to be told, and let go of the connections; idempotent."""
        with self._lock:
            sessions = list(self._sessions.values())
            self._sessions.clear()
        for session in sessions:
            await session.aclose()

    def _session(self) -> Session:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = Session(lambda: _Redis(self._where), self._options, lambda: self._forget(loop, session))
            with self._lock:
                self._sessions[loop] = session
        return session

    def _forget(self, loop: asyncio.AbstractEventLoop, session: Session | None) -> None:
        with self._lock:
            if self._sessions.get(loop) is session:
                del self._sessions[loop]

    def _alone(self, session: Session, demands: Sequence[Demand], call: Call, error: BaseException) -> Hold | Blocked:
        if (self, "degraded") not in call.state:
            call.state[self, "degraded"] = True  # once a run is enough, however often it asks
            call.record(LimitsDegraded(call.clock(), repr(self), self._policy, error))
        if self._policy == "fail_closed":
            demand = demands[0]
            text = demand.meter.text(demand.key)
            raise LimitExceeded(
                f"the store of limits cannot be reached ({type(error).__name__}: {error}), so nobody knows whether "
                f"there is room: {text}",
                limit=text,
                retry_after_s=max(session.retry_after_s, self._options.timeout_s),
            ) from error
        own = self._own.reserve_at(demands, call.clock())
        return own if isinstance(own, Blocked) else _Owed(session, demands, own)

    def _own_part(self, meter: Meter) -> int:
        share = 1 / max(self._processes, 1) if self._share is None else self._share
        return max(1, int(meter.amount * share))

    def _blocked(self, demands: Sequence[Demand], answer: Answer, now: float) -> Blocked:
        at = None if answer.at_ms < 0 else now + (answer.at_ms - answer.now_ms) / 1000
        sure = -math.inf if answer.sure_ms == -1 else now + (answer.sure_ms - answer.now_ms) / 1000
        if answer.sure_ms == -2:
            sure = math.inf
        demand = demands[answer.which]
        blocked = Blocked(demand, at, sure)
        key = (demand.meter.name, demand.key)
        self._full.pop(key, None)  # to the end; other threads do the same
        self._full[key] = blocked
        if len(self._full) > _FULL:
            self._full.popitem(last=False)
        return blocked

    def __repr__(self) -> str:
        return f"<RedisLimits {self._prefix!r} {self._policy}>"  # not the URL: it may hold a password


def _again(where: str, options: dict[str, Any]) -> RedisLimits:
    return RedisLimits(where, **options)


class _Held:
    """Room in Redis; see `Hold`."""

    __slots__ = ("_demands", "_number", "_own", "_session")

    def __init__(self, session: Session, number: int, demands: Sequence[Demand], own: Hold) -> None:
        self._session = session
        self._number = number
        self._demands = demands
        self._own = own

    def end(self, taken: Sequence[int], now: float, /) -> None:
        self._own.end(taken, now)
        self._session.ended(self._number, self._demands, taken)


class _Owed:
    """Room of this process's own share, which Redis hears of later; see `Hold`."""

    __slots__ = ("_demands", "_own", "_session")

    def __init__(self, session: Session, demands: Sequence[Demand], own: Hold) -> None:
        self._session = session
        self._demands = demands
        self._own = own

    def end(self, taken: Sequence[int], now: float, /) -> None:
        self._own.end(taken, now)
        self._session.owe(self._demands, taken)


class _Redis(Connection):
    """Runs scripts by their hashes, in one round trip."""

    def __init__(self, where: Any) -> None:
        self._own = isinstance(where, str)
        # The session itself decides when to try again, and bounds the time.
        self._client: Any = (
            redis.asyncio.Redis.from_url(where, retry=Retry(NoBackoff(), 0), max_connections=2) if self._own else where
        )
        self._hashes: dict[str, str] = {}

    async def run(self, commands: Sequence[tuple[str, int, list[Any]]], /) -> list[Any]:
        answers = await self._try(commands)
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # the server was started anew, or its scripts were flushed: none of these has run
            self._hashes.clear()
            again = await self._try([commands[i] for i in unknown])
            for i, answer in zip(unknown, again, strict=True):
                answers[i] = answer
        return answers

    async def _try(self, commands: Sequence[tuple[str, int, list[Any]]]) -> list[Any]:
        for script, _, _ in commands:
            if script not in self._hashes:
                loaded = await self._client.script_load(script)
                self._hashes[script] = loaded if isinstance(loaded, str) else loaded.decode()
        pipeline = self._client.pipeline(transaction=False)
        for script, keys, arguments in commands:
            pipeline.evalsha(self._hashes[script], keys, *arguments)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    async def aclose(self) -> None:
        if self._own:
            with contextlib.suppress(Exception):
                await self._client.aclose()
