"""What a model's `config.json` says about its size: parameters by formula, the KV cache of a token, the quantisation.

The field names are those of the `config.json` files on the Hugging Face hub. A family that is not in the table below is
read as a Llama would be, and `assumptions` says so; kinds of layers that would make that wrong are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from llmops_sdk.errors import ConfigurationError

__all__ = ["QUANTISATIONS", "Architecture", "Layer", "Quantisation", "read_architecture", "read_quantisation"]


class Layer(NamedTuple):
    """One layer; numbers of parameters unless they say otherwise."""

    attention: int
    """Of its projections."""

    dense: int
    """Of what every token passes after the attention: the MLP, or the shared experts."""

    expert: int
    """Of one of the experts that tokens are sent to."""

    experts: int
    """How many of those there are."""

    active: int
    """How many of those a token passes."""

    plain: int
    """Of norms, biases, routers: they are never quantised."""

    kv_values: int
    """Numbers that the KV cache keeps of a token."""

    score_width: int
    """Query heads x (width of a key + width of a value): a pair of tokens costs twice as many operations."""

    window: int | None
    """Tokens that it looks back; `None`: all."""

    @property
    def total(self) -> int:
        """All its parameters."""
        return self.attention + self.dense + self.expert * self.experts + self.plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A model's shape.

    Attributes:
        family: `model_type` of the config.
        layers: From first to last.
        embedding: Parameters of the table of embeddings, and of the norm before the head.
        head: Parameters of the output layer of its own, 0 where it is the table of embeddings.
        heads: Query heads of a layer.
        kv_heads: Heads of keys and values; 0 where they are compressed into one vector (MLA).
        hidden: Width of the stream between layers.
        widest: Width of the widest MLP that a token passes.
        vocabulary: Number of tokens.
        window: Most tokens of a request, `None` where the config does not say.
        stored_bits: Bits of a number as the config says that it is stored.
        parts_left_out: Parts of a multimodal model that are not counted.
        assumptions: What the config does not say and was taken as given.
    """

    family: str
    layers: tuple[Layer, ...]
    embedding: int
    head: int
    heads: int
    kv_heads: int
    hidden: int
    widest: int
    vocabulary: int
    window: int | None
    stored_bits: int
    parts_left_out: tuple[str, ...]
    assumptions: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.embedding + self.head + sum(layer.total for layer in self.layers)

    @property
    def active_parameters(self) -> int:
        """Parameters that the model needs for one token: of its experts those that the token is sent to."""
        idle = sum(layer.expert * (layer.experts - layer.active) for layer in self.layers)
        return self.parameters - idle


class Quantisation(NamedTuple):
    """How weights are stored.

    Example:
        >>> QUANTISATIONS["int4"].bits
        4.15625
    """

    name: str
    bits: float
    """Of one weight, with its share of the scales."""

    compute_bits: int
    """Of the numbers that are multiplied: 16 where weights are unpacked first."""

    attention: bool = True
    """Whether the projections of the attention are stored so, too."""

    dense: bool = True
    """Whether the MLPs and shared experts are."""


_INT4 = 4 + (16 + 4) / 128  # a 16-bit scale and a 4-bit zero for each group of 128
QUANTISATIONS = {
    "fp8": Quantisation("fp8", 8, 8),
    "int8": Quantisation("int8", 8, 16),
    "int4": Quantisation("int4", _INT4, 16),
    "awq": Quantisation("awq", _INT4, 16),
    "gptq": Quantisation("gptq", _INT4, 16),
    "mxfp4": Quantisation("mxfp4", 4 + 8 / 32, 16),
    "nvfp4": Quantisation("nvfp4", 4 + 8 / 16, 4),
}
"""By the names that `plan` takes."""


class _Family(NamedTuple):
    tied: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    qk_norm: bool = False
    norms: int = 2
    sinks: bool = False
    expert_bias: bool = False


# By `model_type`, from the `config.json` and the weight names of the published models.
_FAMILIES = {
    "llama": _Family(),
    "mistral": _Family(),
    "mixtral": _Family(),
    "granite": _Family(tied=True),
    "smollm3": _Family(tied=True),
    "phi3": _Family(),
    "qwen2": _Family(qkv_bias=True),
    "qwen2_moe": _Family(qkv_bias=True),
    "qwen3": _Family(qk_norm=True),
    "qwen3_moe": _Family(qk_norm=True),
    "gemma": _Family(tied=True),
    "gemma2": _Family(tied=True, norms=4),
    "gemma3_text": _Family(tied=True, norms=4, qk_norm=True),
    "gpt_oss": _Family(qkv_bias=True, o_bias=True, sinks=True, expert_bias=True),
    "deepseek_v2": _Family(),
    "deepseek_v3": _Family(),
    "kimi_k2": _Family(),
}

# Fields of layers that are no attention (Mamba, linear attention, convolutions), or that share their KV cache: the
# formulas below would be wrong for them.
_OTHER_LAYERS = (
    "ssm_cfg", "ssm_state_size", "mamba_d_state", "mamba_num_heads", "state_size", "linear_num_value_heads",
    "conv_L_cache", "hybrid_override_pattern", "attn_layer_period", "full_attn_idxs", "num_kv_shared_layers", "rwkv",
    "block_types", "is_encoder_decoder", "cross_attention_layers", "index_topk", "kv_sharing_groups",
)  # fmt: skip
_OTHER_NAMES = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"}
_BITS = {"float32": 32, "float": 32, "bfloat16": 16, "float16": 16, "half": 16}


class _Config:
    """A config that says which field is missing, and keeps what was assumed instead."""

    def __init__(self, fields: Mapping[str, Any], model: str) -> None:
        self.fields = fields
        self.model = model
        self.assumed: list[str] = []

    def number(self, name: str, *others: str) -> int:
        for known in (name, *others):
            value = self.fields.get(known)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
            if value is not None:
                raise ConfigurationError(
                    f"the config of {self.model}: `{known}` has to be a whole number above 0, not {value!r}"
                )
        older = next((old for old, new in _OTHER_NAMES.items() if new == name and old in self.fields), None)
        also = f" (it has `{older}`: the GPT-2 names are not read)" if older else ""
        raise ConfigurationError(f"the config of {self.model} lacks `{name}`{also}: nothing can be planned without it")

    def optional(self, name: str) -> int | None:
        return None if self.fields.get(name) is None else self.number(name)

    def flag(self, name: str, default: bool) -> bool:
        value = self.fields.get(name)
        return default if value is None else bool(value)

    def assume(self, text: str) -> None:
        if text not in self.assumed:
            self.assumed.append(text)


def read_architecture(config: Mapping[str, Any], model: str) -> Architecture:
    """The shape that a config describes; of a multimodal one that of its text model.

    Raises:
        ConfigurationError: A field is missing or impossible, or the layers are of a kind that is not known.
    """
    config, left_out = _text_part(config)
    fields = _Config(config, model)
    family_name = config.get("model_type")
    family = _FAMILIES.get(str(family_name))
    other = [name for name in _OTHER_LAYERS if config.get(name)]
    if other:
        raise ConfigurationError(
            f"the config of {model} (model_type {family_name!r}) has `{other[0]}`: layers of that kind are not known "
            "here, so its KV cache cannot be planned"
        )
    if family is None:
        family = _Family()
        fields.assume(f"model_type {family_name!r} is not known: its layers are counted as a Llama's would be")
    hidden, vocabulary = fields.number("hidden_size"), fields.number("vocab_size")
    heads = fields.number("num_attention_heads")
    layers = _layers(fields, family, hidden, heads)
    tied = fields.flag("tie_word_embeddings", family.tied)
    return Architecture(
        family=str(family_name),
        layers=layers,
        embedding=vocabulary * hidden + hidden,
        head=0 if tied else vocabulary * hidden,
        heads=heads,
        kv_heads=0 if "kv_lora_rank" in config else _kv_heads(fields, heads),
        hidden=hidden,
        widest=_widest(fields),
        vocabulary=vocabulary,
        window=fields.optional("max_position_embeddings"),
        stored_bits=_stored_bits(fields),
        parts_left_out=left_out,
        assumptions=tuple(fields.assumed),
    )


def _text_part(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    for name in ("text_config", "llm_config", "language_config"):
        inner = config.get(name)
        if isinstance(inner, Mapping):
            others = tuple(
                key.removesuffix("_config")
                for key, value in config.items()
                if key.endswith("_config") and isinstance(value, Mapping) and key not in (name, "quantization_config")
            )
            shared = ("tie_word_embeddings", "torch_dtype", "dtype", "quantization_config")
            return {**{key: config[key] for key in shared if key in config}, **inner}, others
    return config, ()


def _stored_bits(fields: _Config) -> int:
    name = fields.fields.get("dtype") or fields.fields.get("torch_dtype")
    if name is None:
        fields.assume("the config names no dtype: 16 bits")
        return 16
    bits = _BITS.get(str(name).removeprefix("torch."))
    if bits is None:
        raise ConfigurationError(f"the config of {fields.model}: dtype {name!r} is not known")
    return bits


def _kv_heads(fields: _Config, heads: int) -> int:
    if fields.flag("multi_query", default=False):
        return 1
    given = fields.optional("num_key_value_heads")
    if given is None:
        fields.assume("the config has no num_key_value_heads: as many as query heads")
    return given or heads


def _widest(fields: _Config) -> int:
    per_token = fields.optional("num_experts_per_tok") or fields.optional("experts_per_token") or 1
    expert = fields.optional("moe_intermediate_size")
    dense = fields.optional("intermediate_size") or 0
    return max(dense, per_token * (expert or (dense if _number_of_experts(fields) else 0)))


def _number_of_experts(fields: _Config) -> int:
    for name in ("num_local_experts", "n_routed_experts", "num_experts"):
        if fields.fields.get(name):
            return fields.number(name)
    return 0


def _layers(fields: _Config, family: _Family, hidden: int, heads: int) -> tuple[Layer, ...]:
    count = fields.number("num_hidden_layers")
    if count > 10_000:
        raise ConfigurationError(f"the config of {fields.model}: {count:,} layers")
    windows = _windows(fields, count)
    latent = "kv_lora_rank" in fields.fields
    attention = _latent_attention(fields, hidden, heads) if latent else _attention(fields, family, hidden, heads)
    experts = _number_of_experts(fields)
    routed = [bool(experts) and _is_routed(fields, index) for index in range(count)]
    dense = 0 if all(routed) else 3 * hidden * fields.number("intermediate_size")
    mlp_bias = (2 * fields.number("intermediate_size") + hidden) if fields.flag("mlp_bias", default=False) else 0
    plain = attention.plain + family.norms * hidden
    shape = _experts(fields, family, hidden, experts) if experts else None
    built: list[Layer] = []
    for index in range(count):
        if routed[index] and shape is not None:
            mlp = shape._replace(plain=shape.plain + plain)
        else:
            mlp = _Mlp(dense=dense, expert=0, experts=0, active=0, plain=plain + mlp_bias)
        built.append(
            Layer(
                attention=attention.projections,
                **mlp._asdict(),
                kv_values=attention.kv_values,
                score_width=attention.score_width,
                window=windows[index],
            )
        )
    return tuple(built)


class _Attention(NamedTuple):
    projections: int
    plain: int
    kv_values: int
    score_width: int


def _attention(fields: _Config, family: _Family, hidden: int, heads: int) -> _Attention:
    kv_heads = _kv_heads(fields, heads)
    width = fields.optional("head_dim")
    if width is None:
        if hidden % heads:
            raise ConfigurationError(
                f"the config of {fields.model} lacks `head_dim`, and hidden_size {hidden:,} is no multiple of "
                f"num_attention_heads {heads}"
            )
        width = hidden // heads
    qkv = (heads + 2 * kv_heads) * width
    plain = 0
    if family.qkv_bias or fields.flag("attention_bias", default=False):
        plain += qkv
    if family.o_bias or (fields.flag("attention_bias", default=False) and not family.qkv_bias):
        plain += hidden
    plain += 2 * width if family.qk_norm else 0
    plain += heads if family.sinks else 0
    return _Attention(hidden * qkv + heads * width * hidden, plain, 2 * kv_heads * width, 2 * heads * width)


def _latent_attention(fields: _Config, hidden: int, heads: int) -> _Attention:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): the cache keeps one compressed vector of a token."""
    latent, rope = fields.number("kv_lora_rank"), fields.number("qk_rope_head_dim")
    nope, value = fields.number("qk_nope_head_dim"), fields.number("v_head_dim")
    query_rank = fields.optional("q_lora_rank")
    key = nope + rope
    query = hidden * heads * key if query_rank is None else query_rank * (hidden + heads * key)
    projections = query + hidden * (latent + rope) + latent * heads * (nope + value) + heads * value * hidden
    return _Attention(projections, latent + (query_rank or 0), latent + rope, heads * (key + value))


class _Mlp(NamedTuple):
    dense: int
    expert: int
    experts: int
    active: int
    plain: int


def _experts(fields: _Config, family: _Family, hidden: int, experts: int) -> _Mlp:
    active = fields.number("num_experts_per_tok", "experts_per_token")
    if active > experts:
        raise ConfigurationError(f"the config of {fields.model}: a token passes {active} of {experts} experts")
    inner = fields.optional("moe_intermediate_size") or fields.number("intermediate_size")
    shared = fields.optional("shared_expert_intermediate_size")
    gate = hidden if shared else 0
    if shared is None:
        shared = inner * (fields.optional("n_shared_experts") or 0)
    bias = 2 * inner + hidden if family.expert_bias else 0
    router = hidden * experts + gate
    if family.expert_bias or fields.fields.get("topk_method") == "noaux_tc":
        router += experts
    return _Mlp(3 * hidden * shared, 3 * hidden * inner + bias, experts, active, router)


def _is_routed(fields: _Config, index: int) -> bool:
    given = fields.fields
    if index < int(given.get("first_k_dense_replace") or 0) or index in (given.get("mlp_only_layers") or ()):
        return False
    if index % int(given.get("moe_layer_freq") or 1):
        return False
    step = int(given.get("decoder_sparse_step") or given.get("interleave_moe_layer_step") or 1)
    return (index + 1) % step == 0


def _windows(fields: _Config, count: int) -> Sequence[int | None]:
    """The window of each layer."""
    given, family = fields.fields, fields.fields.get("model_type")
    kinds = given.get("layer_types")
    window = fields.optional("sliding_window") if given.get("use_sliding_window", True) else None
    if isinstance(kinds, Sequence) and not isinstance(kinds, str):
        if len(kinds) != count:
            raise ConfigurationError(f"the config of {fields.model}: {len(kinds)} `layer_types` for {count} layers")
        sizes = {
            "full_attention": None,
            "sliding_attention": window,
            "chunked_attention": given.get("attention_chunk_size"),
        }
        strange = next((kind for kind in kinds if kind not in sizes), None)
        if strange is not None:
            raise ConfigurationError(
                f"the config of {fields.model} has layers of the kind {strange!r}, which is not known here, so its KV "
                "cache cannot be planned"
            )
        return [sizes[kind] for kind in kinds]
    if window is None:
        return [None] * count
    if family in ("gemma2", "gpt_oss"):
        return [window if index % 2 == 0 else None for index in range(count)]
    if family == "gemma3_text":
        period = fields.optional("sliding_window_pattern") or fields.optional("_sliding_window_pattern") or 6
        return [None if (index + 1) % period == 0 else window for index in range(count)]
    if family in ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"):
        first = fields.optional("max_window_layers") or 0
        return [window if index >= first else None for index in range(count)]
    if family not in ("mistral", "mixtral", "phi3"):
        fields.assume(f"`sliding_window` {window:,} holds for all layers")
    return [window] * count


def read_quantisation(config: Mapping[str, Any], model: str) -> Quantisation | None:
    """How the weights of a checkpoint are quantised, `None` where they are not.

    Raises:
        ConfigurationError: By a method that is not known.
    """
    fields, _ = _text_part(config)
    given = config.get("quantization_config") or config.get("compression_config") or fields.get("quantization_config")
    if not isinstance(given, Mapping):
        return None
    method = str(given.get("quant_method") or "").lower()
    found = _method(method, given)
    if found is None:
        raise ConfigurationError(
            f"the config of {model} has a quantization_config with quant_method {method!r}, which is not known here; "
            "known: fp8, awq, gptq, mxfp4, modelopt (FP8, NVFP4), compressed-tensors, bitsandbytes"
        )
    out = given.get("modules_to_not_convert") or given.get("ignored_layers") or given.get("ignore") or ()
    whole = [str(name) for name in out if not any(character.isdigit() for character in str(name))]
    attention = any("self_attn" in name or name.endswith("attn") for name in whole)
    dense = any(name.rstrip("*.").endswith("mlp") or "shared_expert" in name for name in whole)
    return found._replace(attention=not attention, dense=not dense)


def _method(method: str, given: Mapping[str, Any]) -> Quantisation | None:
    if method in ("fp8", "fbgemm_fp8"):
        block = given.get("weight_block_size")
        scales = 32 / (block[0] * block[1]) if isinstance(block, Sequence) and len(block) == 2 else 0.0
        return Quantisation("fp8", 8 + scales, 8)
    if method in ("awq", "gptq", "auto-round"):
        return _integer(method, int(given.get("bits") or given.get("w_bit") or 4), given.get("group_size"))
    if method == "mxfp4":
        return QUANTISATIONS["mxfp4"]
    if method.startswith("modelopt"):
        algorithm = str(given.get("quant_algo") or (given.get("quantization") or {}).get("quant_algo") or "").upper()
        return {"FP8": QUANTISATIONS["fp8"], "NVFP4": QUANTISATIONS["nvfp4"]}.get(algorithm)
    if method == "compressed-tensors":
        return _compressed(given)
    if method == "bitsandbytes":
        if given.get("load_in_4bit"):
            return Quantisation("bitsandbytes 4 bit", 4 + 32 / 64, 16)
        return Quantisation("bitsandbytes 8 bit", 8, 16)
    return None


def _integer(name: str, bits: int, group: object) -> Quantisation:
    size = group if isinstance(group, int) and group > 0 else None
    return Quantisation(name, bits + ((16 + bits) / size if size else 0), 16)


def _compressed(given: Mapping[str, Any]) -> Quantisation | None:
    groups = given.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if not isinstance(weights, Mapping) or not isinstance(weights.get("num_bits"), int):
        return None
    bits, group = weights["num_bits"], weights.get("group_size")
    if weights.get("type") == "float" and bits == 4:
        return QUANTISATIONS["mxfp4" if group == 32 else "nvfp4"]
    inputs = first.get("input_activations") if isinstance(first, Mapping) else None
    if bits == 8 and isinstance(inputs, Mapping):
        return Quantisation("fp8" if weights.get("type") == "float" else "int8", 8, 8)
    return _integer(f"int{bits}" if weights.get("type") != "float" else "fp8", bits, group)
