"""What somebody says of a run, checked."""

from __future__ import annotations

import math

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number

__all__ = ["feedback_score"]


def feedback_score(score: object, *, comment: object, label: object, name: object) -> float | None:
    """The score of feedback, where there is one; `True` and `False` are 1 and 0.

    Raises:
        ConfigurationError: Nothing was said, or something that makes no sense.
    """
    if score is None and comment is None and label is None:
        raise ConfigurationError("say something: `feedback(score=1)`, `feedback(comment='...')` or `label='...'`")
    for what, given in (("comment", comment), ("label", label)):
        if given is not None and not isinstance(given, str):
            raise ConfigurationError(f"`{what}` is a text, not {given!r}")
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"`name` says what was judged, such as 'helpful'; it is not {name!r}")
    if score is None:
        return None
    if not (isinstance(score, bool) or (is_number(score) and math.isfinite(score))):
        raise ConfigurationError(f"`score` is a finite number, True or False, not {score!r}")
    return float(score)
