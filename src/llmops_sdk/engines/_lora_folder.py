"""A LoRA adapter's folder, as PEFT writes it, looked at before vLLM reads it.

vLLM reports a folder that is not there by ending its core, and pads weights of another base model with zeros without a
word; so what can be told from the files is told here: `adapter_config.json`, and the headers of the safetensors files,
which name each tensor with its shape (<https://huggingface.co/docs/safetensors>, "Format").
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from llmops_sdk.errors import ConfigurationError, NotFoundError

__all__ = ["LORA_RANKS", "LoraFolder", "Tensor", "check_fit", "read_base", "read_lora", "tensors_of"]

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM takes for `max_lora_rank`."""

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PICKLED = ("adapter_model.bin", "adapter_model.pt")
_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100_000_000  # as in the reference implementation
_PLAIN = frozenset({"F64", "F32", "F16", "BF16"})
_FACTOR = re.compile(r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


class Tensor(NamedTuple):
    """What a safetensors header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoraFolder:
    """A folder that holds a whole LoRA adapter.

    Attributes:
        path: The folder, absolute.
        rank: The largest rank of its matrices.
        base_model: What its configuration names as the model that it was trained on.
        tensors: Name -> dtype and shape, as in its weights file.
    """

    path: Path
    rank: int
    base_model: str | None
    tensors: Mapping[str, Tensor]


def tensors_of(file: Path) -> dict[str, Tensor]:
    """Read the header of a safetensors file, and see whether the file is as long as the header says.

    Raises:
        ConfigurationError: The file is damaged, cut off, or cannot be read.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
            if size < _LENGTH_BYTES or length > min(size, _MOST_HEADER_BYTES):
                raise ValueError("it has no safetensors header")
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        tensors = {name: Tensor(one["dtype"], tuple(map(int, one["shape"]))) for name, one in header.items()}
        whole = _LENGTH_BYTES + length + max((int(one["data_offsets"][1]) for one in header.values()), default=0)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as exc:
        raise ConfigurationError(f"cannot read {str(file)!r}: {exc}; copy or download it again") from exc
    if size != whole:
        raise ConfigurationError(
            f"{str(file)!r} is damaged: it has {size:,} bytes instead of {whole:,}; copy or download it again"
        )
    return tensors


def read_lora(path: str | Path, *, name: str, engine: str, model: str | None) -> LoraFolder:
    """Look at the folder of the adapter `name`.

    Raises:
        NotFoundError: There is no such folder.
        ConfigurationError: It holds no LoRA adapter, only a part of one, or a pickled one.
    """
    folder = Path(path).expanduser().absolute()
    if not folder.exists():
        raise NotFoundError(f"the adapter {name!r} has no folder {str(folder)!r}", engine=engine, model=model)
    config = _config_of(folder, name)
    rank, patterns = _rank(config), config.get("rank_pattern") or {}
    weights = folder / _WEIGHTS
    if not weights.is_file():
        pickled = next((one for one in _PICKLED if (folder / one).is_file()), None)
        raise ConfigurationError(
            f"the adapter {name!r} in {str(folder)!r} has no {_WEIGHTS}"
            + (
                f", only {pickled}: a pickle runs any code that is in it when it is loaded; save the adapter with "
                "`save_pretrained(..., safe_serialization=True)`"
                if pickled
                else "; copy or download it again"
            )
        )
    tensors = tensors_of(weights)
    ranks = _ranks(tensors, name)
    if not patterns and ranks != {rank}:
        raise ConfigurationError(
            f"the adapter {name!r} does not fit its own {_CONFIG}, which says r={rank}: its weights have rank "
            f"{', '.join(map(str, sorted(ranks)))}; copy the whole folder again"
        )
    return LoraFolder(
        path=folder,
        rank=max(rank, *ranks),
        base_model=config.get("base_model_name_or_path") or None,
        tensors=tensors,
    )


def read_base(folder: Path) -> dict[str, Tensor]:
    """Names and shapes of a base model's weights; empty where the folder holds no safetensors.

    Raises:
        ConfigurationError: A weights file is damaged.
    """
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        if not file.name.startswith("consolidated"):  # the same weights once more, under other names
            tensors |= tensors_of(file)
    return tensors


def check_fit(lora: LoraFolder, base: Mapping[str, Tensor], *, name: str, max_rank: int) -> None:
    """See whether an adapter fits the engine's limit and, as far as the weights' names tell, the base model.

    What cannot be told (experts, weights under other names or quantized ones) is left to vLLM.

    Raises:
        ConfigurationError: Its rank is too large, or it was trained on another model.
    """
    if lora.rank > max_rank:
        fits = next((rank for rank in LORA_RANKS if rank >= lora.rank), None)
        raise ConfigurationError(
            f"the adapter {name!r} has rank {lora.rank}, more than the engine's max_lora_rank={max_rank}; "
            + (f"open the engine with max_lora_rank={fits}" if fits else f"vLLM takes {LORA_RANKS[-1]} at most")
        )
    modules = {tensor.rpartition(".")[0] for tensor in base}
    kinds = {module.rpartition(".")[2] for module in modules}
    layouts = {_NUMBER.sub("*", module) for module in modules}
    for tensor, (_, shape) in lora.tensors.items() if base else ():
        factor = _FACTOR.match(tensor)
        if factor is None or ".experts" in tensor or factor["module"] == "lm_head":  # the head may be the embedding
            continue
        module = factor["module"]
        there = base.get(f"{module}.weight")
        if module not in modules:
            if module.rpartition(".")[2] not in kinds or _NUMBER.sub("*", module) in layouts:
                raise ConfigurationError(
                    f"the adapter {name!r} changes {module!r}, which this base model does not have; it was trained on "
                    f"{lora.base_model or 'another model'}"
                )
        elif there is not None and there.dtype in _PLAIN and len(shape) == len(there.shape) == 2:
            incoming = factor["side"] == "A"
            side, size, expected = ("in" if incoming else "out"), shape[incoming], there.shape[incoming]
            if size != expected:
                raise ConfigurationError(
                    f"the adapter {name!r} was trained on another model ({lora.base_model or 'unnamed'}): {module!r} "
                    f"has {size} numbers {side} instead of {expected}"
                )


def _config_of(folder: Path, name: str) -> dict[str, Any]:
    file = folder / _CONFIG
    if not file.is_file():
        raise ConfigurationError(f"{str(folder)!r} is no folder of an adapter ({name!r}): it has no {_CONFIG}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"cannot read {str(file)!r}: {exc}; copy or download it again") from exc
    if not isinstance(config, dict):
        raise ConfigurationError(f"{str(file)!r} holds no JSON object; copy or download it again")
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise ConfigurationError(f"the adapter {name!r} is of the kind {kind!r}; only LoRA adapters can be loaded")
    return config


def _rank(config: Mapping[str, Any]) -> int:
    rank = config.get("r")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ConfigurationError(f"{_CONFIG} says r={rank!r}, which is no rank; copy or download the adapter again")
    return rank


def _ranks(tensors: Mapping[str, Tensor], name: str) -> set[int]:
    """The ranks of the pairs of matrices."""
    sides: dict[str, dict[str, int]] = {}
    for tensor, (_, shape) in tensors.items():
        factor = _FACTOR.match(tensor)
        if factor is not None and len(shape) == 2:
            sides.setdefault(factor["module"], {})[factor["side"]] = shape[0] if factor["side"] == "A" else shape[1]
    embeddings = [shape for tensor, (_, shape) in tensors.items() if tensor.endswith("lora_embedding_A")]
    if not sides and not embeddings:
        raise ConfigurationError(
            f"the weights of the adapter {name!r} hold no LoRA matrices; copy or download it again"
        )
    for module, ranks in sides.items():
        if len(ranks) < len("AB") or ranks["A"] != ranks["B"]:
            raise ConfigurationError(
                f"the weights of the adapter {name!r} are damaged: the matrices A and B of {module!r} do not go "
                "together; copy or download it again"
            )
    return {ranks["A"] for ranks in sides.values()} | {shape[0] for shape in embeddings}
