"""The libraries that some data needs, loaded when it is read."""

from __future__ import annotations

from typing import Any

from llmops_sdk.errors import MissingDependencyError

__all__ = ["arrow", "parquet", "type_adapter"]


def arrow(what: str) -> Any:
    """`pyarrow`.

    Raises:
        MissingDependencyError: It is not installed; the message names `what` needs it.
    """
    try:
        import pyarrow  # noqa: PLC0415  (third-party, and only for who has such data)
    except ImportError as exc:
        raise MissingDependencyError(what, package="pyarrow", extra="parquet") from exc
    return pyarrow


def parquet(what: str) -> Any:
    """`pyarrow.parquet`; raises as `arrow` does."""
    arrow(what)
    import pyarrow.parquet  # noqa: PLC0415

    return pyarrow.parquet


def type_adapter(kind: Any) -> Any:
    """What validates values as `kind` (pydantic).

    Raises:
        pydantic.errors.PydanticUserError: pydantic cannot validate such values.
    """
    import pydantic  # noqa: PLC0415  (third-party, and only where a type was given)

    return pydantic.TypeAdapter(kind)
