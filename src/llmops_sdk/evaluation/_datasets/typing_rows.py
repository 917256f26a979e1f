"""Values of rows, validated as what they should be (pydantic)."""

from __future__ import annotations

import functools
from typing import Any

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation._datasets.libraries import type_adapter

__all__ = ["Typed"]


class Typed:
    """Validates values as `kind`, and gives them as plain values: a model as the mapping of its fields.

    Args:
        kind: A pydantic model, a dataclass, a `TypedDict`, `int`: whatever pydantic can validate. `None`: anything.
        what: What the values are, for errors.

    Raises:
        ConfigurationError: pydantic cannot validate it.
    """

    def __init__(self, kind: Any, what: str) -> None:
        self._what = what
        self._adapter: Any = None
        if kind is not None:
            try:
                self._adapter = type_adapter(kind)
            except Exception as exc:
                raise ConfigurationError(f"`{what}_type` is no type that pydantic can validate: {exc}") from exc

    @functools.cached_property
    def fields(self) -> frozenset[str]:
        """Names of the fields that a value has; empty where nobody knows."""
        if self._adapter is None:
            return frozenset()
        schemas = [self._adapter.json_schema(by_alias=by_alias) for by_alias in (True, False)]
        return frozenset(name for schema in schemas for name in _properties(schema))

    def __call__(self, value: Any) -> Any:
        """The value.

        Raises:
            DatasetError: It is something else; the message says what is wrong, and where.
        """
        if self._adapter is None:
            return value
        try:
            return self._adapter.dump_python(self._adapter.validate_python(value))
        except ValueError as exc:  # pydantic's own error is one
            errors = getattr(exc, "errors", None)
            if errors is None:
                raise
            faults = [
                f"`{'.'.join([self._what, *map(str, one['loc'])])}`: {one['msg']}"
                for one in errors(include_url=False, include_context=False, include_input=False)
            ]
            raise DatasetError("; ".join(faults)) from exc


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: dict[str, Any] = schema.get("$defs", {}).get(name, schema).get("properties", {})
    return found
