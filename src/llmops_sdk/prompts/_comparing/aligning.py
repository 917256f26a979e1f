"""Which section of one version is which section of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmops_sdk.prompts._comparing.texts import likeness
from llmops_sdk.prompts._sections import Section

__all__ = ["aligned"]

_SAME_PLACE = 0.3
_ALIKE = 0.5
_MOST_PAIRS = 10_000


def aligned(old: Sequence[Section], new: Sequence[Section]) -> dict[int, int]:
    """Number of an old section -> number of the new one that it became.

    Sections with a name are matched by it. The others, and those whose name is new, are matched in order: by role
    and kind, and by what their texts have in common; then those that only stand somewhere else.
    """
    found = dict(_by_name(old, new))
    found |= _in_order(old, new, found)
    taken = set(found.values())
    left: dict[tuple[str, str, str], list[int]] = {}
    for other in reversed(range(len(new))):
        if other not in taken and new[other].text:
            left.setdefault(_what(new[other]), []).append(other)
    for number, section in enumerate(old):
        if number not in found and (there := left.get(_what(section))):
            found[number] = there.pop()
    return found


def _by_name(old: Sequence[Section], new: Sequence[Section]) -> Iterator[tuple[int, int]]:
    names = _named(new)
    for name, number in _named(old).items():
        if name in names:
            yield number, names[name]


def _named(sections: Sequence[Section]) -> dict[tuple[bool, str], int]:
    """Names that one section has alone; a history is called by its variable, so it is no namesake of a text."""
    names: dict[tuple[bool, str], int] = {}
    twice = set()
    for number, section in enumerate(sections):
        if section.name is not None:
            key = (section.kind == "history", section.name)
            if key in names:
                twice.add(key)
            names[key] = number
    return {key: number for key, number in names.items() if key not in twice}


def _what(section: Section) -> tuple[str, str, str]:
    return section.role, section.kind, section.text


def _in_order(old: Sequence[Section], new: Sequence[Section], found: dict[int, int]) -> dict[int, int]:
    """The pairs in order, without crossings, that have most in common together."""
    left = [number for number in range(len(old)) if number not in found]
    right = sorted(set(range(len(new))) - set(found.values()))
    if len(left) * len(right) > _MOST_PAIRS:
        return {one: other for one, other in zip(left, right, strict=False) if _score(old[one], new[other])}
    best: list[list[tuple[float, dict[int, int]]]] = [[(0.0, {})] * (len(right) + 1)]
    for one in left:
        row: list[tuple[float, dict[int, int]]] = [(0.0, {})]
        for column, other in enumerate(right):
            choice = max(best[-1][column + 1], row[-1], key=lambda pair: pair[0])
            score = _score(old[one], new[other])
            before, pairs = best[-1][column]
            if score and before + score > choice[0]:
                choice = (before + score, {**pairs, one: other})
            row.append(choice)
        best.append(row)
    return best[-1][-1][1]


def _score(one: Section, other: Section) -> float:
    """How likely it is that they are the same section; 0: they are not."""
    if one.kind != other.kind and "history" in (one.kind, other.kind):
        return 0.0
    alike = likeness(one.text, other.text)
    renamed = one.name is not None and other.name is not None and one.name != other.name
    if one.role == other.role and one.kind == other.kind and not renamed:
        return _SAME_PLACE + alike
    return alike if alike >= _ALIKE else 0.0
