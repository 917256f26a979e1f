"""What the answers of a pipeline depend on, as one hash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmops_sdk.pipelines import Pipeline, configuration_hash, pins_of

__all__ = ["fingerprint_of"]

_NOT_ASKED = ("name", "prices", "source")
"""What of a pipeline's pins changes no answer."""


def fingerprint_of(pipeline: Pipeline) -> tuple[str, tuple[str, ...]]:
    """Hash of all that its answers depend on, and what of that has no form that another process could compare.

    It depends on the prompt, the models and their settings, adapters and guards; each that is left out has its reason.
    """
    pins = {name: value for name, value in pins_of(pipeline, "").items() if name not in _NOT_ASKED}
    return configuration_hash(pins), tuple(dict.fromkeys(_unpinned(pins)))


def _unpinned(pins: Any) -> Iterator[str]:
    if isinstance(pins, Mapping):
        if "unpinned" in pins:
            yield str(pins["unpinned"])
        for value in pins.values():
            yield from _unpinned(value)
