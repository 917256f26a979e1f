"""The front matter of a prompt file: YAML between `---` lines, with the line of each key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._files.place import Place

if TYPE_CHECKING:
    import yaml

__all__ = ["Lines", "front_matter", "front_matter_end", "line_of"]

Lines: TypeAlias = dict[tuple[str, ...], int]
"""Path of a key in the front matter -> the line of the file on which it stands."""


_FENCE = re.compile(r"---[ \t]*\n?")


def front_matter_end(lines: Sequence[str]) -> int | None:
    """Number of the line `---` that ends the front matter, from 0; 0 where it is not closed, `None` where none is."""
    if not lines or not _FENCE.fullmatch(lines[0]):
        return None
    return next((number for number, line in enumerate(lines[1:], 1) if _FENCE.fullmatch(line)), 0)


def line_of(lines: Lines, *path: str) -> int:
    """The line on which the key stands whose path this is."""
    return lines.get(path, 2)  # YAML reads some plain words as other things (`yes`, `1_0`); line 2 begins the matter


def front_matter(text: str, place: Place) -> tuple[dict[str, Any], Lines]:
    """The values, and the lines of their keys."""
    import yaml  # noqa: PLC0415  (third-party: whoever has no prompt files needs none)

    at: Lines = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, at
        _note_lines(node, (), at, set(), place)
        matter = loader.construct_document(node)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place.fail(mark.line + 2 if mark else 1, f"the front matter is not YAML: {exc.problem or exc.context}")
    except PromptError:
        raise
    except (yaml.YAMLError, ValueError, AttributeError, LookupError, TypeError) as exc:
        # Wrong values of tagged scalars (`!!timestamp x`) break PyYAML's own constructors in all these ways.
        place.fail(1, f"the front matter is not YAML: {exc}")
    except RecursionError:
        place.fail(1, "the front matter is nested too deeply")
    if not isinstance(matter, dict):
        place.fail(2, "the front matter has to be a mapping, such as `description: ...`")
    return matter, at


def _note_lines(node: yaml.Node, path: tuple[str, ...], at: Lines, seen: set[int], place: Place) -> None:
    import yaml  # noqa: PLC0415  (see `_front_matter`)

    if id(node) in seen:  # an alias: a few of them, nested, build gigabytes
        place.fail(node.start_mark.line + 2, "anchors and aliases (`&name`, `*name`) are not allowed: write it out")
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _note_lines(item, (*path, "-"), at, seen, place)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 2
            if not isinstance(key, yaml.ScalarNode):
                place.fail(line, "keys are plain names")
            if key.value in keys:
                place.fail(line, f"the key {key.value!r} stands here twice")
            keys.add(key.value)
            at[(*path, key.value)] = line
            _note_lines(value, (*path, key.value), at, seen, place)
