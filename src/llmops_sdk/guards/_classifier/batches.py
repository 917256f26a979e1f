"""Work of many threads and event loops, done in batches by a few threads."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from llmops_sdk.errors import ClosedError

__all__ = ["Batches"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Job(NamedTuple, Generic[_Item, _Result]):
    item: _Item
    future: concurrent.futures.Future[_Result]


class Batches(Generic[_Item, _Result]):
    """Gathers what waits into batches: a thread that gets free takes all that has come by then, `most` at most.

    So nothing ever waits for company: alone it is done at once, and under load the batches grow by themselves.

    Args:
        work: Does a batch; gives one result for each item, in order.
        most: Most items of a batch.
        waiting: Most items that wait; a thread that brings more has to wait itself.
        threads: How many batches are done at the same time.
    """

    def __init__(
        self,
        work: Callable[[Sequence[_Item]], Sequence[_Result]],
        *,
        most: int = 32,
        waiting: int = 1024,
        threads: int = 1,
    ) -> None:
        self._jobs: queue.Queue[_Job[_Item, _Result] | None] = queue.Queue(waiting)
        self._lock = threading.Lock()
        self._closed = False
        self._threads = [
            threading.Thread(target=_run, args=(self._jobs, work, most), name="llmops-sdk-classifier", daemon=True)
            for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, items: Sequence[_Item]) -> list[_Result]:
        """Do `items`; waits. Raises what the work raised, and `ClosedError` after `close`."""
        futures: list[concurrent.futures.Future[_Result]] = []
        for item in items:
            future: concurrent.futures.Future[_Result] = concurrent.futures.Future()
            self._put(_Job(item, future))
            futures.append(future)
        return [future.result() for future in futures]

    def _put(self, job: _Job[_Item, _Result]) -> None:
        while True:
            with self._lock:  # so that nothing comes behind the end
                if self._closed:
                    raise ClosedError("the classifier was closed")
                try:
                    self._jobs.put_nowait(job)
                except queue.Full:
                    pass
                else:
                    return
            threading.Event().wait(0.002)

    def close(self) -> None:
        """Let the threads end when what waits is done. Closing twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for _ in self._threads:
            self._jobs.put(None)


def _run(
    jobs: queue.Queue[_Job[_Item, _Result] | None], work: Callable[[Sequence[_Item]], Sequence[_Result]], most: int
) -> None:
    """The life of a thread; it knows the queue and not its owner, so that the owner can be forgotten."""
    while (first := jobs.get()) is not None:
        batch = [first]
        del first
        while len(batch) < most:
            try:
                job = jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                jobs.put(None)  # for the end of this round
                break
            batch.append(job)
        _do(batch, work)
        batch.clear()  # nothing of a text is kept while the thread waits


def _do(batch: list[_Job[_Item, _Result]], work: Callable[[Sequence[_Item]], Sequence[_Result]]) -> None:
    try:
        results = work([job.item for job in batch])
        for job, result in zip(batch, results, strict=True):
            job.future.set_result(result)
    except BaseException as exc:  # noqa: BLE001  (raised where the result is waited for)
        for job in batch:
            if not job.future.done():
                job.future.set_exception(exc)
