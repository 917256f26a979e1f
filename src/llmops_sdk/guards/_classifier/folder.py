"""Folders of text classifiers: what is in them, which labels mean trouble, and what is refused; nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._classifier.by_onnx import external_files

__all__ = ["ModelFolder", "read_folder"]

ONNX_FILES = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
SAFETENSORS = "model.safetensors"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib", "*.h5", "*.msgpack")
"""Weights that run code when they are loaded, or that nothing here reads."""

UNSAFE = frozenset({
    "ATTACK", "HARMFUL", "HATE", "HATEFUL", "IDENTITY_ATTACK", "IDENTITY_HATE", "INJECTION", "INSULT", "JAILBREAK",
    "MALICIOUS", "NSFW", "OBSCENE", "OFFENSIVE", "PROMPT_INJECTION", "SEVERE_TOXIC", "SEVERE_TOXICITY",
    "SEXUAL_EXPLICIT",
    "THREAT", "TOXIC", "TOXICITY", "UNSAFE",
})  # fmt: skip
"""Labels that can mean only one thing."""

SAFE = frozenset({
    "BENIGN", "CLEAN", "HARMLESS", "LEGIT", "LEGITIMATE", "NEUTRAL", "NON_HATE", "NON_OFFENSIVE", "NON_TOXIC", "NORMAL",
    "NOT_HATE", "NOT_INJECTION", "NOT_OFFENSIVE", "NOT_TOXIC", "NOTHATE", "NO_INJECTION", "OK", "SAFE", "SFW",
})  # fmt: skip
"""Labels that can mean only that nothing is wrong."""

_LONGEST = 512
_MOST_TOKENS = 100_000
"""Tokenizers that know no limit state a number with thirty digits."""


class ModelFolder(NamedTuple):
    """A classifier on disk.

    Attributes:
        path: The folder.
        weights: The file that is loaded.
        tokenizer: Its `tokenizer.json`.
        runtime: What runs it.
        labels: Names of the outputs, in order.
        unsafe: Which of them mean that something was found: indices.
        multi_label: Whether each label has a probability of its own (sigmoid), or all share one (softmax).
        max_length: Most tokens of a window, special ones included.
    """

    path: Path
    weights: Path
    tokenizer: Path
    runtime: Literal["onnx", "torch"]
    labels: tuple[str, ...]
    unsafe: tuple[int, ...]
    multi_label: bool
    max_length: int


def read_folder(
    path: Path,
    *,
    file: str | None,
    labels: Sequence[str] | None,
    unsafe: Sequence[str] | None,
    multi_label: bool | None,
    max_length: int | None,
) -> ModelFolder:
    """Look at a folder; the arguments are those of `Classifier`.

    Raises:
        ConfigurationError: The folder is not there, not whole, or not to be trusted.
    """
    if not path.is_dir():
        raise ConfigurationError(f"there is no model folder {str(path)!r}")
    weights = _weights(path, file)
    config = _json(_beside(path, weights, "config.json"))
    tokenizer = _beside(path, weights, "tokenizer.json")
    try:
        tokenizer_config = _json(_beside(path, weights, "tokenizer_config.json"))
    except FileNotFoundError:
        tokenizer_config = {}
    for name, read in (("config.json", config), ("tokenizer_config.json", tokenizer_config)):
        if "auto_map" in read:
            raise ConfigurationError(
                f"{name} of {str(path)!r} asks for code of its own (`auto_map`), which is never run here. Export the "
                "model to ONNX and leave `auto_map` out"
            )
    names = _labels(path, config, labels)
    if config.get("problem_type") == "regression":
        raise ConfigurationError(f"{str(path)!r} is a regression: its output is no probability")
    if multi_label is None:
        multi_label = config.get("problem_type") == "multi_label_classification" or len(names) == 1
    if len(names) == 1 and not multi_label:
        raise ConfigurationError(f"{str(path)!r} has one label, {names[0]!r}; a softmax over one is always 1")
    return ModelFolder(
        path=path,
        weights=weights,
        tokenizer=tokenizer,
        runtime="torch" if weights.suffix == ".safetensors" else "onnx",
        labels=names,
        unsafe=_unsafe(path, names, unsafe),
        multi_label=multi_label,
        max_length=_max_length(config, tokenizer_config, max_length),
    )


def _weights(path: Path, file: str | None) -> Path:
    if file is not None:
        given = Path(file)
        if given.is_absolute() or ".." in given.parts or given.suffix not in {".onnx", ".safetensors"}:
            raise ConfigurationError(f"file={file!r} is no .onnx or .safetensors file inside of the model's folder")
        if not (path / given).is_file():
            raise ConfigurationError(f"{str(path)!r} has no file {file!r}")
        found = path / given
    else:
        found = next((path / name for name in (*ONNX_FILES, SAFETENSORS) if (path / name).is_file()), Path())
    if found == Path():
        pickled = sorted(one.name for pattern in PICKLED for one in path.glob(pattern))
        if pickled:
            raise ConfigurationError(
                f"{str(path)!r} holds only weights that can run code when they are loaded ({', '.join(pickled[:3])}): "
                "refused. Save the model with `save_pretrained(folder, safe_serialization=True)`, or export it to ONNX"
            )
        raise ConfigurationError(f"{str(path)!r} holds no model.onnx and no {SAFETENSORS}")
    if found.suffix == ".onnx":
        _check_external(path, found)
    return found


def _check_external(path: Path, model: Path) -> None:
    allowed = [path.resolve()]
    if path.parent.name == "snapshots":  # a folder of the hub's cache holds links to its `blobs`
        allowed.append((path.parent.parent / "blobs").resolve())
    for name in external_files(model):
        given = Path(name)
        real = (model.parent / given).resolve()
        inside = any(real.is_relative_to(root) for root in allowed)
        if given.is_absolute() or ".." in given.parts or not inside:
            raise ConfigurationError(f"{str(model)!r} wants weights from {name!r}, outside of its folder: refused")
        if not real.is_file():
            raise ConfigurationError(f"{str(model)!r} wants weights from {name!r}, which is not there")


def _beside(path: Path, weights: Path, name: str) -> Path:
    for place in (path / name, weights.parent / name):
        if place.is_file():
            return place
    if name == "tokenizer_config.json":
        raise FileNotFoundError(name)
    advice = (
        "; write it with `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`"
        if name == "tokenizer.json"
        else ""
    )
    raise ConfigurationError(f"{str(path)!r} has no {name}{advice}")


def _json(path: Path) -> Mapping[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {exc}") from exc
    if not isinstance(read, dict):
        raise ConfigurationError(f"{str(path)!r} is no JSON object")
    return read


def _labels(path: Path, config: Mapping[str, Any], labels: Sequence[str] | None) -> tuple[str, ...]:
    if labels is not None:
        if isinstance(labels, str) or not labels or len({_plain(one) for one in labels}) != len(labels):
            raise ConfigurationError(f"labels={labels!r} has to be a list of different names, one for each output")
        return tuple(labels)
    found = config.get("id2label")
    if not isinstance(found, dict) or not found:
        raise ConfigurationError(
            f"the config.json of {str(path)!r} has no `id2label`; pass `labels=[...]`, a name for each output"
        )
    try:
        by_index = {int(key): str(value) for key, value in found.items()}
    except ValueError as exc:
        raise ConfigurationError(f"`id2label` of {str(path)!r} has keys that are no numbers: {found}") from exc
    if sorted(by_index) != list(range(len(found))) or len({_plain(one) for one in by_index.values()}) != len(found):
        raise ConfigurationError(
            f"`id2label` of {str(path)!r} is not a different name for each of 0..{len(found) - 1}: {found}"
        )
    return tuple(by_index[index] for index in range(len(by_index)))


def _unsafe(path: Path, labels: tuple[str, ...], unsafe: Sequence[str] | None) -> tuple[int, ...]:
    plain = [_plain(label) for label in labels]
    if unsafe is not None:
        if isinstance(unsafe, str) or not unsafe:
            raise ConfigurationError(f'unsafe={unsafe!r} has to be a list of labels: `unsafe=["{labels[-1]}"]`')
        unknown = [label for label in unsafe if _plain(label) not in plain]
        if unknown:
            raise ConfigurationError(f"{str(path)!r} has no label {unknown}; its labels are {list(labels)}")
        chosen = tuple(sorted({plain.index(_plain(label)) for label in unsafe}))
        if len(chosen) == len(labels) and len(labels) > 1 and not all(one in UNSAFE for one in plain):
            raise ConfigurationError(f"unsafe={list(unsafe)!r} names every label, so every text would be found")
        return chosen
    chosen = tuple(index for index, label in enumerate(plain) if label in UNSAFE)
    unclear = [label for label, one in zip(labels, plain, strict=True) if one not in UNSAFE | SAFE]
    if unclear or not chosen:
        raise ConfigurationError(
            f"the labels of {str(path)!r} are {list(labels)}, which does not say what is to be found. Write "
            f'`unsafe=["{labels[-1]}"]` if that is the one (read the model\'s card first: taken the wrong way round a '
            "guard passes every attack)"
        )
    return chosen


def _plain(label: str) -> str:
    return label.strip().upper().replace("-", "_").replace(" ", "_")


def _max_length(config: Mapping[str, Any], tokenizer: Mapping[str, Any], asked: int | None) -> int:
    positions = config.get("max_position_embeddings")
    limits = [value for value in (positions, tokenizer.get("model_max_length")) if isinstance(value, int | float)]
    if isinstance(positions, int) and "roberta" in str(config.get("model_type")):
        limits[0] = positions - 2  # its positions begin behind the padding's
    known = [int(value) for value in limits if 0 < value <= _MOST_TOKENS]
    most = min(known, default=_LONGEST)
    if asked is None:
        return min(most, _LONGEST)
    if not 8 <= asked <= most:
        raise ConfigurationError(f"max_length={asked!r} is not between 8 and {most}, what the model can read")
    return asked
