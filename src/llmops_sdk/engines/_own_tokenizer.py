"""The tokenizer of a model that runs in this process, for those who count tokens."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["own_tokenizer"]


def own_tokenizer(model: str, chat_template: str | None) -> Any:
    """The tokenizer of the model at `model`, a folder or a hub name, with its own or another chat template.

    It is not the one that the engine works with: tokenizers must not be changed while another thread encodes.
    `None` where it cannot be loaded without a network.
    """
    transformers = importlib.import_module("transformers")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError):  # it is not there, or needs code of its own
        return None
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    return tokenizer
