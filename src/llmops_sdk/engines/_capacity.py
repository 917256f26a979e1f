"""Plan a model on hardware before any of it is paid for: what fits, how fast it could be at most, what it would cost.

Memory is arithmetic: weights and KV cache are what the engine will allocate; activations and the runtime's own share
are estimates. Speed is a roofline (Williams, Waterman and Patterson, 2009): a step cannot be faster than its bytes
through the memory's bandwidth, nor than its operations through the compute units. Real engines stay below it.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from llmops_sdk.engines import _plan_html, _plan_text
from llmops_sdk.engines._architecture import (
    QUANTISATIONS,
    Architecture,
    Quantisation,
    read_architecture,
    read_quantisation,
)
from llmops_sdk.engines._checkpoints import Tensor, is_local, read_config, tensors_of
from llmops_sdk.engines._footprint import Weights
from llmops_sdk.engines._hardware import Device, Hardware, find_hardware
from llmops_sdk.engines._processor import best_dtype, computes_bfloat16
from llmops_sdk.errors import ConfigurationError, NotFoundError
from llmops_sdk.messages import Usage

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["ApiPrice", "Load", "Plan", "plan"]

_GIB = 2**30
_BLOCK_TOKENS = {"gpu": 16, "cpu": 128}
"""Tokens of a block of the KV cache, vLLM's defaults."""

_MOST_IN_A_NODE = 8
"""Devices that share each layer: more than one machine holds would send every layer through a network."""

_DTYPES = {"auto": None, "bfloat16": 16, "float16": 16, "half": 16, "float32": 32, "float": 32}


class TokenPrice(Protocol):
    """What an API charges; a `costs.Price` is one."""

    def cost(self, usage: Usage) -> Decimal | None:
        """US dollars for `usage`, `None` where they are not known."""
        ...


class Load(NamedTuple):
    """Bounds with so many requests at once; the engine cannot be faster."""

    concurrency: int
    decode_tokens_per_s: float
    """Of all requests together, while no prompt is read."""

    output_tokens_per_s: float
    """Of all requests together, with the reading of their prompts."""


class ApiPrice(NamedTuple):
    """The same requests at an API."""

    name: str
    usd_per_million_tokens: Decimal
    """Of prompt and answer together, in the plan's proportion."""

    break_even: float | None
    """Share of the plan's bound that has to be reached, day and night, for the hardware to cost as much; above 1 the
    API is cheaper. `None` where the hardware has no price."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan:
    """A model on hardware, planned. Print it; in a notebook it shows itself, and rich prints it in colours.

    Sizes are bytes; bounds hold for ideal software, so a real engine stays below them.

    Attributes:
        model: What was planned.
        family: Its `model_type`.
        parameters: How many it has.
        active_parameters: How many of them a token needs; fewer than all where there are experts.
        counted_from: `"safetensors headers"` (exact) or `"formula"`.
        quantisation: Of the weights, `None`: none.
        hardware: What it was planned for.
        devices: How many devices there are.
        device_memory: Memory of one.
        tensor_parallel: Devices that share each layer.
        pipeline_parallel: Groups of devices that share the layers among them.
        context: Tokens of a request, prompt and answer together.
        answer_tokens: How many of them are the answer.
        concurrency: Requests at once that were asked for.
        weights: Of the whole model, loaded.
        weights_per_device: Of one device's share.
        kv_per_token: KV cache of a token in all layers, while no window is full.
        kv_per_request: KV cache of a request of `context` tokens, in whole blocks.
        kv_cache_per_device: Room for the KV cache on each device.
        kv_cache_tokens: Tokens that fit there; devices that share the model keep slices of the same tokens.
        activations_per_device: An estimate.
        overhead_per_device: An estimate: the runtime itself, its graphs and its communication.
        max_requests: Most requests of `context` tokens at once.
        fits: Whether the model and `concurrency` such requests fit.
        verdict: That in words, and what would help.
        decode_tokens_per_s: Bound for all running requests together, while no prompt is read; `None`: not known.
        decode_tokens_per_s_alone: Bound for one request alone.
        prefill_tokens_per_s: Bound for reading prompts.
        first_token_s: Bound for the first token of a request that is alone.
        output_tokens_per_s: Bound for all requests together, with the reading of their prompts.
        usd_per_hour: Price of the devices that are used, `None` where it is not known.
        usd_per_million_tokens: Price of prompt and answer together at the bound, so the least possible.
        apis: The same requests at APIs.
        storage: Of the weight files.
        load_s: Bound for reading them from the disk.
        loads: Bounds by the number of requests at once.
        assumptions: What was taken as given.
        sources: Where the numbers of the hardware come from.
    """

    model: str
    family: str
    parameters: int
    active_parameters: int
    counted_from: str
    quantisation: str | None
    hardware: str
    devices: int
    device_memory: int
    tensor_parallel: int
    pipeline_parallel: int
    context: int
    answer_tokens: int
    concurrency: int
    weights: int
    weights_per_device: int
    kv_per_token: int
    kv_per_request: int
    kv_cache_per_device: int
    kv_cache_tokens: int
    activations_per_device: int
    overhead_per_device: int
    max_requests: int
    fits: bool
    verdict: str
    decode_tokens_per_s: float | None
    decode_tokens_per_s_alone: float | None
    prefill_tokens_per_s: float | None
    first_token_s: float | None
    output_tokens_per_s: float | None
    usd_per_hour: Decimal | None
    usd_per_million_tokens: Decimal | None
    apis: tuple[ApiPrice, ...]
    storage: int
    load_s: float
    loads: tuple[Load, ...]
    assumptions: tuple[str, ...]
    sources: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it; money is text, so that it stays exact."""
        result = dataclasses.asdict(self)
        for name in ("usd_per_hour", "usd_per_million_tokens"):
            result[name] = None if result[name] is None else str(result[name])
        result["apis"] = [
            {**api._asdict(), "usd_per_million_tokens": str(api.usd_per_million_tokens)} for api in self.apis
        ]
        result["loads"] = [load._asdict() for load in self.loads]
        return result

    def engine_options(self) -> dict[str, Any]:
        """The plan as options of `Engine.open("vllm:...")`: lengths, requests at once, parallelism."""
        options: dict[str, Any] = {
            "max_model_len": self.context,
            "max_num_seqs": max(min(self.concurrency, self.max_requests), 1),
        }
        if self.tensor_parallel > 1:
            options["tensor_parallel_size"] = self.tensor_parallel
        if self.pipeline_parallel > 1:
            options["pipeline_parallel_size"] = self.pipeline_parallel
        return options

    def __str__(self) -> str:
        return "\n".join("".join(text for text, _ in line).rstrip() for line in _plan_text.lines(self))

    __repr__ = __str__

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text  # noqa: PLC0415  (rich calls this, so it is there; nobody else pays for it)

        for line in _plan_text.lines(self):
            yield Text.assemble(*line, overflow="fold")

    def _repr_html_(self) -> str:
        return _plan_html.page(self)


def plan(
    model: str | Path | Mapping[str, Any],
    /,
    *,
    hardware: str = "here",
    context: int = 8192,
    concurrency: int = 64,
    answer_tokens: int | None = None,
    quantisation: str | None = None,
    dtype: str = "auto",
    kv_cache_dtype: str = "auto",
    kv_cache_gib: float | None = None,
    tensor_parallel: int | None = None,
    pipeline_parallel: int | None = None,
    gpu_memory_utilization: float = 0.92,
    usd_per_hour: Decimal | str | int | None = None,
    api_prices: Mapping[str, TokenPrice] | None = None,
    disk_gb_per_s: float = 2.0,
) -> Plan:
    """Plan a model on hardware from its `config.json` alone; nothing is loaded or started.

    Where the folder has safetensors files, parameters and bytes are counted from their headers; otherwise by formula,
    which is within 0.2 % of what the makers of well-known models publish.

    Args:
        model: A model folder, the contents of a `config.json`, or a name on the Hugging Face hub, which is asked then.
        hardware: `"H100-80GB x 2"`, or `"here"`: this machine's GPUs, or else its processors.
        context: Tokens of each request, prompt and answer together.
        concurrency: Requests at once.
        answer_tokens: Tokens of an answer; by default an eighth of `context`, at most 512.
        quantisation: Plan for weights that will be quantised: `"fp8"`, `"int8"`, `"int4"`, `"awq"`, `"gptq"`,
            `"mxfp4"` or `"nvfp4"`. By default what the checkpoint says.
        dtype: Of weights that are not quantised: `"auto"` (what `vllm:` chooses: 16 bits, or 32 on a CPU without
            instructions for bfloat16), `"bfloat16"`, `"float16"`, `"float32"`.
        kv_cache_dtype: `"auto"` (as `dtype`) or `"fp8"`.
        kv_cache_gib: GiB for the KV cache on each device; by default what is left.
        tensor_parallel: Devices that share each layer; by default the fewest with which everything fits.
        pipeline_parallel: Groups of devices that share the layers; by default likewise.
        gpu_memory_utilization: Share of the memory that the engine may use, as vLLM has it.
        usd_per_hour: Price of one device; by default that of the dated table, where it has one.
        api_prices: Prices to compare with, by name, such as `{"gpt-5-mini": PriceTable.default().price("gpt-5-mini")}`.
        disk_gb_per_s: What the disk reads, in 10^9 bytes a second.

    Raises:
        ConfigurationError: The config lacks a field or describes layers that are not known, the hardware is not known,
            or an argument is impossible.
        NotFoundError: There is no such folder, or no such model on the hub.
        MissingDependencyError: A name on the hub was given and `huggingface_hub` is not installed.

    Example:
        >>> config = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        ...     "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "torch_dtype": "bfloat16"}
        >>> plan(config, hardware="H100-80GB x 2", concurrency=32).verdict
        'fits: 32 requests of 8,192 tokens on 1 x H100-80GB-SXM; 56 is the most; 1 of 2 devices left over'
    """
    answer_tokens = _check_arguments(
        context, concurrency, answer_tokens, gpu_memory_utilization, kv_cache_gib, disk_gb_per_s
    )
    name, config, tensors = _read(model)
    architecture = read_architecture(config, name)
    if architecture.window is not None and context > architecture.window:
        raise ConfigurationError(f"context={context:,} is longer than {name} can read: {architecture.window:,} tokens")
    here = find_hardware(hardware)
    if dtype == "auto" and here.device.kind == "cpu" and quantisation is None:
        dtype = _cpu_dtype(model, here.device.memory_bytes)
    weights = Weights(architecture, tensors, *_chosen_quantisation(config, name, quantisation), _dtype_bits(dtype))
    wish = _Wish(
        context=context,
        concurrency=concurrency,
        answer=answer_tokens,
        kv_bits=_kv_bits(kv_cache_dtype, weights.bits),
        kv_gib=kv_cache_gib,
        share=gpu_memory_utilization,
    )
    given = (tensor_parallel, pipeline_parallel)
    layout, fits = _choose(weights, here, wish, given)
    verdict = _verdict(weights, here, wish, layout, fits, given)
    return _assemble(
        name,
        weights,
        here,
        wish,
        layout,
        verdict=verdict,
        usd_per_hour=_money(usd_per_hour),
        api_prices=api_prices or {},
        disk_gb_per_s=disk_gb_per_s,
    )


class _Wish(NamedTuple):
    """What has to fit."""

    context: int
    concurrency: int
    answer: int
    kv_bits: int
    kv_gib: float | None
    share: float

    @property
    def prompt(self) -> int:
        return self.context - self.answer


def _check_arguments(
    context: int, concurrency: int, answer: int | None, share: float, kv_gib: float | None, disk: float
) -> int:
    for name, value in (("context", context), ("concurrency", concurrency)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigurationError(f"`{name}` has to be a whole number, at least 1; not {value!r}")
    if context < 2:
        raise ConfigurationError("`context` has to hold a prompt and an answer: at least 2 tokens")
    answer = max(min(512, context // 8), 1) if answer is None else answer
    if isinstance(answer, bool) or not isinstance(answer, int) or not 1 <= answer < context:
        raise ConfigurationError(
            f"`answer_tokens` has to be at least 1 and less than context={context:,}; not {answer!r}"
        )
    if not 0 < share <= 1:
        raise ConfigurationError(f"`gpu_memory_utilization` has to be above 0 and at most 1; not {share!r}")
    if (kv_gib is not None and not kv_gib > 0) or not disk > 0:
        raise ConfigurationError("`kv_cache_gib` and `disk_gb_per_s` have to be above 0")
    return answer


def _read(model: str | Path | Mapping[str, Any]) -> tuple[str, Mapping[str, Any], tuple[Tensor, ...]]:
    """The model's name, its config, and its tensors where their headers can be read."""
    if isinstance(model, Mapping):
        return str(model.get("_name_or_path") or model.get("model_type") or "the model"), model, ()
    if isinstance(model, Path) or is_local(model):
        folder = Path(model).expanduser()
        if not folder.is_dir():
            raise NotFoundError(f"there is no model folder {str(folder)!r}", model=str(model))
        return folder.name or str(folder), read_config(folder), tensors_of(folder)
    config, tensors = importlib.import_module("llmops_sdk.engines.weights").describe(model)
    return model, config, tensors


def _chosen_quantisation(config: Mapping[str, Any], name: str, asked: str | None) -> tuple[Quantisation | None, bool]:
    """How the weights are quantised, and whether the files are so already."""
    stored = read_quantisation(config, name)
    if asked is None:
        return stored, True
    if asked not in QUANTISATIONS:
        raise ConfigurationError(f"quantisation={asked!r} is not known; write one of {', '.join(QUANTISATIONS)}")
    if stored is not None and stored.name != asked:
        raise ConfigurationError(f"{name} is quantised already ({stored.name}); leave `quantisation` out")
    return stored or QUANTISATIONS[asked], stored is not None


def _cpu_dtype(model: str | Path | Mapping[str, Any], free: int) -> str:
    """What a `vllm:` engine computes in on this machine, where the weights are here."""
    if isinstance(model, Mapping) or not (isinstance(model, Path) or is_local(model)):
        return "auto"
    return best_dtype(Path(model).expanduser(), free, native=computes_bfloat16()) or "auto"


def _dtype_bits(dtype: str) -> int | None:
    if dtype not in _DTYPES:
        raise ConfigurationError(f"dtype={dtype!r} is not known; write one of {', '.join(_DTYPES)}")
    return _DTYPES[dtype]


def _kv_bits(kv_cache_dtype: str, bits: int) -> int:
    if kv_cache_dtype == "auto":
        return bits
    if kv_cache_dtype.startswith("fp8"):
        return 8
    raise ConfigurationError(f"kv_cache_dtype={kv_cache_dtype!r} is not known; write 'auto' or 'fp8'")


def _money(given: Decimal | str | int | None) -> Decimal | None:
    if given is None:
        return None
    if isinstance(given, bool | float):
        raise ConfigurationError(f"`usd_per_hour` has to be exact money, not {given!r}: write '2.50'")
    try:
        amount = Decimal(given)
    except ArithmeticError:
        raise ConfigurationError(f"`usd_per_hour` has to be a number, not {given!r}") from None
    if not amount.is_finite() or amount < 0:
        raise ConfigurationError(f"`usd_per_hour` has to be a number >= 0, not {given!r}")
    return amount


class _Layout(NamedTuple):
    """The model over some devices."""

    tensor: int
    pipeline: int
    weights: int
    activations: int
    overhead: int
    kv_room: int
    """On each device; below 0 where not even the weights fit."""

    kv_tokens: int
    requests: int

    @property
    def devices(self) -> int:
        return self.tensor * self.pipeline


def _layout(weights: Weights, device: Device, wish: _Wish, tensor: int, pipeline: int) -> _Layout:
    architecture = weights.architecture
    on_cpu = device.kind == "cpu"
    step_tokens = 8192 if device.memory_bytes >= 70 * _GIB and not on_cpu else 2048
    activations = int(
        step_tokens * 3 * (architecture.hidden + architecture.widest / tensor) * weights.bits / 8
        + min(wish.concurrency, 1024) * architecture.vocabulary * 4
    )
    overhead = int((2.0 if on_cpu else 1.25 + (0.5 if tensor * pipeline > 1 else 0)) * _GIB)
    mine = weights.per_device(tensor, pipeline)
    room = int(device.memory_bytes * wish.share) - mine - activations - overhead
    if wish.kv_gib is not None:
        room = int(wish.kv_gib * _GIB) if room >= int(wish.kv_gib * _GIB) else -1
    block = _BLOCK_TOKENS[device.kind]
    share = weights.kv_share(tensor) * math.ceil(len(architecture.layers) / pipeline) / len(architecture.layers)
    request = weights.kv(wish.context, wish.kv_bits, block) * share
    requests = max(int(room // request), 0) if request else 0
    if all(layer.window is None for layer in architecture.layers):
        tokens = int(max(room, 0) // (weights.kv(block, wish.kv_bits) * share)) * block
        requests = tokens // (math.ceil(wish.context / block) * block)
    else:
        tokens = int(max(room, 0) / request * wish.context)
    return _Layout(tensor, pipeline, mine, activations, overhead, room, tokens, requests)


def _possible(
    architecture: Architecture, devices: int, given: tuple[int | None, int | None]
) -> Iterator[tuple[int, int]]:
    """(tensor, pipeline) with at most `devices` devices, fewest first; heads are never cut.

    Layers are shared by as many devices as a node has before a second group of devices is taken: that is the faster one
    where devices are linked well.
    """
    heads, kv_heads, layers = architecture.heads, architecture.kv_heads, len(architecture.layers)
    tensors = [
        tensor
        for tensor in range(1, min(devices, _MOST_IN_A_NODE if given[0] is None else devices, heads) + 1)
        if heads % tensor == 0 and (kv_heads == 0 or kv_heads % tensor == 0 or tensor % kv_heads == 0)
        if given[0] in (None, tensor)
    ]
    pairs = [
        (tensor, pipeline)
        for tensor in tensors
        for pipeline in range(1, min(devices // tensor, layers) + 1)
        if given[1] in (None, pipeline) and (pipeline == 1 or tensor == max(tensors) or given[1] is not None)
    ]
    yield from sorted(pairs, key=lambda pair: (pair[0] * pair[1], -pair[0]))


def _choose(
    weights: Weights, hardware: Hardware, wish: _Wish, given: tuple[int | None, int | None]
) -> tuple[_Layout, bool]:
    """The smallest layout with which everything fits; where there is none, the one that holds most."""
    best: _Layout | None = None
    for tensor, pipeline in _possible(weights.architecture, hardware.number, given):
        layout = _layout(weights, hardware.device, wish, tensor, pipeline)
        if layout.requests >= wish.concurrency:
            return layout, True
        if best is None or (layout.requests, layout.kv_room) > (best.requests, best.kv_room):
            best = layout
    if best is None:
        raise ConfigurationError(
            f"tensor_parallel={given[0]}, pipeline_parallel={given[1]} is not possible with {hardware}: the model has "
            f"{weights.architecture.heads} query heads, {weights.architecture.kv_heads} KV heads and "
            f"{len(weights.architecture.layers)} layers, which are never cut"
        )
    return best, False


def _verdict(
    weights: Weights,
    hardware: Hardware,
    wish: _Wish,
    layout: _Layout,
    fits: bool,
    given: tuple[int | None, int | None],
) -> str:
    device, asked = (
        hardware.device,
        f"{wish.concurrency:,} request{'s' * (wish.concurrency != 1)} of {wish.context:,} tokens",
    )
    if fits:
        used = f"{layout.devices} x {device.name}" if device.kind == "gpu" else device.name
        spare = hardware.number - layout.devices
        left = f"; {spare} of {hardware.number} devices left over" if spare else ""
        return f"fits: {asked} on {used}; {layout.requests:,} is the most{left}"
    if layout.kv_room < 0:
        need = layout.weights + layout.activations + layout.overhead + int((wish.kv_gib or 0) * _GIB)
        why = f"{need / _GIB:,.1f} GiB are needed on each device before any request, of {_usable(device, wish):,.1f}"
    else:
        why = f"{layout.requests:,} of {asked} fit"
    return f"does not fit: {why}; {_remedy(weights, hardware, wish, layout, given)}"


def _usable(device: Device, wish: _Wish) -> float:
    return device.memory_bytes * wish.share / _GIB


def _remedy(
    weights: Weights, hardware: Hardware, wish: _Wish, layout: _Layout, given: tuple[int | None, int | None]
) -> str:
    """What would make it fit."""
    ways: list[str] = []
    if hardware.device.kind == "gpu":
        for tensor, pipeline in _possible(weights.architecture, 64, (None, None)):
            if _layout(weights, hardware.device, wish, tensor, pipeline).requests >= wish.concurrency:
                split = f"tensor_parallel={tensor}" + (f", pipeline_parallel={pipeline}" if pipeline > 1 else "")
                ways.append(f"{tensor * pipeline} x {hardware.device.name} ({split})")
                break
    if layout.requests >= 1:
        ways.append(f"concurrency={layout.requests:,}")
        # Layers with a window do not shrink in proportion, so a shorter context has to be tried.
        shorter = wish._replace(context=layout.kv_tokens // wish.concurrency // 128 * 128)
        if wish.answer < shorter.context < wish.context and _choose(weights, hardware, shorter, given)[1]:
            ways.append(f"context={shorter.context:,}")
    if wish.kv_bits > 8 and _choose(weights, hardware, wish._replace(kv_bits=8), given)[1]:
        ways.append("kv_cache_dtype='fp8'")
    if weights.quantisation is None:
        for name in ("fp8", "int4"):
            if _choose(weights.quantised(QUANTISATIONS[name]), hardware, wish, given)[1]:
                ways.append(f"quantisation={name!r}")
                break
    return "needs " + ", or ".join(ways) if ways else "needs more memory, or a smaller model"


class _Speed:
    """The roofline of one layout; every method gives seconds that nothing can undercut, `None` where not known."""

    def __init__(self, weights: Weights, device: Device, wish: _Wish, layout: _Layout) -> None:
        self._weights, self._wish, self._layout = weights, wish, layout
        quantisation = weights.quantisation
        self._rate = device.compute(16 if quantisation is None else quantisation.compute_bits)
        self._bandwidth = device.bandwidth

    @property
    def known(self) -> bool:
        return self._rate is not None and self._bandwidth is not None

    def step(self, requests: int) -> tuple[float, float]:
        """(memory, compute) seconds of a step in which each of `requests` requests gets a token.

        Groups of layers work on different requests at the same time, so each group reads its weights once for its
        part of the requests.
        """
        assert self._rate is not None
        assert self._bandwidth is not None
        layout, wish = self._layout, self._wish
        groups = min(layout.pipeline, requests)
        length = wish.prompt + wish.answer / 2
        kept = self._weights.kv(length, wish.kv_bits) * self._weights.kv_share(layout.tensor) * requests / groups
        read = self._weights.read_in_a_step(requests / groups) / layout.tensor
        operations = self._weights.operations(length) * requests
        return (read + kept) / self._bandwidth, operations / (self._rate * layout.tensor * groups)

    def prompt(self) -> tuple[float, float]:
        """(memory, compute) seconds for reading one prompt."""
        assert self._rate is not None
        assert self._bandwidth is not None
        read = self._weights.read_in_a_step(self._wish.prompt) / (self._bandwidth * self._layout.tensor)
        return read, self._weights.prompt_operations(self._wish.prompt) / (self._rate * self._layout.devices)

    def load(self, requests: int) -> Load:
        memory, compute = self.step(requests)
        answer = self._wish.answer
        whole = max(answer * memory, answer * compute + requests * self.prompt()[1])
        return Load(requests, requests / max(memory, compute), requests * answer / whole)


def _assemble(
    name: str,
    weights: Weights,
    hardware: Hardware,
    wish: _Wish,
    layout: _Layout,
    *,
    verdict: str,
    usd_per_hour: Decimal | None,
    api_prices: Mapping[str, TokenPrice],
    disk_gb_per_s: float,
) -> Plan:
    device, block = hardware.device, _BLOCK_TOKENS[hardware.device.kind]
    speed = _Speed(weights, device, wish, layout)
    running = min(wish.concurrency, layout.requests)
    known = speed.known and running > 0
    now = speed.load(running) if known else None
    one = usd_per_hour if usd_per_hour is not None else device.usd_per_hour
    per_hour = None if one is None else one * layout.devices
    price = None
    if per_hour is not None and now is not None:
        tokens_per_hour = now.output_tokens_per_s * 3600 * wish.context / wish.answer
        price = _rounded(per_hour * 1_000_000 / Decimal(tokens_per_hour))
    prompt_memory, prompt_compute = speed.prompt() if known else (0.0, 0.0)
    return Plan(
        model=name,
        family=weights.architecture.family,
        parameters=weights.parameters,
        active_parameters=weights.active_parameters,
        counted_from=weights.counted_from,
        quantisation=None if weights.quantisation is None else weights.quantisation.name,
        hardware=str(hardware) if device.kind == "gpu" else device.name,
        devices=hardware.number,
        device_memory=device.memory_bytes,
        tensor_parallel=layout.tensor,
        pipeline_parallel=layout.pipeline,
        context=wish.context,
        answer_tokens=wish.answer,
        concurrency=wish.concurrency,
        weights=weights.loaded,
        weights_per_device=layout.weights,
        kv_per_token=int(weights.kv(1, wish.kv_bits)),
        kv_per_request=int(weights.kv(wish.context, wish.kv_bits, block)),
        kv_cache_per_device=max(layout.kv_room, 0),
        kv_cache_tokens=layout.kv_tokens,
        activations_per_device=layout.activations,
        overhead_per_device=layout.overhead,
        max_requests=layout.requests,
        fits=layout.requests >= wish.concurrency,
        verdict=verdict,
        decode_tokens_per_s=None if now is None else now.decode_tokens_per_s,
        decode_tokens_per_s_alone=speed.load(1).decode_tokens_per_s if known else None,
        prefill_tokens_per_s=wish.prompt / prompt_compute if known else None,
        first_token_s=max(prompt_memory, prompt_compute) if known else None,
        output_tokens_per_s=None if now is None else now.output_tokens_per_s,
        usd_per_hour=per_hour,
        usd_per_million_tokens=price,
        apis=_apis(api_prices, wish, price),
        storage=weights.stored,
        load_s=weights.stored / (disk_gb_per_s * 1e9),
        loads=tuple(speed.load(requests) for requests in _steps(layout.requests)) if known else (),
        assumptions=tuple(_assumptions(weights, device, wish, disk_gb_per_s)),
        sources=device.notes if usd_per_hour is None else device.notes[:1],
    )


def _steps(most: int) -> list[int]:
    """Numbers of requests: powers of two up to the most that fit, and that (1,024 at most)."""
    most = min(most, 1024)
    return sorted({*(2**power for power in range(most.bit_length())), most})


def _apis(prices: Mapping[str, TokenPrice], wish: _Wish, own: Decimal | None) -> tuple[ApiPrice, ...]:
    usage = Usage(input_tokens=wish.prompt, output_tokens=wish.answer)
    found: list[ApiPrice] = []
    for name, price in prices.items():
        cost = price.cost(usage) if hasattr(price, "cost") else None
        if cost is None:
            raise ConfigurationError(f"api_prices[{name!r}] knows no price for {wish.prompt:,} tokens of input")
        per_million = _rounded(cost * 1_000_000 / wish.context)
        found.append(ApiPrice(name, per_million, None if own is None or not cost else float(own / per_million)))
    return tuple(found)


def _rounded(amount: Decimal) -> Decimal:
    """To four significant digits: the bound is not more exact than that."""
    return amount if not amount else round(amount, 3 - amount.adjusted())


def _assumptions(weights: Weights, device: Device, wish: _Wish, disk_gb_per_s: float) -> Iterator[str]:
    yield from weights.assumptions
    yield f"each request has {wish.prompt:,} tokens of prompt and {wish.answer:,} of answer, and shares no prefix"
    yield "activations and the runtime's overhead are estimates; the KV cache gets what they leave"
    if any(layer.experts for layer in weights.architecture.layers):
        yield "tokens choose their experts evenly"
    if any(layer.window is not None for layer in weights.architecture.layers):
        yield "layers with a window keep no more than it; while a prompt is read, vLLM keeps a step's tokens, too"
    if device.kind == "cpu":
        yield "the memory is what is free now"
    yield f"the disk reads {disk_gb_per_s:g} GB/s"
