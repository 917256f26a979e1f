"""Files of other tools, read: which format each one is, and the prompts in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, Literal, TypeAlias, get_args

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._files import Reader
from llmops_sdk.prompts._importing.dotprompt import from_dotprompt
from llmops_sdk.prompts._importing.imported import Imported, Left
from llmops_sdk.prompts._importing.langchain import from_langchain, is_langchain
from llmops_sdk.prompts._importing.langfuse import from_langfuse, is_langfuse

__all__ = ["FORMATS", "import_prompts"]

Format: TypeAlias = Literal["dotprompt", "langchain", "langfuse"]
FORMATS: tuple[Format, ...] = get_args(Format)
_MAX_BYTES = 20_000_000
_Reader: TypeAlias = Callable[[Any, str, str, list[Left]], list[Imported]]
_KINDS: dict[Format, tuple[Callable[[object], bool], _Reader]] = {
    "langchain": (is_langchain, from_langchain),
    "langfuse": (is_langfuse, from_langfuse),
}


def import_prompts(
    paths: Iterable[Path | str], *, form: Format | None = None
) -> tuple[tuple[Imported, ...], tuple[Left, ...]]:
    """The prompts in these files as files of ours, and what of them does not carry over.

    Args:
        paths: `.prompt` files (dotprompt), `.json`, `.yaml` and `.yml` files (LangChain, Langfuse).
        form: Their format; `None` finds out by what is in them.

    Returns:
        The files, none of which is written; and what is left. Of several with the same path the last one counts: for
        Langfuse that of the highest version.

    Raises:
        PromptError: A file cannot be read, or is of none of these formats.
    """
    left: list[Left] = []
    made: dict[str, Imported] = {}

    def partial(path: str) -> bytes | None:
        return made[path].text.encode("utf-8", "surrogatepass") if path in made else None

    for path in sorted(map(Path, paths), key=lambda path: not path.name.startswith("_")):  # partials first
        for one in _read(path, form, left, partial):
            earlier = made.get(one.path)
            if earlier is not None:
                left.append(Left(earlier.source, "all of it", f"{one.source} makes the same file {one.path}"))
            made[one.path] = one
    return tuple(made.values()), tuple(left)


def _read(path: Path, form: Format | None, left: list[Left], partial: Reader) -> list[Imported]:
    try:
        data = path.read_bytes() if path.stat().st_size <= _MAX_BYTES else None
    except OSError as exc:
        raise PromptError(f"{path} cannot be read: {exc}") from exc
    if data is None:
        raise PromptError(f"{path} has more than the {_MAX_BYTES:,} bytes that are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise PromptError(f"{path} is not UTF-8: {exc}") from exc
    if form == "dotprompt" or (form is None and path.suffix == ".prompt"):
        return from_dotprompt(text, str(path), left, partial)
    return _from_values(_parsed(text, path), path, form, left)


def _from_values(value: object, path: Path, form: Format | None, left: list[Left]) -> list[Imported]:
    inner = value.get("data") if isinstance(value, Mapping) and isinstance(value.get("data"), list) else value
    values = inner if isinstance(inner, list) else [inner]
    kind = form or next((name for name, (fits, _) in _KINDS.items() if values and all(map(fits, values))), None)
    if kind is None or not all(isinstance(one, Mapping) for one in values):
        raise PromptError(
            f"{path} holds no prompt of LangChain's (`_type` or `lc`) or Langfuse's (`name` and `prompt`)"
            + ("" if form else "; say what it is with `--from`")
        )
    _, read = _KINDS[kind]
    found = []
    for number, one in enumerate(sorted(values, key=_version)):
        stem = PurePath(path).stem if len(values) == 1 else f"{PurePath(path).stem}-{number + 1}"
        try:
            found += read(one, str(path), stem, left)
        except (LookupError, TypeError, AttributeError, ValueError) as exc:
            raise PromptError(f"{path} is no prompt of {kind}: {exc!r}") from exc
    return found


def _version(value: Any) -> int:
    version = value.get("version")
    return version if isinstance(version, int) else 0


def _parsed(text: str, path: Path) -> object:
    try:
        if path.suffix in (".yaml", ".yml"):
            import yaml  # noqa: PLC0415  (third-party: JSON needs none)

            return yaml.safe_load(text)
        return json.loads(text)
    except RecursionError as exc:
        raise PromptError(f"{path} is nested too deeply") from exc
    except Exception as exc:  # whatever the two say of a text that is neither
        raise PromptError(f"{path} is not {'JSON' if path.suffix == '.json' else 'YAML or JSON'}: {exc}") from exc
