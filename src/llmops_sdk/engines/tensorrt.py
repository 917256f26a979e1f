"""`tensorrt:PATH` serves a model in this process with TensorRT-LLM's `LLM` API, on NVIDIA GPUs.

TensorRT-LLM is imported when an engine starts; that it is installed, and that there is a GPU, is looked at when an
engine is opened. It cannot be installed where this library is tested, so this engine **has not been run on a GPU**. It
is written against TensorRT-LLM's source, and tests hold every name that is used of it: see the documentation of
engines for the versions that were read.

TensorRT-LLM's front (chat template, tokens, streams) runs on the event loop that starts the engine, its *home loop*,
since it tells all streams of new tokens on one loop; requests from other loops and threads travel there. The model is
in worker processes that MPI spawns, so a script that starts an engine needs the usual `if __name__ == "__main__":`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import difflib
import importlib.util
import inspect
import itertools
import logging
import os
import shutil
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, cast

from llmops_sdk import loops
from llmops_sdk.engines._checkpoints import is_local, revision_of, settings_of
from llmops_sdk.engines._engine import Engine
from llmops_sdk.engines._lora_folder import read_lora
from llmops_sdk.engines._tensorrt_answer import AnswerReader
from llmops_sdk.engines._tensorrt_request import (
    INSTALL,
    TensorRTParts,
    check_request,
    prompt_tokens,
    sampling_params,
    translated,
)
from llmops_sdk.engines._vllm_request import template_text
from llmops_sdk.engines._vllm_start import Clock, Progress, TerminalLine
from llmops_sdk.errors import (
    ClosedError,
    ConfigurationError,
    ContextLengthError,
    EngineConnectionError,
    EngineDied,
    EngineTimeout,
    LlmopsError,
    MissingDependencyError,
    NotFoundError,
    ServerError,
)
from llmops_sdk.messages import Chunk, ChunkJoiner, FinishReason, Request, Response
from llmops_sdk.protocols import Capabilities

__all__ = ["TensorRT", "open_engine"]

log = logging.getLogger("llmops_sdk")

_DRAIN_S = 1.0
"""Seconds that `aclose` waits for requests in flight to notice that they were aborted."""

_COUNTS = ("tensor_parallel_size", "pipeline_parallel_size", "max_seq_len", "max_batch_size", "max_num_tokens")


@dataclasses.dataclass(slots=True, eq=False)
class _Flight:
    """A request that TensorRT-LLM works on.

    Attributes:
        result: TensorRT-LLM's `RequestOutput`.
        waits: The task that waits for its next step, `None` between two steps.
        error: What that task is to raise instead, when it is woken because no step will come.
    """

    result: Any
    waits: asyncio.Task[Any] | None = None
    error: LlmopsError | None = None

    async def step(self, coming: Callable[[], Awaitable[object]]) -> None:
        """Wait for the next step, or for `end`."""
        if self.error is not None:
            raise self.error
        task = self.waits = asyncio.current_task()
        try:
            await coming()
        except asyncio.CancelledError:
            if self.error is None or task is None or task.uncancel() > 0:
                raise
            raise self.error from None
        finally:
            self.waits = None

    def end(self, error: LlmopsError) -> None:
        """Have whoever waits raise `error`: TensorRT-LLM leaves them waiting when its workers have gone."""
        if self.error is None:
            self.error = error
            if self.waits is not None:
                self.waits.cancel()

    def abort(self) -> None:
        """Tell the workers that nobody wants the rest."""
        if not self.result.finished:
            with contextlib.suppress(Exception):  # workers that are gone cannot be told, and need not be
                self.result.abort()


class TensorRT(Engine):
    """A model in this process, by TensorRT-LLM, on NVIDIA GPUs.

    Making one starts nothing. It starts with the first request, or with `await engine.astart()` / `engine.start()`; a
    start that fails may be tried again. When the workers have died, the next request starts them again.

    Prompts that fill the window are refused with `ContextLengthError`: before they are sent where `max_seq_len` is
    given, else by TensorRT-LLM. A request that sets neither `temperature`, nor `top_p`, nor `top_k` is answered
    greedily, and then `n` has to be 1. `request.extra` takes TensorRT-LLM's own names: the sampling parameters
    `top_k`, `min_p`, `top_p_min`, `top_p_decay`, `presence_penalty`, `frequency_penalty`, `repetition_penalty`,
    `length_penalty`, `no_repeat_ngram_size`, `min_tokens`, `stop_token_ids`, `bad`, `bad_token_ids`, `ignore_eos`, ...;
    one of `regex`, `grammar`, `json_object`, `structural_tag` to shape the answer; `cache_salt` and
    `chat_template_kwargs`. Token ids are on every answer.

    Tools, images and thoughts are read by `trtllm-serve` only, which is an endpoint like any other.

    Args:
        model: Path of a model folder, or a name on the Hugging Face hub.
        name: Name of the engine, `"tensorrt"` if not given.
        tensor_parallel_size: Number of GPUs that share each layer.
        pipeline_parallel_size: Number of GPUs that share the layers among them.
        max_seq_len: Longest prompt and answer together, in tokens; the model's own limit if not given.
        max_batch_size: Most requests that share a step.
        max_num_tokens: Most tokens in one step; without `enable_chunked_prefill` no prompt can be longer.
        enable_chunked_prefill: Cut long prompts into steps that are shared with other requests.
        dtype: `"auto"`, `"bfloat16"`, `"float16"` or `"float32"`.
        kv_cache_config: Fields of TensorRT-LLM's `KvCacheConfig`: `free_gpu_memory_fraction`, `max_tokens`,
            `enable_block_reuse`, `host_cache_size`, `dtype`, `event_buffer_max_size`, ...
        tokenizer: Another tokenizer than the model's.
        chat_template: Another chat template than the model's: the path of a file, or Jinja text.
        trust_remote_code: Run Python code that comes with the model.
        backend: `"pytorch"`, which is the default, or `"_autodeploy"`.
        speculative_config: One of TensorRT-LLM's `...DecodingConfig` objects; later versions take a mapping, too.
        guided_decoding_backend: What keeps answers to a structure: `"xgrammar"` or `"llguidance"`; `None`: nothing.
        adapters: LoRA adapters that requests can name: name -> folder, as PEFT saves it. Sets `lora_config`, unless
            `llm_args` does.
        llm_args: All other arguments of `LLM`, by name. A checkpoint says itself how it is quantized.
        progress: Called with `(step, None)` when a step of the start begins, with `(step, seconds)` when it ends, and
            with `("ready", seconds)`. `False`: show nothing. By default a line on standard error, if it is a terminal.

    Attributes:
        provider: `"tensorrt_llm"`.

    Raises:
        ConfigurationError: A value is impossible, or is given twice.
        NotFoundError: An adapter has no folder.
    """

    provider = "tensorrt_llm"
    in_process: ClassVar[bool] = True

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        tensor_parallel_size: int | None = None,
        pipeline_parallel_size: int | None = None,
        max_seq_len: int | None = None,
        max_batch_size: int | None = None,
        max_num_tokens: int | None = None,
        enable_chunked_prefill: bool | None = None,
        dtype: str | None = None,
        kv_cache_config: Mapping[str, Any] | None = None,
        tokenizer: str | None = None,
        chat_template: str | None = None,
        trust_remote_code: bool | None = None,
        backend: Literal["pytorch", "_autodeploy"] | None = None,
        speculative_config: object = None,
        guided_decoding_backend: Literal["xgrammar", "llguidance"] | None = "xgrammar",
        adapters: Mapping[str, str | Path] | None = None,
        llm_args: Mapping[str, Any] | None = None,
        progress: Progress | bool = True,
    ) -> None:
        named = {
            "tensor_parallel_size": tensor_parallel_size,
            "pipeline_parallel_size": pipeline_parallel_size,
            "max_seq_len": max_seq_len,
            "max_batch_size": max_batch_size,
            "max_num_tokens": max_num_tokens,
            "enable_chunked_prefill": enable_chunked_prefill,
            "dtype": dtype,
            "tokenizer": tokenizer,
            "trust_remote_code": trust_remote_code,
            "backend": backend,
            "speculative_config": speculative_config,
            "guided_decoding_backend": guided_decoding_backend,
            "kv_cache_config": None if kv_cache_config is None else dict(kv_cache_config),
        }
        _check(model, named)
        self.name = name or "tensorrt"
        self.model = model
        self._arguments = {key: value for key, value in named.items() if value is not None}
        self._arguments |= _checked_llm_args(llm_args or {}, named)
        self._guided = guided_decoding_backend is not None
        self._chat_template = template_text(chat_template)
        self._adapters = self._read_adapters(adapters or {})
        self._progress = progress
        self._startup: Mapping[str, float] = MappingProxyType({})
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._home: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._llm: Any = None
        self._parts: TensorRTParts | None = None
        self._left_behind: list[Any] = []
        self._flights: set[_Flight] = set()
        self._numbers = itertools.count(1)
        self._asked = False
        self._closed = False

    def _read_adapters(self, adapters: Mapping[str, str | Path]) -> dict[str, tuple[int, str]]:
        """Name -> number and folder, as TensorRT-LLM knows an adapter."""
        read = {name: read_lora(path, name=name, engine=self.name, model=self.model) for name, path in adapters.items()}
        if read:
            self._arguments.setdefault(
                "lora_config",
                {
                    "lora_dir": [str(lora.path) for lora in read.values()],
                    "max_lora_rank": max(lora.rank for lora in read.values()),
                    "max_loras": len(read),
                    "max_cpu_loras": len(read),
                },
            )
        return {name: (number, str(lora.path)) for number, (name, lora) in enumerate(read.items())}

    @property
    def context_window(self) -> int | None:
        """Longest prompt and answer together, in tokens; `None` where neither you nor TensorRT-LLM said so."""
        asked = self._arguments.get("max_seq_len")
        if asked is None and self._llm is not None:
            asked = getattr(self._llm.args, "max_seq_len", None)
        return asked if isinstance(asked, int) else None

    @property
    def revision(self) -> str | None:
        """`llm_args["revision"]`, or a hash of the folder's `SHA256SUMS`; `None` where there is neither."""
        return revision_of(self.model, self._arguments.get("revision"))

    def configuration(self) -> dict[str, Any]:
        """See `Engine.configuration`. Where files lie is no part of it."""
        return settings_of(super().configuration(), self.model, self._chat_template)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do: text, and by a JSON schema unless `guided_decoding_backend` is `None`."""
        return Capabilities(
            tools=False, images=False, json_schema=self._guided, continues=False, context_window=self.context_window
        )

    @property
    def adapters(self) -> Collection[str]:
        """Names of the LoRA adapters that requests can name."""
        return self._adapters.keys()

    @property
    def concurrency(self) -> int:
        """`max_batch_size` and a quarter more, where it is given: the others wait to take a free place at once."""
        most = self._arguments.get("max_batch_size")
        return most + max(most // 4, 8) if isinstance(most, int) else super().concurrency

    @property
    def running(self) -> int:
        """How many requests TensorRT-LLM works on or has in its queue."""
        return len(self._flights)

    @property
    def startup(self) -> Mapping[str, float]:
        """Where the time of the last start went: `import` and `load`, in seconds; empty before it."""
        return self._startup

    async def astart(self) -> None:
        """Start now instead of with the first request. Concurrent calls share one start.

        Raises:
            ConfigurationError: TensorRT-LLM refuses the model or an option.
            EngineDied: Its workers did not come up.
            MissingDependencyError: TensorRT-LLM is not installed.
            NotFoundError: There is no such model folder.
            ClosedError: The engine was closed.
        """
        await loops.across(self._started, self._home_loop())

    def start(self) -> None:
        """`astart`, for code without an event loop: the SDK's own loop becomes the engine's home."""
        loops.run_sync(self.astart, method="start()")

    async def aclose(self) -> None:
        """End the workers and give all memory back; requests in flight fail with `ClosedError`. Idempotent.

        Every call returns when all is given back. A start that is under way is waited for, and ended.
        """
        self._closed = True
        home = self._home
        if home is None or self._pid != os.getpid():
            return
        if home is asyncio.get_running_loop() or not home.is_running():
            await self._closed_once()
        else:
            await loops.across(self._closed_once, home)

    async def agenerate(self, request: Request, /) -> Response:
        """Answer as a whole; starts the engine if it is not running. Errors are those of `Engine.agenerate`."""
        return await loops.across(lambda: self._answer(request), self._home_loop())

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """Answer in chunks; starts the engine if it is not running. Closing the iterator aborts the request."""
        home = self._home_loop()
        if home is asyncio.get_running_loop():
            stream = self._read(request, streamed=True)
        else:
            across = loops.stream_across(lambda: self._read(request, streamed=True), home)
            stream = cast("AsyncGenerator[Chunk, None]", across)
        async with contextlib.aclosing(stream) as chunks:
            async for chunk in chunks:
                yield chunk

    async def astats(self, timeout_s: float = 0.5) -> list[dict[str, Any]]:
        """What TensorRT-LLM tells of its last steps, under its own names; each is told once.

        It tells nothing unless the engine was opened with `llm_args={"enable_iter_perf_stats": True}`, and nothing
        before the first request.

        Args:
            timeout_s: Seconds to wait for one more, above 0.
        """
        return await loops.across(
            lambda: self._told(lambda llm: llm.get_stats_async(timeout=timeout_s)), self._home_loop()
        )

    async def akv_cache_events(self, timeout_s: float = 0.5) -> list[dict[str, Any]]:
        """What happened to blocks of the KV cache, under TensorRT-LLM's own names; each event is told once.

        It tells nothing unless the engine was opened with `kv_cache_config={"event_buffer_max_size": 1024}`, and
        nothing before the first request.

        Args:
            timeout_s: Seconds to wait for one more, above 0.
        """
        return await loops.across(
            lambda: self._told(lambda llm: llm.get_kv_cache_events_async(timeout=timeout_s)), self._home_loop()
        )

    async def _told(self, ask: Callable[[Any], AsyncIterator[dict[str, Any]]]) -> list[dict[str, Any]]:
        if self._llm is None or not self._asked:  # TensorRT-LLM listens from the first request on
            return []
        return [one async for one in ask(self._llm)]

    # Its life.

    def _home_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the engine lives on; the running one, if it lives nowhere yet."""
        here = asyncio.get_running_loop()
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed; open a new one")
        if self._pid != os.getpid():
            if self._home is not None:
                raise ClosedError(
                    f"the engine {self.name!r} was started before this process was forked, and its workers answer "
                    "only the parent; open a new engine in the child, or fork before the first request"
                )
            self._pid, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            home = self._home
            if home is not None and home.is_closed():
                if self._llm is not None:
                    log.warning("the event loop of the engine %r has ended, so it starts again on another", self.name)
                self._leave_behind()
                self._starting = None
                self._flights.clear()
                home = None
            elif home is not None and not home.is_running() and self._llm is self._starting is None:
                home = None  # nothing is running there
            if home is None:
                home = self._home = here
        if home is not here and not home.is_running():
            raise EngineConnectionError(
                f"the engine {self.name!r} lives on an event loop that is not running now; start it on one that is, or "
                "close it before its loop stops",
                engine=self.name,
                model=self.model,
            )
        return home

    async def _started(self) -> None:
        if self._llm is not None:
            return
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed; open a new one")
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name=f"start {self.name}")
            self._starting.add_done_callback(self._start_ended)
        # One caller that gives up must not stop the start that the others wait for.
        await asyncio.shield(self._starting)

    def _start_ended(self, task: asyncio.Task[None]) -> None:
        if self._starting is task:
            self._starting = None
        if not task.cancelled():
            task.exception()  # seen: those who waited for it have it, and perhaps nobody did

    async def _start(self) -> None:
        progress = self._progress
        clock = Clock((TerminalLine(self.name) if progress else None) if isinstance(progress, bool) else progress)
        try:
            parts, llm = await asyncio.to_thread(self._build, clock)
        finally:
            self._startup = MappingProxyType(dict(clock.steps))
        self._parts, self._llm, self._asked = parts, llm, False
        self._opened = True
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed while it started")
        clock.ready()

    def _build(self, clock: Clock) -> tuple[TensorRTParts, Any]:
        """Import TensorRT-LLM and load the model. On a thread of its own: both block, for minutes."""
        self._shut_down_left_behind()
        model = str(self.model)
        if is_local(model):
            model = str(Path(model).expanduser())
            if not Path(model).exists():
                raise NotFoundError(f"there is no model folder {model!r}", engine=self.name, model=self.model)
        with clock.step("import"):
            parts = TensorRTParts()
        arguments: dict[str, Any] = dict(self._arguments)
        try:
            with clock.step("load"):
                if "kv_cache_config" in arguments:
                    arguments["kv_cache_config"] = parts.KvCacheConfig(**arguments["kv_cache_config"])
                return parts, parts.LLM(model, **arguments)
        except (ValueError, TypeError, OSError) as exc:  # pydantic's ValidationError is a ValueError
            raise ConfigurationError(f"TensorRT-LLM cannot start {model!r}: {exc}") from exc
        except Exception as exc:  # the workers run elsewhere and may fail in any way
            if "GPUs are available" in str(exc):
                raise ConfigurationError(f"TensorRT-LLM cannot start {model!r}: {exc}") from exc
            raise EngineDied(
                f"TensorRT-LLM's workers did not come up for {model!r}: {type(exc).__name__}: {exc} (its own log says "
                "more). They are spawned: what a script does has to stand under `if __name__ == '__main__':`",
                engine=self.name,
                model=self.model,
            ) from exc

    def _leave_behind(self) -> None:
        if self._llm is not None:
            self._left_behind.append(self._llm)
        self._llm = None
        self._opened = False

    def _died(self, llm: Any, error: LlmopsError) -> None:
        """The workers are gone: nobody is to wait for them, and the next request starts them again."""
        if llm is not self._llm:
            return
        self._leave_behind()
        for flight in list(self._flights):
            flight.end(error)

    async def _closed_once(self) -> None:
        ending = self._ending
        if ending is None:
            ending = self._ending = asyncio.create_task(self._shut_down(), name=f"close {self.name}")
        elif ending.done() or ending.get_loop() is not asyncio.get_running_loop():
            return
        await asyncio.shield(ending)  # one caller that gives up must not leave the rest half closed

    async def _shut_down(self) -> None:
        starting = self._starting
        if starting is not None and starting.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([starting])
        if self._home is asyncio.get_running_loop():
            for flight in list(self._flights):
                flight.abort()
            for _ in range(round(_DRAIN_S / 0.01)):
                if not any(flight.waits for flight in self._flights):
                    break
                await asyncio.sleep(0.01)
            for flight in list(self._flights):
                flight.end(self._closed_error())
        self._leave_behind()
        await asyncio.to_thread(self._shut_down_left_behind)

    def _shut_down_left_behind(self) -> None:
        while self._left_behind:
            self._left_behind.pop().shutdown()

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"the engine {self.name!r} was closed before the answer was complete")

    # Answers.

    async def _answer(self, request: Request) -> Response:
        joiner = ChunkJoiner()
        async with contextlib.aclosing(self._read(request, streamed=False)) as chunks:
            async for chunk in chunks:
                joiner.add(chunk)
        return joiner.response()

    async def _read(self, request: Request, *, streamed: bool) -> AsyncGenerator[Chunk, None]:
        where: dict[str, Any] = {"engine": self.name, "model": self.model}
        check_request(request, adapters=self._adapters, guided=self._guided, **where)
        await self._started()
        llm, parts = self._llm, self._parts
        if llm is None or parts is None:
            raise ClosedError(f"the engine {self.name!r} was closed")
        with self._errors(llm, parts):
            options = self._options(llm, parts, request)
            result = llm.generate_async(streaming=streamed, **options)
            self._asked = True
            labels = {**where, "id": f"{self.name}-{next(self._numbers)}"}
            reader = AnswerReader(request, llm.tokenizer.decode, self._finish_reason, labels)
            flight = _Flight(result)
            self._flights.add(flight)
            try:
                while not result.finished:
                    await flight.step(result.__anext__ if streamed else result.aresult)
                    for chunk in reader.read(result):
                        yield chunk
            finally:
                self._flights.discard(flight)
                flight.abort()

    def _options(self, llm: Any, parts: TensorRTParts, request: Request) -> dict[str, Any]:
        """What `generate_async` is given for `request`."""
        tokens = prompt_tokens(llm.tokenizer, request, self._chat_template)
        window = self.context_window
        if window is not None and len(tokens) >= window:
            raise ContextLengthError(
                f"the prompt has {len(tokens)} tokens, which leaves no room for an answer in the window of {window} "
                "tokens; shorten it, or raise `max_seq_len`",
                tokens=len(tokens),
                window=window,
                engine=self.name,
                model=self.model,
            )
        options: dict[str, Any] = {"inputs": tokens, "sampling_params": sampling_params(parts, request)}
        if request.adapter is not None:
            number, path = self._adapters[request.adapter]
            options["lora_request"] = parts.LoRARequest(request.adapter, number, path)
        if "cache_salt" in request.extra:
            options["cache_salt"] = request.extra["cache_salt"]
        return options

    @contextlib.contextmanager
    def _errors(self, llm: Any, parts: TensorRTParts) -> Iterator[None]:
        """Our errors instead of TensorRT-LLM's."""
        try:
            yield
        except LlmopsError:
            raise
        except Exception as exc:  # what TensorRT-LLM lets through is translated, whatever it is
            if self._closed:
                raise self._closed_error() from exc
            error = translated(exc, parts, engine=self.name, model=self.model)
            if isinstance(error, EngineDied):
                self._died(llm, error)
            raise error from exc

    def _finish_reason(self, reason: str) -> FinishReason:
        if reason == "stop":
            return "stop"
        if reason == "length":
            return "length"
        if self._closed:
            raise self._closed_error()
        if reason == "timeout":
            raise EngineTimeout("TensorRT-LLM's own time limit ended it", engine=self.name, model=self.model)
        raise ServerError(f"TensorRT-LLM gave the request up ({reason})", engine=self.name, model=self.model)


def open_engine(
    spec: str, *, model: str | None = None, api_key: str | None = None, name: str | None = None, **options: Any
) -> Engine:
    """Open `"tensorrt:PATH"` or `"tensorrt:HUB-NAME"`; see `TensorRT` for the options. Nothing is started.

    Raises:
        ConfigurationError: An option is unknown or impossible, or there is no NVIDIA GPU.
        MissingDependencyError: TensorRT-LLM is not installed.

    Example:
        >>> open_engine("tensorrt:./model", max_sequence_length=2048)
        Traceback (most recent call last):
        ...
        llmops_sdk.errors.ConfigurationError: `tensorrt:` has no option 'max_sequence_length'; did you mean ...
    """
    path = spec.partition(":")[2]
    if path and model and path != model:
        raise ConfigurationError(f"{spec!r} names the model already; leave out model={model!r}")
    if api_key is not None:
        raise ConfigurationError("`tensorrt:` runs in this process and takes no api_key")
    known = [
        parameter.name
        for parameter in inspect.signature(TensorRT).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name != "name"
    ]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise ConfigurationError(
                f"`tensorrt:` has no option {option!r}{hint} It takes {', '.join(known)}; all other arguments of "
                "TensorRT-LLM's `LLM` go into `llm_args`"
            )
    opened = TensorRT(path or model or "", name=name, **options)
    if importlib.util.find_spec("tensorrt_llm") is None:
        raise MissingDependencyError("`tensorrt:`", package="tensorrt_llm", extra="", command=INSTALL)
    if not _has_gpu():
        raise ConfigurationError(
            "`tensorrt:` needs an NVIDIA GPU of compute capability 8.0 or higher (Ampere or later) with its driver, "
            "and this machine shows none: there is no /dev/nvidia0 and no `nvidia-smi`. Ask a `trtllm-serve` elsewhere "
            "by its URL, or use `vllm:` or `embedded:` here"
        )
    return opened


def _has_gpu() -> bool:
    """Whether there is an NVIDIA driver; neither it nor CUDA is loaded for that."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def _check(model: str, named: Mapping[str, Any]) -> None:
    if not model:
        raise ConfigurationError("`tensorrt:` needs a model: `Engine.open('tensorrt:PATH')`")
    for name in _COUNTS:
        value = named[name]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ConfigurationError(f"{name} has to be a whole number of at least 1, not {value!r}")
    if named["backend"] not in (None, "pytorch", "_autodeploy"):
        raise ConfigurationError(
            f"backend is 'pytorch' or '_autodeploy', not {named['backend']!r}; serve an engine that was built by "
            "`trtllm-build` with `trtllm-serve`, and open it by its URL"
        )
    if named["guided_decoding_backend"] not in (None, "xgrammar", "llguidance"):
        raise ConfigurationError(
            f"guided_decoding_backend is 'xgrammar', 'llguidance' or None, not {named['guided_decoding_backend']!r}"
        )


def _checked_llm_args(llm_args: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    for name in llm_args:
        if name in named:
            raise ConfigurationError(f"{name!r} is an option of its own: write `{name}=...` instead of llm_args")
        if name == "model":
            raise ConfigurationError("llm_args cannot name the model: write `Engine.open('tensorrt:PATH')`")
        if name == "skip_tokenizer_init":
            raise ConfigurationError("skip_tokenizer_init leaves no tokenizer, and this engine needs one")
    return dict(llm_args)
