"""Composition: every object on the line can be joined to the next one with `|`, in the order of the data.

This module holds the only import that points up in the house (to `pipelines`), inside a function: the operator has
to make the object that stands above all stations. `import-linter` knows of this one exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_sdk.pipelines import Draft, Pipeline

__all__ = ["Station"]


class Station:
    """Something that can stand on the line: `prompt | guard | engine | guard`."""

    def __or__(self, other: Any, /) -> Pipeline | Draft:
        return _join(self, other)

    def __ror__(self, other: Any, /) -> Pipeline | Draft:
        return _join(other, self)


def _join(left: Any, right: Any) -> Pipeline | Draft:
    from llmops_sdk.pipelines import join  # noqa: PLC0415  (see the module's docstring)

    return join(left, right)
