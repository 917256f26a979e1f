"""The pipeline: its faces, and the one async flow behind them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from llmops_sdk import loops
from llmops_sdk.calls import Call, Started
from llmops_sdk.costs import PriceTable
from llmops_sdk.errors import ClosedError, ConfigurationError, DeadlineExceeded
from llmops_sdk.messages import Chunk, ChunkJoiner
from llmops_sdk.pipelines._arguments import budget_of, hooks_of, merged
from llmops_sdk.pipelines._checkpoint import Checkpoint
from llmops_sdk.pipelines._coverage import Coverage, check_coverage
from llmops_sdk.pipelines._ending import end, end_failed, has_ended, show_only
from llmops_sdk.pipelines._fingerprint import pipeline_fingerprint
from llmops_sdk.pipelines._guarded_stream import GuardedChunks
from llmops_sdk.pipelines._guarding import guard_input
from llmops_sdk.pipelines._line import Line
from llmops_sdk.pipelines._mapping import Executor, OnError, RowSource, check_options, each, executor_of
from llmops_sdk.pipelines._mapping_elsewhere import run_elsewhere
from llmops_sdk.pipelines._progress import Progress
from llmops_sdk.pipelines._rendering import Rendering
from llmops_sdk.pipelines._repairing import answered, as_it_is, instructed, revived
from llmops_sdk.pipelines._result import Result
from llmops_sdk.pipelines._streams import _GRACE_S, PipelineStream, SyncStream, deadline_error, within_deadline
from llmops_sdk.pipelines._turns import Turns
from llmops_sdk.prompts import repairs_of
from llmops_sdk.protocols import Hook
from llmops_sdk.stations import Station
from llmops_sdk.verdicts import Verdict

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from llmops_sdk.pipelines._locking.lock import Lock

__all__ = ["Pipeline"]

log = logging.getLogger("llmops_sdk")
_OPTIONS = frozenset({"deadline_s", "budget_usd", "tags", "hooks"})
REFUSAL = "Sorry, I cannot help with that."


class Pipeline(loops.Closing, Station):
    """A line of stations: a prompt, guards, one engine, guards.

    It is immutable and may be shared between threads, tasks and loops. Make it with `|` or give the stations here.

    Args:
        stations: In the order of the data. A plain string is a prompt; lists and pipelines are unpacked.
        name: Shown in traces; by default the name of the prompt.
        hooks: Called with every event of every run.
        refusal: The text of a blocked run.
        repairs: How often an answer that does not fit the prompt's `output` is asked for again, for each choice,
            `0 <= repairs <= 10`; by default what the prompt says, or else 1.
        prices: Prices for the cost of runs; by default those of its router, or the table that comes with the library.

    Raises:
        ConfigurationError: The stations do not make a line, or a guard leaves a surface unread.

    Example:
        >>> from llmops_sdk.engines import Scripted
        >>> pipeline = "Say hello to {{ name }}" | Scripted("Hello, Ada!")
        >>> pipeline.run(name="Ada").text
        'Hello, Ada!'
    """

    def __init__(
        self,
        *stations: Any,
        name: str | None = None,
        hooks: Sequence[Hook] = (),
        refusal: str = REFUSAL,
        prices: PriceTable | None = None,
        repairs: int | None = None,
    ) -> None:
        line = Line(stations)
        if line.engine is None:
            raise ConfigurationError(
                "a pipeline needs an engine: `... | Engine.open('embedded:')`, `... | Engine.open('openai:MODEL')`, "
                "or in tests `... | Scripted('Hello')`"
            )
        self._line = line
        self._guards = line.stationed()
        self._turns = Turns(line.engine, self._guards)
        self._coverage = check_coverage(self._guards)
        if self._guards and log.isEnabledFor(logging.INFO):
            log.info("the guards of the pipeline and what they read:\n%s", self._coverage)
        self._refusal = refusal
        self._prices = prices
        self._repairs = repairs_of(repairs)
        self._rendering = Rendering(line.prompt)
        self._hooks = hooks_of(hooks)
        self._closed = False
        self._lock: str | None = None
        prompt_name = getattr(line.prompt, "name", None)
        self.name = name or (prompt_name if prompt_name not in (None, "inline") else "pipeline")
        clash = _OPTIONS & set(getattr(line.prompt, "variables", ()))
        if clash:
            raise ConfigurationError(
                f"the prompt's variable {min(clash)!r} has the name of an option of `run`; rename the variable"
            )

    @property
    def stations(self) -> tuple[Any, ...]:
        """The stations, in order."""
        return tuple(self._line.stations)

    @property
    def engine(self) -> Any:
        """The engine."""
        return self._line.engine

    @property
    def prompt(self) -> Any:
        """The prompt, `None` when the pipeline takes messages."""
        return self._line.prompt

    def coverage(self) -> Coverage:
        """Which guard reads which surface, and how."""
        return self._coverage

    def with_hooks(self, *hooks: Hook) -> Pipeline:
        """The same pipeline with further hooks."""
        return self._like(self.stations, hooks=(*self._hooks, *hooks))._by_lock(self._lock)

    def with_prompt(self, prompt: Any, /) -> Pipeline:
        """The same pipeline with another prompt in the place of its own.

        Args:
            prompt: A prompt, or a text as a template.

        Raises:
            ConfigurationError: It has no prompt, or the line does not take this one.
        """
        own = self.prompt
        if own is None:
            raise ConfigurationError(f"the pipeline {self.name!r} has no prompt that another could take the place of")
        return self._like(prompt if one is own else one for one in self.stations)

    @classmethod
    def from_lock(cls, name: str, /, lock: Lock | str | os.PathLike[str] | Traversable | None = None) -> Pipeline:
        """Build a pipeline as a lock says, and check that all of it is what the lock says.

        Its module is imported, and if the lock names a function, that is called. Prompts that are loaded meanwhile are
        those that the lock pins, wherever their labels point by now. Runs carry the lock's hash.

        Args:
            name: The pipeline's name in the lock.
            lock: The lock, its file, or the folder that holds it, `importlib.resources.files("app")`; by default the
                nearest `llmops.lock` in this folder or above it.

        Raises:
            LockError: The lock is broken or has no such pipeline, or something differs: `differences` lists all of it.
            ConfigurationError: The import path leads to no pipeline.
            Exception: Whatever the building raises.
        """
        # By name: most programs have no lock, and it imports this module.
        kind: type[Lock] = importlib.import_module("llmops_sdk.pipelines._locking.lock").Lock
        read = lock if isinstance(lock, kind) else kind.read(lock)  # type: ignore[arg-type]  # it is no Lock
        return read.pipeline(name)

    @property
    def lock(self) -> str | None:
        """Hash of the lock by which it was built, `None` without one."""
        return self._lock

    def _by_lock(self, lock: str | None) -> Pipeline:
        if lock == self._lock:
            return self
        locked = self._like(self.stations)
        locked._lock = lock
        return locked

    def _like(self, stations: Iterable[Any], **changed: Any) -> Pipeline:
        return Pipeline(*stations, **self._options() | changed)

    def _options(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "hooks": self._hooks,
            "refusal": self._refusal,
            "prices": self._prices,
            "repairs": self._repairs,
        }

    # Faces. The four options are the same everywhere.

    def run(
        self,
        variables: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: Sequence[Hook] = (),
        **more: Any,
    ) -> Result:
        """Run once and wait; works in scripts, threads, notebooks and under any server.

        Args:
            variables: The prompt's variables; without a prompt a text, messages, or a `Request`.
            deadline_s: Seconds for all of it: guards, queueing, attempts and waits.
            budget_usd: US dollars that the run may spend, over 0: an engine is only asked when the most that its answer
                can cost fits into what is left. Give `max_tokens` with it; see `docs/concepts/costs.md`.
            tags: Whatever the run shall be found by.
            hooks: Called with every event of this run, after those of the pipeline.
            more: The prompt's variables.

        Raises:
            LlmopsError: One of its subclasses; a blocked run does *not* raise.
            SyncOnLoopError: Called on the SDK's own event loop.
        """
        call = self._call(deadline_s, budget_usd, tags, hooks)
        limit = None if deadline_s is None else deadline_s + 2 * _GRACE_S
        return loops.run_sync(
            lambda: self._bounded(call, merged(variables, more)),
            method="run()",
            timeout_s=limit,
            on_timeout=lambda: deadline_error(call),
        )

    async def arun(
        self,
        variables: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: Sequence[Hook] = (),
        **more: Any,
    ) -> Result:
        """Run once. See `run`."""
        return await self._bounded(self._call(deadline_s, budget_usd, tags, hooks), merged(variables, more))

    async def aresult(
        self,
        variables: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: Sequence[Hook] = (),
    ) -> Result:
        """Run once, as a row of `amap` is run: what goes wrong is the `error` of the result, with what was spent.

        For programs that make runs by themselves and have to go on when one fails. See `run`.

        Raises:
            ClosedError: The pipeline was closed.
            ConfigurationError: An option makes no sense.
        """
        call = self._call(deadline_s, budget_usd, tags, hooks)
        try:
            return await self._bounded(call, variables)
        except Exception as exc:  # noqa: BLE001  (the result keeps it, and its `text` raises it)
            return Result(blocked=False, verdicts=(), response=None, call=call, error=exc)

    async def arevived(self, result: Result) -> Result:
        """A result that `result_of` read, with what its answer holds as an instance of the prompt's `output`.

        Args:
            result: One of this pipeline's.
        """
        output_for = self._rendering.output_for
        return result if output_for is None else await revived(result, output_for)

    def pinned(self) -> Pipeline:
        """The same pipeline with the prompts of its split as they are now, wherever their labels point later."""
        pinned = getattr(self.prompt, "pinned", None)
        return self if pinned is None else self.with_prompt(pinned())._by_lock(self._lock)

    def astream(
        self,
        variables: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: Sequence[Hook] = (),
        **more: Any,
    ) -> PipelineStream:
        """Run once, with the answer in guarded chunks; when it has ended, the stream has a `result`. See `run`.

        A run that is blocked before anything was emitted gives no chunk; `result.text` is the refusal.
        """
        call = self._call(deadline_s, budget_usd, tags, hooks)
        return self._streaming(call, merged(variables, more))

    def stream(
        self,
        variables: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: Sequence[Hook] = (),
        **more: Any,
    ) -> SyncStream:
        """`astream`, for code without an event loop."""
        call = self._call(deadline_s, budget_usd, tags, hooks)
        given = merged(variables, more)
        return SyncStream(lambda: self._streaming(call, given), call)

    def map(
        self,
        rows: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        concurrency: int | None = None,
        on_error: OnError = "return",
        checkpoint: str | os.PathLike[str] | None = None,
        executor: Literal["ray"] | Executor | None = None,
        progress: bool = False,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: Sequence[Hook] = (),
    ) -> list[Result]:
        """Run once for each row of a data set, several at a time; results in the order of the rows.

        A row is read when there is room for it, so `rows` may be a generator; the results are all kept (see `imap`).

        Args:
            rows: Mappings of variables (or what `run` takes without a prompt).
            concurrency: How many run at once, `>= 1`. By default as many as the engine says (`engine.concurrency`).
            on_error: What to do when a row fails. `"return"`, the default, since the other rows have been paid for:
                its result has `error`, its `text` raises it, and the others go on. `"raise"`: stop, and raise it.
            checkpoint: Path of a file (JSON lines) that keeps each result as soon as it is there. If the file is there
                already, rows that it has are not asked again, and rows that had failed are. It holds the answers.
            executor: Where to run: `"ray"` for Ray Data on this machine or a cluster, see `llmops_sdk.pipelines.ray`.
            progress: Whether to show a progress bar, where there is a terminal, and to print a line about all rows at
                the end, on standard error.
            deadline_s: Seconds for each row.
            budget_usd: US dollars for each row.
            tags: For every row.
            hooks: For every row.

        Raises:
            CheckpointError: The checkpoint is of another pipeline or data set, damaged, or in use.
            ConfigurationError: An option makes no sense, or a row cannot be compared with the checkpoint.
            MissingDependencyError: Ray is not installed.
        """
        return loops.run_sync(
            lambda: self.amap(
                rows,
                concurrency=concurrency,
                on_error=on_error,
                checkpoint=checkpoint,
                executor=executor,
                progress=progress,
                deadline_s=deadline_s,
                budget_usd=budget_usd,
                tags=tags,
                hooks=hooks,
            ),
            method="map()",
        )

    async def amap(
        self,
        rows: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        concurrency: int | None = None,
        on_error: OnError = "return",
        checkpoint: str | os.PathLike[str] | None = None,
        executor: Literal["ray"] | Executor | None = None,
        progress: bool = False,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: Sequence[Hook] = (),
    ) -> list[Result]:
        """Run once for each row; results in the order of the rows. See `map`."""
        found = self.aimap(
            rows,
            ordered=False,
            concurrency=concurrency,
            on_error=on_error,
            checkpoint=checkpoint,
            executor=executor,
            progress=progress,
            deadline_s=deadline_s,
            budget_usd=budget_usd,
            tags=tags,
            hooks=hooks,
        )
        results: dict[int, Result] = {}
        async with contextlib.aclosing(found):
            async for result in found:
                assert result.index is not None
                results[result.index] = result
        return [results[index] for index in range(len(results))]

    def imap(
        self,
        rows: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        ordered: bool = True,
        concurrency: int | None = None,
        on_error: OnError = "return",
        checkpoint: str | os.PathLike[str] | None = None,
        executor: Literal["ray"] | Executor | None = None,
        progress: bool = False,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: Sequence[Hook] = (),
    ) -> Iterator[Result]:
        """Run once for each row, and hand out each result as soon as it is there; for data sets of any size.

        Args:
            rows: As for `map`. Reading pauses while `2 * concurrency` rows are under way or wait to be handed out.
            ordered: Results in the order of the rows: one that is slow holds up those behind it. Without it results
                come as they are ready; `result.index` says which row it was.
            concurrency: As for `map`.
            on_error: As for `map`.
            checkpoint: As for `map`.
            executor: As for `map`.
            progress: As for `map`.
            deadline_s: As for `map`.
            budget_usd: As for `map`.
            tags: As for `map`.
            hooks: As for `map`.
        """
        check_options(concurrency, on_error, self.engine)
        return loops.stream_sync(
            lambda: self.aimap(
                rows,
                ordered=ordered,
                concurrency=concurrency,
                on_error=on_error,
                checkpoint=checkpoint,
                executor=executor,
                progress=progress,
                deadline_s=deadline_s,
                budget_usd=budget_usd,
                tags=tags,
                hooks=hooks,
            ),
            method="imap()",
            most=1,
        )

    async def aimap(
        self,
        rows: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        ordered: bool = True,
        concurrency: int | None = None,
        on_error: OnError = "return",
        checkpoint: str | os.PathLike[str] | None = None,
        executor: Literal["ray"] | Executor | None = None,
        progress: bool = False,
        deadline_s: float | None = None,
        budget_usd: Decimal | float | str | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: Sequence[Hook] = (),
    ) -> AsyncGenerator[Result, None]:
        """Run once for each row, and hand out each result as soon as it is there. See `imap` and `map`."""
        limit = check_options(concurrency, on_error, self.engine)
        source, elsewhere = RowSource(rows), executor_of(executor)
        self._call(deadline_s, budget_usd, tags, hooks)  # what makes no sense is refused before a row is read

        async def one(index: int, row: Any) -> Result:
            result = await self.aresult(row, deadline_s=deadline_s, budget_usd=budget_usd, tags=tags, hooks=hooks)
            if result.error is not None and on_error == "raise":
                raise result.error
            return replace(result, index=index)

        async with contextlib.AsyncExitStack() as stack:
            kept = None
            if checkpoint is not None:
                kept = await stack.enter_async_context(Checkpoint(checkpoint, pipeline_fingerprint(self), tags=tags))
            shown = stack.enter_context(Progress(source.total, show=progress))
            if elsewhere is None:
                results = each(one if kept is None else kept.keeping(one), source, concurrency=limit, ordered=ordered)
            else:
                options = {
                    "concurrency": concurrency,
                    "deadline_s": deadline_s,
                    "budget_usd": budget_usd,
                    "tags": tags,
                    "hooks": hooks,
                }
                results = run_elsewhere(elsewhere, self, source, options, kept, ordered=ordered)
            async with contextlib.aclosing(results):
                async for result in results:
                    if result.error is not None and on_error == "raise":
                        raise result.error
                    shown.add(result)
                    if result.resumed or elsewhere is not None:
                        result = await self.arevived(result)  # noqa: PLW2901  (the same result, typed)
                    yield result

    # Closing.

    async def aclose(self) -> None:
        """Close the engine, and the guards that hold something; idempotent. It cannot be used afterwards."""
        self._closed = True
        for station in (self.engine, *(guard.guard for guard in self._guards)):
            close = getattr(station, "aclose", None)
            if close is not None:
                await close()

    # The flow.

    def _call(
        self,
        deadline_s: float | None,
        budget_usd: Decimal | float | str | None,
        tags: Mapping[str, Any] | None,
        hooks: Sequence[Hook],
    ) -> Call:
        if self._closed:
            raise ClosedError(f"the pipeline {self.name!r} was closed")
        if deadline_s is not None and not deadline_s > 0:
            raise ConfigurationError(f"`deadline_s` is a time over 0 seconds, not {deadline_s!r}")
        if tags is not None and not isinstance(tags, Mapping):
            raise ConfigurationError(f"`tags` is a mapping, such as {{'team': 'docs'}}, not {tags!r}")
        every = self._hooks if hooks == () else (*self._hooks, *hooks_of(hooks))
        budget = budget_of(budget_usd)
        prices = self._prices
        if prices is None:  # a router that is reloaded may have others by now
            prices = getattr(self._line.engine, "prices", None) or PriceTable.default()
        guarded = bool(self._guards)
        return Call(deadline_s=deadline_s, budget_usd=budget, tags=tags, hooks=every, prices=prices, guarded=guarded)

    async def _bounded(self, call: Call, given: Any) -> Result:
        if call.deadline is None:
            return await self._answer(call, given)
        work = asyncio.get_running_loop().create_task(self._answer(call, given))
        try:
            return await within_deadline(call, work)
        except DeadlineExceeded as exc:
            self._end_overdue(call, exc)
            raise

    def _streaming(self, call: Call, given: Any) -> PipelineStream:
        return PipelineStream(
            lambda stream: self._stream(call, given, stream), call, lambda exc: self._end_overdue(call, exc)
        )

    async def _answer(self, call: Call, given: Any) -> Result:
        call.record(Started(call.started, self.name, False, self._lock))
        try:
            asking = self._rendering
            request = await asking.request_in_time(call, given) if asking.waits else asking.request(call, given)
            output = None if asking.output_for is None else asking.output_for(request.prompt)
            if output is not None:
                turn, outputs, wrong = await answered(request, output, call, self._turns, repairs=self._repairs)
            else:
                turn, outputs, wrong = await self._turns.ask(request, call), (), None
                if turn.response is not None and request.response_schema is not None:
                    outputs, wrong = await as_it_is(None, turn.request, turn.response, call)
            if turn.response is None:
                return self._blocked(call, turn.verdicts)
            end(call, "ok", response=turn.response, unrestored=turn.unrestored)
            return Result(
                blocked=False,
                verdicts=tuple(turn.verdicts),
                response=turn.response,
                call=call,
                outputs=outputs,
                output_error=wrong,
            )
        except BaseException as exc:
            self._fail(call, exc)
            raise

    async def _stream(self, call: Call, given: Any, stream: PipelineStream) -> AsyncGenerator[Chunk, None]:
        call.record(Started(call.started, self.name, True, self._lock))
        joiner = ChunkJoiner()
        guarded: GuardedChunks | None = None
        try:
            asking = self._rendering
            request = await asking.request_in_time(call, given) if asking.waits else asking.request(call, given)
            output = None if asking.output_for is None else asking.output_for(request.prompt)
            turns = self._turns
            if output is not None and not turns.constrained:
                request = instructed(request, output.schema)
            verdicts: list[Verdict] = []
            if turns.inputs:
                request, verdicts, blocked = await guard_input(turns.inputs, request, call)
                if blocked:
                    stream.result = self._blocked(call, verdicts)
                    return
            beside = turns.asking_beside(request, call) if turns.beside else None
            chunks = turns.leg.stream(request, call, None) if beside is None else beside.stream()
            if turns.outputs or turns.restoring:
                # Guards beside the engine may still change the request, but not after the first chunk.
                guarded = GuardedChunks(
                    chunks,
                    turns.outputs,
                    turns.restoring,
                    lambda: request if beside is None else beside.request,
                    call,
                    joiner.text,
                )
                chunks = guarded.chunks()
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    joiner.add(chunk)
                    yield chunk
            if beside is not None:
                verdicts = turns.in_order(verdicts + beside.verdicts)
                if beside.blocked:
                    stream.result = self._blocked(call, verdicts)
                    return
            if guarded is not None:
                verdicts += guarded.verdicts()
                if guarded.blocked_by is not None:
                    stream.result = self._blocked(call, verdicts, joiner.text())
                    return
            response = joiner.response(turns.leg.name)
            outputs, wrong = await as_it_is(output, request, response, call)
            unrestored = None if guarded is None else guarded.unrestored(response, joiner)
            end(call, "ok", response=response, unrestored=unrestored)
            stream.result = Result(
                blocked=False,
                verdicts=tuple(verdicts),
                response=response,
                call=call,
                outputs=outputs,
                output_error=wrong,
            )
        except BaseException as exc:
            if guarded is not None:
                guarded.note_found()
            self._fail(call, exc, joiner.text())
            raise

    def _blocked(self, call: Call, verdicts: list[Verdict], partial_text: str = "") -> Result:
        ordered = self._turns.with_skipped(verdicts)
        end(call, "blocked")
        return Result(
            blocked=True, verdicts=ordered, response=None, call=call, refusal=self._refusal, partial_text=partial_text
        )

    def _end_overdue(self, call: Call, exc: DeadlineExceeded) -> None:
        """Whoever waited has given up; what ignores its cancellation has not said so itself."""
        if not has_ended(call):
            call.overdue = True
            self._turns.note_unread(call)
            end(call, "DeadlineExceeded", exc)

    def _fail(self, call: Call, exc: BaseException, emitted: str = "") -> None:
        self._turns.note_unread(call)
        if self._turns.outputs:
            show_only(emitted, exc)
        end_failed(call, exc, self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _pipeline_again, (self.stations, self._options(), self._lock)

    def __repr__(self) -> str:
        lock = "" if self._lock is None else f" lock {self._lock[:8]}"
        return f"<Pipeline {self._line}{lock}>"


def _pipeline_again(stations: tuple[Any, ...], options: dict[str, Any], lock: str | None) -> Pipeline:
    return Pipeline(*stations, **options)._by_lock(lock)
