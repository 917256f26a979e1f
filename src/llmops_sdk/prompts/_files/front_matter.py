"""YAML, as in the front matter of a prompt file, with the line of each key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._files.place import Place

if TYPE_CHECKING:
    import yaml

__all__ = ["Lines", "front_matter", "front_matter_end", "line_of", "yaml_value"]

Lines: TypeAlias = dict[tuple[str, ...], int]
"""Path of a key or an item (its number) in a YAML text -> the line of the file on which it stands."""

MAX_CHARS = 100_000
"""Most characters of YAML in one place; PyYAML takes seconds for more."""

_MAX_DEPTH = 50
_TOO_DEEP = "this is nested too deeply"
_INSTEAD = "put examples into a .jsonl file, and tools into .json files"
_KINDS = ("str", "int", "float", "bool", "null", "seq", "map", "merge", "value")


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
    matter, at = yaml_value(text, place, first_line=2)
    if matter is None:
        return {}, at
    if not isinstance(matter, dict):
        place.fail(2, "the front matter has to be a mapping, such as `description: ...`")
    return matter, at


def yaml_value(text: str, place: Place, *, first_line: int) -> tuple[object, Lines]:
    """What a YAML text says, the first line of which is line `first_line` of its file; and the lines of its keys.

    The values are those of JSON, so that they are the same for every reader: a date is text.

    Raises:
        PromptError: It is not YAML, is too long or too deep, or has what is not taken.
    """
    import yaml  # noqa: PLC0415  (third-party: whoever has no prompt files needs none)

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012  (as PyYAML has it)
            first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    at: Lines = {}
    if len(text) > MAX_CHARS:
        place.fail(1, f"{len(text):,} characters of YAML are more than the {MAX_CHARS:,} that are read: {_INSTEAD}")
    reading = _Reading(place, first_line, at)
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, at
        reading.note(node, ())
        return loader.construct_document(node), at
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        problem = f"this is not YAML: {exc.problem or exc.context}"
        if "but got '['" in problem:
            problem += '; in braces a type with brackets has quotes, `{type: "list[str]"}`'
        place.fail(mark.line + first_line if mark else 1, problem)
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + first_line
        place.fail(line, f"this is not YAML: the character {chr(exc.character)!r} is not allowed")
    except PromptError:
        raise
    except (yaml.YAMLError, ValueError, AttributeError, LookupError, TypeError) as exc:
        # Wrong values of tagged scalars (`!!int x`) break PyYAML's own constructors in all these ways.
        place.fail(1, f"this is not YAML: {exc}")
    except RecursionError:
        place.fail(1, _TOO_DEEP)


class _Reading:
    """Notes where the keys and items of a YAML text stand, and refuses what no prompt needs."""

    def __init__(self, place: Place, first_line: int, at: Lines) -> None:
        self._place = place
        self._first = first_line
        self._at = at
        self._seen: set[int] = set()

    def note(self, node: yaml.Node, path: tuple[str, ...]) -> None:
        import yaml  # noqa: PLC0415  (see `yaml_value`)

        line = node.start_mark.line + self._first
        if id(node) in self._seen:  # an alias: a few of them, nested, build gigabytes
            self._place.fail(line, "anchors and aliases (`&name`, `*name`) are not allowed: write it out")
        if len(path) > _MAX_DEPTH:
            self._place.fail(line, _TOO_DEEP)
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in _KINDS:
            self._place.fail(line, f"values of the kind `!!{kind}` are not allowed: write texts, numbers and lists")
        self._seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self._at[(*path, str(number))] = item.start_mark.line + self._first
                self.note(item, (*path, str(number)))
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                line = key.start_mark.line + self._first
                if not isinstance(key, yaml.ScalarNode):
                    self._place.fail(line, "keys are plain names")
                if key.value in keys:
                    self._place.fail(line, f"the key {key.value!r} stands here twice")
                keys.add(key.value)
                self._at[(*path, key.value)] = line
                self.note(value, (*path, key.value))
