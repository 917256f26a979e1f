"""Rows of pandas and of Hugging Face's `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmops_sdk.errors import ConfigurationError

__all__ = ["FrameRows", "HubRows"]

_BATCH = 256


class FrameRows:
    """The rows of a `pandas.DataFrame`, as it is now. What is missing (`NaN`, `NaT`, `NA`) is `None`.

    Raises:
        ConfigurationError: It is no frame, or its columns have no names, or two have the same.
    """

    def __init__(self, frame: Any) -> None:
        if not all(hasattr(frame, name) for name in ("iloc", "notna", "to_dict", "columns")):
            raise ConfigurationError(f"`from_pandas` takes a `pandas.DataFrame`, not a {type(frame).__name__}")
        names = list(frame.columns)
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise ConfigurationError(f"columns of a frame need names, each its own, to become cases: {names!r}")
        self._frame = frame.copy()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self._frame), _BATCH):
            part = self._frame.iloc[start : start + _BATCH]
            yield from part.astype(object).where(part.notna(), None).to_dict("records")


class HubRows:
    """The rows of a `datasets.Dataset` or `IterableDataset`; classes (`ClassLabel`) are given by their names.

    Raises:
        ConfigurationError: It is neither.
    """

    def __init__(self, data: Any) -> None:
        if isinstance(data, Mapping):
            names = ", ".join(map(repr, data))
            raise ConfigurationError(f"this holds several data sets ({names}): give one of them, `data[name]`")
        if not callable(getattr(data, "with_format", None)):
            raise ConfigurationError(
                f"`from_huggingface` takes a `datasets.Dataset` or `IterableDataset`, not a {type(data).__name__}"
            )
        self._data = data.with_format(None)  # plain values, whatever the application sees

    def __iter__(self) -> Iterator[dict[str, Any]]:
        features = self._data.features or {}
        classes = {name: one.int2str for name, one in features.items() if callable(getattr(one, "int2str", None))}
        for row in self._data:
            named = {name: name_of(row[name]) for name, name_of in classes.items() if _is_class(row.get(name))}
            yield {**row, **named}


def _is_class(value: Any) -> bool:
    return isinstance(value, int) and value >= 0  # -1: nobody knows
