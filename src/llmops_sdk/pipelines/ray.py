"""Ray Data runs a `map` in worker processes, here or on a cluster, each with a pipeline and an engine of its own.

    pipeline.map(rows, executor="ray")
    pipeline.map(rows, executor=Ray(workers=4, gpus=1))

The pipeline travels to the workers by pickle (engines as what they were made with, keys included), or is made there by
a function of yours. The rows are read first, all of them, and travel in batches; results come back batch by batch, and
Ray does not keep their order, so each carries the index of its row. What happens to a row happens to that row only.

Where the application has called `ray.init` itself, that Ray is used, and it stays. Otherwise one is started on this
machine, without a dashboard and without usage reports, and is stopped when the map has ended.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Any

from llmops_sdk import environment
from llmops_sdk.errors import ConfigurationError, EngineError, LlmopsError, MissingDependencyError
from llmops_sdk.pipelines._mapping import RowSource, check_options
from llmops_sdk.pipelines._records import record_of, result_of
from llmops_sdk.pipelines._result import Result

try:
    import pyarrow
    import ray
    import ray.data
except ImportError as exc:
    raise MissingDependencyError("`map(..., executor='ray')`", package="ray", extra="ray") from exc

__all__ = ["Ray", "open_executor"]

_log = logging.getLogger("ray.data._internal")

_OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Of a Ray that is started here: rows and results pass through it; what does not fit is spilled to the disk."""


class Ray:
    """Where `map` runs on Ray Data: `pipeline.map(rows, executor=Ray(workers=2))`.

    Args:
        workers: Processes, each with a pipeline and an engine of its own.
        cpus: ray.cloudpickleUs that Ray counts for each worker.
        gpus: GPUs that each worker has for itself; Ray shows it no others.
        batch_size: Rows that travel to a worker together, by default four times as many as the engine can hold at once.
            The next batch begins when the last row of one is done, so larger ones leave the engine less idle, and
            smaller ones are sooner in a checkpoint.
        make: Makes the pipeline in the worker, for pipelines that cannot be pickled; a function without arguments.

    Raises:
        ConfigurationError: A number makes no sense.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        cpus: float = 1.0,
        gpus: float = 0.0,
        batch_size: int | None = None,
        make: Callable[[], Any] | None = None,
    ) -> None:
        for name, value in (("workers", workers), ("batch_size", 1 if batch_size is None else batch_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"`{name}` is a whole number of at least 1, not {value!r}")
        if not (cpus > 0 and gpus >= 0):
            raise ConfigurationError(
                f"a worker needs `cpus` above 0 and `gpus` of at least 0, not {cpus!r} and {gpus!r}"
            )
        self.workers = workers
        self.cpus = cpus
        self.gpus = gpus
        self.batch_size = batch_size
        self.make = make

    async def results(
        self, pipeline: Any, rows: Sequence[tuple[int, Any]], options: Mapping[str, Any], /
    ) -> AsyncGenerator[Result, None]:
        """A result for each of `rows` (index, row), batch by batch. See `map`.

        Raises:
            ConfigurationError: The pipeline, a row or an option cannot be pickled.
            EngineError: Ray could not run the workers; `__cause__` says why.
        """
        limit = check_options(options["concurrency"], "return", pipeline.engine)
        options = {**options, "concurrency": limit}
        worker = _packed("the pipeline", (self.make or functools.partial(_given, pipeline), options))
        size = self.batch_size or min(4 * limit, math.ceil(len(rows) / self.workers))
        batches = RowSource(self._batches(worker, rows, size))  # Ray blocks, so it has a thread of its own
        try:
            while (batch := await batches.next()) is not RowSource.END:
                for index, record, packed in zip(*batch, strict=True):
                    error = None if packed is None else _unpacked(packed)
                    yield result_of(json.loads(record), index=index, tags=options["tags"], error=error)
        finally:
            batches.close()

    def _batches(self, worker: bytes, rows: Sequence[tuple[int, Any]], size: int) -> Iterator[list[list[Any]]]:
        items = [{"index": index, "row": _packed(f"row {index}", row)} for index, row in rows]
        with self._running():
            try:
                data = ray.data.from_items(items, override_num_blocks=math.ceil(len(items) / size))
                asked = data.map_batches(
                    _Worker,
                    fn_constructor_args=(worker,),
                    batch_size=None,
                    batch_format="pyarrow",
                    compute=ray.data.ActorPoolStrategy(size=self.workers),
                    num_cpus=self.cpus,
                    num_gpus=self.gpus or None,
                )
                for table in asked.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
                    yield [table[name].to_pylist() for name in ("index", "result", "error")]
            except ray.exceptions.RayError as exc:
                raise EngineError(f"Ray could not run the rows: {exc}") from exc

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Ray: that of the application, or one for this map."""
        context = ray.data.DataContext.get_current()
        bars, context.enable_progress_bars = context.enable_progress_bars, False
        level = _log.level
        _log.setLevel(logging.ERROR)  # it tells of each step; what fails is raised
        own = not ray.is_initialized()
        if own:
            with environment.defaults({"RAY_USAGE_STATS_ENABLED": "0"}):
                ray.init(
                    include_dashboard=False,
                    num_cpus=math.ceil(self.workers * self.cpus),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    log_to_driver=False,
                    logging_level=logging.WARNING,
                )
        try:
            yield
        finally:
            context.enable_progress_bars = bars
            _log.setLevel(level)
            if own:
                ray.shutdown()


class _Worker:
    """One pipeline in one process of Ray; it is closed when Ray ends the worker."""

    def __init__(self, packed: bytes) -> None:
        make, options = _unpacked(packed)
        self._options: dict[str, Any] = options
        self._pipeline = make()

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        rows = [_unpacked(row) for row in batch["row"].to_pylist()]
        results = self._pipeline.map(rows, **self._options)
        records = [json.dumps(record_of(one)).encode("ascii") for one in results]
        errors = [_error(one.error) for one in results]
        return pyarrow.table(
            {
                "index": batch["index"],
                "result": pyarrow.array(records, pyarrow.binary()),
                "error": pyarrow.array(errors, pyarrow.binary()),
            }
        )

    def __del__(self) -> None:
        pipeline = self.__dict__.get("_pipeline")
        if pipeline is not None:
            pipeline.close()


def _given(pipeline: Any) -> Any:
    return pipeline


def _error(error: Exception | None) -> bytes | None:
    if error is None:
        return None
    try:
        packed: bytes = ray.cloudpickle.dumps(error)
        _unpacked(packed)
    except Exception:  # noqa: BLE001  (an error of the application's own may be anything)
        packed = ray.cloudpickle.dumps(LlmopsError(f"{type(error).__name__}: {error}"))
    return packed


def _unpacked(packed: bytes) -> Any:
    """What `_packed` has packed, in a process of the same map."""
    return ray.cloudpickle.loads(packed)


def _packed(what: str, value: Any) -> bytes:
    try:
        packed: bytes = ray.cloudpickle.dumps(value)
    except Exception as exc:  # whatever objects raise that cannot be pickled
        raise ConfigurationError(
            f"{what} cannot travel to Ray's workers ({type(exc).__name__}: {exc}); hooks, clients and functions among "
            "its parts are the usual reason. Have the pipeline made there: `executor=Ray(make=function)`"
        ) from exc
    return packed


def open_executor() -> Ray:
    """What `executor="ray"` stands for: one worker."""
    return Ray()
