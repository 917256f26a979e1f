"""Model folders: what their files say without loading them, and whether they are whole.

A safetensors file begins with a header that names each tensor with its type, shape and place, so the length that the
file has to have is known after reading a few kB; https://huggingface.co/docs/safetensors describes the format.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from llmops_sdk.errors import ConfigurationError

__all__ = [
    "CHECKSUMS",
    "PICKLED",
    "Tensor",
    "checksum_faults",
    "is_local",
    "read_config",
    "revision_of",
    "settings_of",
    "sha256",
    "tensor_bits",
    "tensors_of",
    "weight_faults",
]

CHECKSUMS = "SHA256SUMS"
"""The file of checksums in a folder, in the form that `sha256sum -c` reads."""

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
"""Weights that run any code that is in them when they are loaded."""

_INDEX = "model.safetensors.index.json"
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors library itself."""

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


class Tensor(NamedTuple):
    """A tensor as the header of its file describes it."""

    name: str
    dtype: str
    elements: int
    size: int
    """Bytes."""


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder.

    Raises:
        ConfigurationError: It is not there, or is no JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{str(folder)!r} is no model folder: it has no config.json") from None
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{str(path)!r} is damaged: {exc}; download the model again") from exc
    if not isinstance(config, dict):
        raise ConfigurationError(f"{str(path)!r} is damaged: it holds no JSON object; download the model again")
    return config


def tensors_of(folder: Path) -> tuple[Tensor, ...]:
    """All tensors of the safetensors files of a folder, from their headers; none where there are no such files.

    Raises:
        ConfigurationError: A file is damaged.
    """
    found: list[Tensor] = []
    for path in _weight_files(folder):
        tensors, fault = _header(path)
        if fault is not None:
            raise ConfigurationError(f"{str(folder)!r}: {fault}; download the model again")
        found.extend(tensors)
    return tuple(found)


def weight_faults(folder: Path) -> tuple[str, ...]:
    """What is wrong with the weight files of a model folder, found from their names, headers and lengths alone.

    A folder without safetensors is one fault, which says what it has instead. This takes a millisecond for each file,
    whatever its length; what it cannot see, `checksum_faults` sees.
    """
    index = folder / _INDEX
    if index.is_file():
        try:
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            missing = [shard for shard in shards if not (folder / shard).is_file()]
        except (ValueError, KeyError, TypeError, AttributeError):
            return (f"{_INDEX} is damaged",)
        if missing:
            more = ", ..." if len(missing) > 3 else ""
            return (f"it lacks {len(missing)} of {len(shards)} weight files ({', '.join(missing[:3])}{more})",)
    files = _weight_files(folder)
    if not files:
        pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
        instead = f", only pickled ones ({pickled[0]})" if pickled else ""
        return (f"it holds no safetensors weights{instead}",)
    return tuple(fault for path in files if (fault := _header(path)[1]) is not None)


def checksum_faults(folder: Path) -> tuple[str, ...]:
    """Files of a folder that are not what its `SHA256SUMS` says; reads every byte of them.

    Raises:
        ConfigurationError: There is no such list, or it is damaged.
    """
    path = folder / CHECKSUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{str(folder)!r} has no {CHECKSUMS}, so nothing is known to compare its files with; "
            "`engines.weights.download` writes one"
        ) from None
    return tuple(_checksum_faults(folder, lines))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def revision_of(model: str | None, asked: object) -> str | None:
    """The revision that was `asked` of a hub; of a folder, a hash of its `SHA256SUMS`, which has one of each file."""
    if asked is not None:
        return str(asked)
    sums = Path(model).expanduser() / CHECKSUMS if model is not None and is_local(model) else None
    return f"sha256:{sha256(sums)}" if sums is not None and sums.is_file() else None


def settings_of(given: Mapping[str, Any], model: str | None, chat_template: str | None) -> dict[str, Any]:
    """The arguments `given` to an engine without the places of files: another machine has the same ones elsewhere."""
    settings = dict(given)
    if model is not None and is_local(model):
        settings["model"] = Path(model).name
    if chat_template is not None:
        settings["chat_template"] = chat_template
    if settings.get("adapters"):
        settings["adapters"] = {name: Path(folder).expanduser() for name, folder in settings["adapters"].items()}
    return settings


def tensor_bits(dtype: str) -> int | None:
    """Bits of a number of a safetensors type; `None`: the type is not known.

    Example:
        >>> tensor_bits("BF16"), tensor_bits("F8_E4M3")
        (16, 8)
    """
    return _BITS.get(dtype)


def _checksum_faults(folder: Path, lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        expected, _, name = line.partition("  ")
        path = folder / name
        if len(expected) != 64 or not name or not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{CHECKSUMS} in {str(folder)!r} is damaged: {line[:100]!r}")
        if not path.is_file():
            yield f"{name} is missing"
        elif sha256(path) != expected:
            yield f"{name} is damaged: its SHA-256 is not {expected[:12]}..."


def _weight_files(folder: Path) -> list[Path]:
    """The files that hold the model: those of the index, or all; some makers put a second copy beside them."""
    index = folder / _INDEX
    if index.is_file():
        try:
            return [folder / name for name in sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ConfigurationError(f"{str(index)!r} is damaged; download the model again") from exc
    single = folder / "model.safetensors"
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))


def _header(path: Path) -> tuple[list[Tensor], str | None]:
    """The tensors of one file, and what is wrong with it."""
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if length < 8 or size > min(length - 8, _LONGEST_HEADER):
                return [], f"{path.name} is cut off or no safetensors file: {length:,} bytes do not hold its header"
            header = json.loads(file.read(size))
        tensors = [_tensor(name, entry) for name, entry in header.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except FileNotFoundError:
        return [], f"{path.name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return [], f"{path.name} is damaged: its header cannot be read"
    expected = 8 + size + end
    if length != expected:
        word = "cut off" if length < expected else "too long"
        return [], f"{path.name} is {word}: it has {length:,} bytes, and its header says {expected:,}"
    return tensors, None


def _tensor(name: str, entry: Mapping[str, Any]) -> Tensor:
    start, end = entry["data_offsets"]
    elements = math.prod(entry["shape"])
    bits = _BITS.get(entry["dtype"])
    if not 0 <= start <= end or (bits is not None and (end - start) * 8 != elements * bits):
        raise ValueError(name)
    return Tensor(name, entry["dtype"], elements, end - start)


def is_local(model: str) -> bool:
    """Whether `model` is meant as a path and not as a name on a hub.

    Example:
        >>> is_local("./my-model"), is_local("HuggingFaceTB/SmolLM2-135M-Instruct")
        (True, False)
    """
    return model.startswith(("/", "./", "../", "~")) or Path(model).exists()
