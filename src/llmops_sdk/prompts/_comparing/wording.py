"""What changed in what a prompt says: its sections, and the rest that it renders from."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from llmops_sdk.prompts._comparing.aligning import aligned
from llmops_sdk.prompts._comparing.changes import PromptChange, changed, differ, shown
from llmops_sdk.prompts._content import PromptContent
from llmops_sdk.prompts._sections import Section

__all__ = ["other_changes", "section_changes", "section_labels"]

_COMPARED_ELSEWHERE = ("sections", "variables", "parameters", "output")


def section_labels(sections: Sequence[Section]) -> list[str]:
    """What the sections are called: by their name, else by role; the second `user` is `user#2`.

    Example:
        >>> section_labels([Section("user", "A"), Section("user", "B"), Section("user", "C", name="sources")])
        ['user', 'user#2', 'sources']
    """
    labels: list[str] = []
    seen: dict[str, int] = {}
    for section in sections:
        word = section.name or (section.role if section.kind in ("message", "more") else section.kind)
        seen[word] = seen.get(word, 0) + 1
        labels.append(word if seen[word] == 1 else f"{word}#{seen[word]}")
    return labels


def section_changes(old: Sequence[Section], new: Sequence[Section]) -> Iterator[PromptChange]:
    """What changed in the body."""
    pairs = aligned(old, new)
    before, after = section_labels(old), section_labels(new)
    staying = _in_order([pairs[number] for number in sorted(pairs)])
    for number, section in enumerate(old):
        other = pairs.get(number)
        if other is None:
            yield changed("section-removed", f"sections.{before[number]}", "the section is gone", section.text)
        else:
            yield from _section_changes(f"sections.{after[other]}", section, new[other])
            if other not in staying:
                text = section.text
                yield changed("section-moved", f"sections.{after[other]}", "the section stands elsewhere", text, text)
    known = set(pairs.values())
    for number, section in enumerate(new):
        if number not in known:
            yield changed("section-added", f"sections.{after[number]}", "the section is new", None, section.text)


def _section_changes(where: str, old: Section, new: Section) -> Iterator[PromptChange]:
    if old.role != new.role:
        code = "section-system" if new.role == "system" else "section-role"
        yield changed(code, where, f"said by `{old.role}` before, by `{new.role}` now", old.text, new.text)
    before, after = _heading(old), _heading(new)
    if before != after:
        yield changed("section-heading", where, f"`{before}` before, `{after}` now", before, after)
    if old.text != new.text:
        yield changed("section-text", where, "its text changed", old.text, new.text)


def _heading(section: Section) -> str:
    word = {"message": "message", "more": "+"}.get(section.kind, section.kind)
    options = section._replace(role="user", text="", line=1, kind="message")._asdict()
    plain = Section("user", "")._asdict()
    return " ".join([word, *(f"{key}={value}" for key, value in options.items() if value != plain[key])])


def _in_order(numbers: Sequence[int]) -> set[int]:
    """A longest rising run of the numbers, with others between: those that kept their order."""
    ends: list[int] = []  # the last number of the best run of each length
    before: dict[int, int | None] = {}
    for number in numbers:
        at = bisect_left(ends, number)
        before[number] = ends[at - 1] if at else None
        ends[at : at + 1] = [number]
    run: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        run.add(last)
        last = before[last]
    return run


def other_changes(old: PromptContent, new: PromptContent) -> Iterator[PromptChange]:
    """What changed in the rest: partials, examples, and what a later version of the library adds."""
    for one in fields(PromptContent):
        before, after = getattr(old, one.name), getattr(new, one.name)
        if one.name in _COMPARED_ELSEWHERE or not one.compare or not differ(_data(before), _data(after)):
            continue
        if one.name == "partials":
            yield from _partial_changes(before or {}, after or {})
        else:
            code = "examples-changed" if one.name == "examples" else "content-changed"
            yield changed(code, one.name, f"the {one.name} are others", _plain(before), _plain(after))


def _partial_changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[PromptChange]:
    for path in dict.fromkeys((*old, *new)):
        before, after = old.get(path), new.get(path)
        if before != after:
            words = "is included now" if before is None else "is not included now" if after is None else "changed"
            yield changed("partial-changed", f"partials.{path}", f"{path!r} {words}", before, after)


def _plain(value: object) -> str | None:
    return shown(_data(value))


def _data(value: object) -> object:
    return value.plain() if hasattr(value, "plain") else value
