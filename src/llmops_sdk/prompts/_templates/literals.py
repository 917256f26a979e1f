"""Text that is to stay text in our templates."""

from __future__ import annotations

import re

from llmops_sdk.prompts._templates.openings import TEXT

__all__ = ["literal"]

# What `openings` takes for template wherever it ends: a variable may stand in the text in quotes, and its end behind.
_OPENS = re.compile(
    rf"\{{\{{(?=[-+]?[ \t]*[^\W\d]|[#/^>!&]|[-+]?[ \t]*(?!{TEXT}[ \t]*[:,])[\"']|[-+]?[ \t]+[\d(\[])|\{{[%#]"
)


def literal(text: str) -> str:
    """`text`, written so that a template gives just that.

    Example:
        >>> literal('{"a": 1} and {{ x }}')
        '{"a": 1} and {{ "{{" }} x }}'
    """
    return _OPENS.sub(lambda opening: f'{{{{ "{opening[0]}" }}}}', text)
