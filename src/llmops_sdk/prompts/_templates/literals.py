"""Text that is to stay text in our templates."""

from __future__ import annotations

import re

__all__ = ["literal"]

_OPENS = re.compile(r"\{\{(?=[-+]?[ \t]*[^\W\d]|[#/^>!&]|[-+]?[ \t]+[\"'\d(\[])|\{[%#]")


def literal(text: str) -> str:
    """`text`, written so that a template gives just that.

    Example:
        >>> literal('{"a": 1} and {{ x }}')
        '{"a": 1} and {{ "{{" }} x }}'
    """
    return _OPENS.sub(lambda opening: f'{{{{ "{opening[0]}" }}}}', text)
