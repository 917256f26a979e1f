r"""Which words a regular expression can begin with, so that it is tried at those words only.

`read_heads(r"\b(?:ignor(?:e|ing)|forget) all\b")` is `ignore`, `ignoring` and `forget`, all of them whole words. A text
in which none of them stands cannot match, and where one stands the pattern is matched there, not searched for. The
tree is that of `re._parser`; see `_patterns.prefixes` for what guards against a Python that changes it.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, NamedTuple

__all__ = ["Heads", "read_heads"]

_parser = importlib.import_module("re._parser")
_MOST = 2_000  # first words of one pattern
_WORD = re.compile(r"\w", re.ASCII)


class Heads(NamedTuple):
    """First words of a pattern.

    Attributes:
        words: Whole words: what follows is no letter, digit or underscore.
        prefixes: Beginnings of words of which the rest is not known.
    """

    words: frozenset[str]
    prefixes: frozenset[str]


def read_heads(pattern: str, flags: int = 0) -> Heads | None:
    """The words that a match of `pattern` can begin with; `None` where it need not begin with one that is known."""
    states = _walk([("", False)], list(_parser.parse(pattern, flags)))
    if states is None or any(not word for word, _ in states):
        return None
    return Heads(
        words=frozenset(word for word, complete in states if complete),
        prefixes=frozenset(word for word, complete in states if not complete),
    )


_State = tuple[str, bool]  # what is spelled so far, and whether the word ends there


def _walk(states: list[_State], sequence: list[Any]) -> list[_State] | None:
    """The states after `sequence`; those of which the end is known stay as they are. `None`: too many, or no word."""
    for node in sequence:
        going = [word for word, complete in states if not complete]
        if not going:
            return states
        done = [state for state in states if state[1]]
        moved = _step(going, str(node[0]), node[1])
        if moved is None or len(done) + len(moved) > _MOST:
            return None
        cut = [(word[:-1], False) for word, _ in moved if word.endswith("\0")]
        if cut:  # what comes next is unknown, so these words are but prefixes, and nothing after them is read
            return sorted({*done, *cut, *(state for state in moved if not state[0].endswith("\0"))})
        states = sorted({*done, *moved})
    return states


def _step(going: list[str], op: str, value: Any) -> list[_State] | None:
    match op:
        case "LITERAL":
            return [_spell(word, chr(value)) for word in going]
        case "IN":
            letters = _letters(value)
            if letters is None:
                return None if "" in going else [(word + "\0", False) for word in going]
            return [_spell(word, letter) for word in going for letter in letters]
        case "BRANCH":
            return _each(going, [list(branch) for branch in value[1]])
        case "SUBPATTERN":
            return _each(going, [list(value[3])])
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, body = value
            if least == 0:
                taken = _each(going, [list(body)]) if most == 1 else _repeated(going, list(body))
                return None if taken is None else [*((word, False) for word in going), *taken]
            return _repeated(going, list(body)) if most > 1 else _each(going, [list(body)])
        case "AT":
            return [(word, bool(word)) for word in going]
        case "ASSERT" | "ASSERT_NOT":
            return [(word, False) for word in going]
    return None if "" in going else [(word + "\0", False) for word in going]


def _each(going: list[str], branches: list[list[Any]]) -> list[_State] | None:
    states: list[_State] = []
    for branch in branches:
        walked = _walk([(word, False) for word in going], branch)
        if walked is None:
            return None
        states += walked
    return states


def _repeated(going: list[str], body: list[Any]) -> list[_State] | None:
    """After a repeat: only whether the word ends there is worth knowing."""
    walked = _each(going, [body])
    if walked is None:
        return None
    return [(word, complete) if complete else (word + "\0", False) for word, complete in walked]


def _spell(word: str, letter: str) -> _State:
    if _WORD.match(letter):
        return word + letter, False
    return word, True


def _letters(items: list[Any]) -> list[str] | None:
    """The characters of a small class; one that ends the word, where it holds none of a word; `None` if unknown."""
    ops = [str(op) for op, _ in items]
    if "NEGATE" in ops:
        return [" "] if any(str(op) == "CATEGORY" and str(v) == "CATEGORY_WORD" for op, v in items) else None
    letters: list[str] = []
    for op, value in items:
        match str(op):
            case "LITERAL":
                letters.append(chr(value))
            case "RANGE" if value[1] - value[0] < 8:
                letters += [chr(code) for code in range(value[0], value[1] + 1)]
            case "CATEGORY" if str(value) in ("CATEGORY_NOT_WORD", "CATEGORY_SPACE"):
                letters.append(" ")
            case _:
                return None
    return letters
