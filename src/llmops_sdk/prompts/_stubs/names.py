"""Names of Python for what has other names: prompts, properties."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

__all__ = ["Names", "class_name", "is_field"]


def class_name(name: str) -> str:
    """The name of a class for `name`; not unique.

    Example:
        >>> class_name("support/answer_in-full"), class_name("2fa"), class_name("none")
        ('SupportAnswerInFull', 'Prompt2fa', 'NonePrompt')
    """
    # Python reads names in this form, so two that are the same in it would be one class.
    words = re.split(r"[\W_]+", unicodedata.normalize("NFKC", name))
    joined = "".join(word[:1].upper() + word[1:] for word in words)
    if not joined.isidentifier():
        joined = f"Prompt{joined}"
    if not joined.isidentifier():  # signs that are of words, but not of names
        joined = "".join(sign for sign in joined if f"x{sign}".isidentifier())
    return f"{joined}Prompt" if keyword.iskeyword(joined) else joined


def is_field(name: str) -> bool:
    """Whether `name` can be a field in the body of a class."""
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__") and name.isascii()


class Names:
    """Gives out each name once: the second that wants `Answer` becomes `Answer2`."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def new(self, wanted: str) -> str:
        """`wanted`, with a number behind it where that is taken."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}{number}"
        self._taken.add(name)
        return name
