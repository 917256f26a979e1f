"""A classifier of safetensors weights, run by transformers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmops_sdk.errors import ConfigurationError, MissingDependencyError

__all__ = ["load_torch"]


def load_torch(folder: Path) -> tuple[frozenset[str], Callable[[dict[str, Any]], Any]]:
    """Load the model; gives the names of its inputs, and a function from the arrays of a batch to its logits.

    Raises:
        MissingDependencyError: torch or transformers is not installed.
        ConfigurationError: They cannot load it.
    """
    try:
        import torch  # noqa: PLC0415  (third-party, and only for folders without an ONNX file)
        from transformers import AutoModelForSequenceClassification  # noqa: PLC0415
    except ImportError as exc:
        raise MissingDependencyError(
            f"{str(folder)!r} has no ONNX file, and to run its safetensors",
            package=exc.name or "transformers",
            extra="tuning",
            command="pip install torch transformers",
        ) from exc
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            str(folder), trust_remote_code=False, use_safetensors=True, local_files_only=True
        )
    except Exception as exc:  # whatever is wrong with the folder: transformers raises many types
        raise ConfigurationError(f"transformers cannot load {str(folder)!r}: {type(exc).__name__}: {exc}") from exc
    model.eval()
    names = frozenset(inspect.signature(model.forward).parameters)

    def run(arrays: dict[str, Any]) -> Any:
        with torch.inference_mode():
            given = {name: torch.from_numpy(array) for name, array in arrays.items()}
            return model(**given).logits.float().numpy()

    return names, run
