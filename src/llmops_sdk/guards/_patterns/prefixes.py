r"""What a stream has to know of a regular expression: how long a match can be, and how one begins.

`read_shape` walks the parse tree of a pattern and derives the pattern of the *prefixes* of its matches:
`P(ab) = P(a) | a P(b)`, `P(x{m,n}) = x{0,n-1} P(x)`, and alternation distributes. A text that ends in such a prefix may
still become a match; everything before the leftmost one is decided. Assertions that look back are kept as they are,
those that look at the next character are taken as true at the end of the text. So what is derived may accept too much
(a stream then holds back longer than it must), never too little.

A search for such a prefix has to stay cheap where a hostile text is full of beginnings. What could no longer reach the
end of the text, however the rest of it reads, is given up at once: before each long step stands a look at how many
characters are left, which takes `re` no time. A repeat at the end of a prefix has nothing to give back, so it is
possessive; those that are possessive in the pattern, of one class of characters, stay so.

The tree is that of `re._parser`, which is private to the standard library; the tests compare what is derived from it
with the definition (every prefix of every match), so a Python that changed it would be noticed.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Shape", "Unstreamable", "join_prefixes", "read_shape"]

_parser = importlib.import_module("re._parser")
_UNBOUNDED = int(_parser.MAXREPEAT)
_CHARACTERS = {"LITERAL", "NOT_LITERAL", "ANY", "IN"}
_REPEATS = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}
_ZERO_WIDTH = {"AT", "ASSERT", "ASSERT_NOT"}
_LETTERS = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s", re.ASCII: "a", re.UNICODE: "u"}
_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
_LOOKS_BACK = {"AT_BEGINNING": "^", "AT_BEGINNING_STRING": r"\A"}
_LOOKS_AHEAD = {"AT_BOUNDARY": r"\b", "AT_NON_BOUNDARY": r"\B"}
_COST_LIMIT = 10**9

# A step of so many characters or more is tried only where the end of the text is near enough.
_LONG_STEP = 8
# Up to so many characters a class at the beginning is taken apart.
_MOST_APART = 64

_Node = tuple[Any, Any]
_Sequence = list[_Node]


class _Step(NamedTuple):
    """One node of a pattern: its source, that of all prefixes of what it matches, and what its characters are."""

    whole: str
    prefix: str
    zero_width: bool
    single: bool
    begins: tuple[_Step, ...]
    longest: int


_Tree: TypeAlias = "dict[_Step, _Tree]"


class Unstreamable(ValueError):  # noqa: N818  (it says what a pattern is; `Rule` and `Regex` turn it into an error)
    """The pattern looks further ahead than one character, or refers back to a group; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a stream knows of a pattern.

    Attributes:
        flags: Letters of the flags of the pattern.
        paths: The ways that a match can begin, each as steps; `join_prefixes` makes one tree of those of many patterns.
        shortest: Least characters of a match.
        longest: Most characters of a match; `None` without a limit.
        behind: How many characters before a match its assertions look at.
        cost: Roughly how many ways there are to match at one position, `>= 1`; at most 10**9.
    """

    flags: str
    paths: tuple[tuple[_Step, ...], ...]
    shortest: int
    longest: int | None
    behind: int
    cost: int


def read_shape(pattern: str, flags: int = 0) -> Shape:
    """Read the shape of `pattern`.

    Raises:
        Unstreamable: It looks ahead further than one character or refers to a group.
        re.error: It is no pattern.
    """
    tree = _parser.parse(pattern, flags)
    flags = tree.state.flags
    sequence = list(tree)
    shortest, longest = tree.getwidth()
    multiline = bool(flags & re.MULTILINE)
    return Shape(
        flags="".join(letter for flag, letter in _LETTERS.items() if flags & flag),
        paths=tuple(_paths(sequence, multiline, cased=not flags & re.IGNORECASE)),
        shortest=int(shortest),
        longest=None if _unbounded(sequence) else int(longest),
        behind=_behind(sequence),
        cost=_cost(sequence),
    )


def join_prefixes(shapes: Iterable[Shape]) -> re.Pattern[str]:
    """One pattern that finds the leftmost position where a match of any shape could still begin or grow.

    What many patterns begin with is tried once for all of them: their ways to begin are merged in a tree. Where each
    way begins with one character that is known, `re` skips to those characters.
    """
    every = [(shape.flags, path) for shape in shapes for path in shape.paths]
    # One beginning that is not known spoils the skipping for all; then there is no use in taking classes apart.
    apart = all(path and path[0].begins for _, path in every)
    trees: dict[str, _Tree] = {}
    for flags, path in every:
        for first in path[0].begins if apart else path[:1]:
            tree = trees.setdefault(flags, {})
            for step in (first, *path[1:]):
                tree = tree.setdefault(step, {})
    groups = (f"(?{flags}:{_begun(tree)})" if flags else f"(?:{_begun(tree)})" for flags, tree in trees.items())
    return re.compile(rf"(?:{'|'.join(groups) or '(?!)'})\Z")


def _begun(tree: _Tree) -> str:
    """The pattern of the nonempty prefixes of what a tree holds."""
    return "|".join(alternative for step, rest in tree.items() for alternative in _alternatives(step, rest, True))


def _alternatives(step: _Step, rest: _Tree, nonempty: bool) -> list[str]:
    further = _perhaps(rest)
    if step.zero_width:
        return [f"{step.whole}(?:{_begun(rest) or '(?!)'})" if nonempty else f"{step.whole}{further}"]
    if step.single:
        return [f"{step.whole}{further}"]
    ahead = r"(?!\Z)" if nonempty else ""
    left = step.longest + _longest(rest)
    if step.longest >= _LONG_STEP and left < _UNBOUNDED:
        ahead += rf"(?=(?s:.){{0,{left}}}+\Z)"
    if _is_over(rest):  # then all that the whole step gives is a prefix of it, too
        return [f"{ahead}{step.prefix}"]
    return [f"{ahead}(?:{step.prefix}|{step.whole}{further})"]


def _longest(tree: _Tree) -> int:
    """Most characters of what a tree holds."""
    return max((step.longest + _longest(rest) for step, rest in tree.items()), default=0)


def _is_over(tree: _Tree) -> bool:
    """Whether nothing but assertions follow."""
    return all(step.zero_width and _is_over(rest) for step, rest in tree.items())


def _perhaps(tree: _Tree) -> str:
    """The pattern of all prefixes of what a tree holds, the empty one included."""
    if not tree:
        return ""
    sources = [source for step, rest in tree.items() for source in _alternatives(step, rest, False)]
    # Before an assertion nothing has ended: whether the prefix is one depends on what it says.
    if not all(step.zero_width for step in tree):
        sources.append("")
    return f"(?:{'|'.join(sources)})"


def _paths(sequence: _Sequence, multiline: bool, *, cased: bool) -> list[tuple[_Step, ...]]:
    """The ways that what a sequence matches can begin: alternatives at its beginning are told apart."""
    for place, node in enumerate(sequence):
        op, value = str(node[0]), node[1]
        before, after = sequence[:place], sequence[place + 1 :]
        if _is_zero_width(node):
            continue
        if op == "BRANCH":
            branches = [[*before, *branch, *after] for branch in value[1]]
        elif op == "SUBPATTERN" and not value[1] and not value[2]:
            branches = [[*before, *value[3], *after]]
        else:
            break
        return [path for branch in branches for path in _paths(branch, multiline, cased=cased)]
    return [tuple(_step(node, multiline, cased=cased) for node in sequence)]


def _codes(items: list[_Node]) -> list[int]:
    """The characters of a class; none where they are not listed."""
    codes: set[int] = set()
    for op, value in items:
        if str(op) == "LITERAL":
            codes.add(value)
        elif str(op) == "RANGE" and value[1] - value[0] < _MOST_APART:
            codes.update(range(value[0], value[1] + 1))
        else:
            return []
    return sorted(codes) if len(codes) <= _MOST_APART else []


def _is_zero_width(node: _Node) -> bool:
    return str(node[0]) in _ZERO_WIDTH or (
        str(node[0]) in {"BRANCH", "SUBPATTERN"}
        and all(bool(body) and all(map(_is_zero_width, body)) for body in _bodies(node))
    )


def _step(node: _Node, multiline: bool, *, cased: bool) -> _Step:
    if _is_zero_width(node):
        return _Step(_whole(node, multiline), "", zero_width=True, single=False, begins=(), longest=0)
    op, whole = str(node[0]), _whole(node, multiline)
    codes = _codes(node[1] if op == "IN" else [node]) if cased and op in {"IN", "LITERAL"} else []
    begins = tuple(
        _Step(re.escape(chr(code)), "", zero_width=False, single=True, begins=(), longest=1) for code in codes
    )
    prefix, longest = _prefix(node, multiline), _width([node])
    return _Step(whole, prefix, zero_width=False, single=op in _CHARACTERS, begins=begins, longest=longest)


def _width(sequence: _Sequence) -> int:
    """Most characters that a sequence matches; `_UNBOUNDED` without a limit."""
    total = 0
    for node in sequence:
        op = str(node[0])
        if op in _CHARACTERS:
            total += 1
        elif op not in _ZERO_WIDTH:
            total += max(map(_width, _bodies(node)), default=0) * (node[1][1] if op in _REPEATS else 1)
    return min(total, _UNBOUNDED)


def _escape(code: int) -> str:
    # `re.escape` leaves some characters alone that mean something inside of a class.
    character = chr(code)
    return "\\" + character if character in r"\]^-[&~|" else re.escape(character)


def _class(items: list[_Node]) -> str:
    parts: list[str] = []
    for op, value in items:
        match str(op):
            case "NEGATE":
                parts.append("^")
            case "RANGE":
                parts.append(f"{_escape(value[0])}-{_escape(value[1])}")
            case "CATEGORY":
                parts.append(_CATEGORIES[str(value)])
            case _:
                parts.append(_escape(value))
    return f"[{''.join(parts)}]"


def _group(add: int, remove: int) -> str:
    on = "".join(letter for flag, letter in _LETTERS.items() if add & flag)
    off = "".join(letter for flag, letter in _LETTERS.items() if remove & flag)
    return f"(?{on}{'-' + off if off else ''}:"


def _whole(node: _Node, multiline: bool) -> str:
    """The source of one node again; what looks ahead also holds at the end of the text."""
    op, value = str(node[0]), node[1]
    match op:
        case "LITERAL":
            return re.escape(chr(value))
        case "NOT_LITERAL":
            return f"[^{_escape(value)}]"
        case "ANY":
            return "."
        case "IN":
            return _class(value)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, body = value
            one = _joined(body, multiline)
            kept = "+" if op == "POSSESSIVE_REPEAT" and _is_class(body) else ""
            return f"{one if _is_class(body) else f'(?:{one})'}{_count(least, most)}{kept}"
        case "SUBPATTERN":
            _, add, remove, body = value
            inner = bool(multiline or add & re.MULTILINE) and not remove & re.MULTILINE
            return f"{_group(add, remove)}{_joined(body, inner)})"
        case "ATOMIC_GROUP":
            return f"(?:{_joined(value, multiline)})"
        case "BRANCH":
            return f"(?:{'|'.join(_joined(branch, multiline) for branch in value[1])})"
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return _assertion(op, value, multiline)
        case "FAILURE":
            return "(?!)"
    raise Unstreamable(f"it uses {op.lower()}, which cannot be followed in a stream")


def _assertion(op: str, value: Any, multiline: bool) -> str:
    if op == "AT":
        name = str(value)
        if name in _LOOKS_BACK:
            return _LOOKS_BACK[name]
        if name in _LOOKS_AHEAD:
            return rf"(?:{_LOOKS_AHEAD[name]}|\Z)"
        if name == "AT_END_STRING":
            return r"\Z"
        if multiline:
            return "$"  # with re.M it looks at one character, and it holds at the end of the text
        raise Unstreamable(r"`$` looks two characters ahead; write `\Z` or a lookahead of one character")
    direction, body = value
    negative = "!" if op == "ASSERT_NOT" else "="
    source = _joined(body, multiline)
    if direction < 0:
        return f"(?<{negative}{source})"
    if body.getwidth() != (1, 1) or any(str(kind) in _ZERO_WIDTH for kind, _ in body):
        raise Unstreamable("a lookahead looks at more (or less) than exactly one character")
    return rf"(?:(?{negative}{source})|\Z)"


def _is_class(body: Any) -> bool:
    return len(body) == 1 and str(body[0][0]) in _CHARACTERS


def _joined(sequence: Iterable[_Node], multiline: bool) -> str:
    return "".join(_whole(node, multiline) for node in sequence)


def _count(least: int, most: int) -> str:
    return f"{{{least},{'' if most == _UNBOUNDED else most}}}"


def _prefix(node: _Node, multiline: bool) -> str:
    """All prefixes of what a node can match, the empty one and the whole included."""
    op, value = str(node[0]), node[1]
    if op in _CHARACTERS:
        return f"{_whole(node, multiline)}?"
    if op in _REPEATS:
        _, most, body = value
        if _is_class(body):
            return f"{_whole(body[0], multiline)}{_count(0, most)}+"
        before = most if most == _UNBOUNDED else max(most - 1, 0)
        return f"(?:{_joined(body, multiline)}){_count(0, before)}(?:{_prefixes(list(body), multiline)})"
    if op == "SUBPATTERN":
        _, add, remove, body = value
        multiline = bool(multiline or add & re.MULTILINE) and not remove & re.MULTILINE
        return f"{_group(add, remove)}{_prefixes(list(body), multiline)})"
    if op == "ATOMIC_GROUP":
        return f"(?:{_prefixes(list(value), multiline)})"
    if op == "BRANCH":
        return f"(?:{'|'.join(_prefixes(list(branch), multiline) for branch in value[1])})"
    _whole(node, multiline)  # raises for what cannot be followed
    return ""


def _prefixes(sequence: _Sequence, multiline: bool) -> str:
    result = ""
    for node in reversed(sequence):
        op = str(node[0])
        if not result:
            result = _prefix(node, multiline) if op not in _ZERO_WIDTH else _whole(node, multiline)
        elif op in _ZERO_WIDTH:
            result = f"{_whole(node, multiline)}{result}"
        elif op in _CHARACTERS:
            result = f"(?:{_whole(node, multiline)}{result})?"
        else:
            result = f"(?:{_prefix(node, multiline)}|{_whole(node, multiline)}{result})"
    return result


def _bodies(node: _Node) -> list[_Sequence]:
    op, value = str(node[0]), node[1]
    if op in _REPEATS:
        return [list(value[2])]
    if op == "SUBPATTERN":
        return [list(value[3])]
    if op == "BRANCH":
        return [list(branch) for branch in value[1]]
    if op == "ATOMIC_GROUP":
        return [list(value)]
    if op in {"ASSERT", "ASSERT_NOT"}:
        return [list(value[1])]
    return []


def _unbounded(sequence: _Sequence) -> bool:
    return any(
        (str(node[0]) in _REPEATS and node[1][1] == _UNBOUNDED) or any(map(_unbounded, _bodies(node)))
        for node in sequence
    )


def _behind(sequence: _Sequence) -> int:
    """Characters that the deepest look behind could read before the match (taken as if it stood at its beginning)."""
    deepest = 0
    for node in sequence:
        op = str(node[0])
        if op in {"ASSERT", "ASSERT_NOT"} and node[1][0] < 0:
            deepest = max(deepest, int(node[1][1].getwidth()[1]))
        elif op == "AT":
            deepest = max(deepest, 1)
        deepest = max(deepest, *map(_behind, _bodies(node)), 0)
    return deepest


def _cost(sequence: _Sequence) -> int:
    product = 1
    for node in sequence:
        op, value = str(node[0]), node[1]
        inner = [_cost(body) for body in _bodies(node)]
        if op in _REPEATS:
            least, most, _ = value
            ways = _COST_LIMIT if most == _UNBOUNDED else most - least + 1
            if inner[0] > 1:
                ways = inner[0] ** min(most, 30)
        else:
            ways = sum(inner) or 1
        product = min(product * ways, _COST_LIMIT)
    return product
