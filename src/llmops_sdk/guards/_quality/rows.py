"""Labelled texts, from records or a file."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.verdicts import Stage

__all__ = ["LabelledData", "LabelledText", "read_rows"]

LabelledData: TypeAlias = str | Path | Iterable[Mapping[str, Any] | tuple[Any, ...]]
"""A path to .jsonl, .jsonl.gz, .csv or .csv.gz; or mappings, or tuples: text, label, perhaps source, kind, stage."""

_FIELDS = ("text", "label", "source", "kind", "stage", "origin")
_LABELS = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}


class LabelledText(NamedTuple):
    """A text, and whether there is something to be found in it.

    Attributes:
        text: The text.
        label: Whether there is.
        source: Where it comes from; results are given for each source.
        kind: What it is; `"hard_benign..."` marks texts that look worse than they are.
        stage: Whether it is read before the engine or after it.
        origin: Who wrote it, as in `GuardContext`.
    """

    text: str
    label: bool
    source: str = ""
    kind: str = ""
    stage: Stage = "input"
    origin: str = ""


def read_rows(data: LabelledData) -> list[LabelledText]:
    """All rows.

    Raises:
        ConfigurationError: There are none, or one cannot be used; the message says which.
    """
    if isinstance(data, str | Path):
        path = Path(data).expanduser()
        given, where = _of_file(path), f" of {str(path)!r}"
    else:
        given, where = enumerate(data, 1), ""
    rows = []
    try:
        for number, one in given:
            rows.append(_row(one, f"row {number}{where}"))
    except (OSError, UnicodeDecodeError, EOFError, gzip.BadGzipFile, csv.Error) as exc:
        raise ConfigurationError(f"after row {len(rows)}{where} the data cannot be read: {exc}") from exc
    if not rows:
        raise ConfigurationError(f"the data{where} have no rows")
    return rows


def _of_file(path: Path) -> Iterator[tuple[int, Any]]:
    names = path.name.lower().removesuffix(".gz")
    if not names.endswith((".jsonl", ".csv")):
        raise ConfigurationError(f"{str(path)!r} is no .jsonl, .jsonl.gz, .csv or .csv.gz")
    if not path.is_file():
        raise ConfigurationError(f"there is no file {str(path)!r}")
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as lines:
        if names.endswith(".csv"):
            yield from enumerate(csv.DictReader(lines), 1)
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as exc:
                    raise ConfigurationError(f"row {number} of {str(path)!r} is no JSON: {exc}") from exc


def _row(one: object, where: str) -> LabelledText:
    if isinstance(one, Mapping):
        values = {name: one[name] for name in _FIELDS if one.get(name) is not None}
    elif isinstance(one, tuple | list) and 2 <= len(one) <= len(_FIELDS):
        values = dict(zip(_FIELDS, one, strict=False))
    else:
        raise ConfigurationError(
            f"{where} is {type(one).__name__}; write a mapping with `text` and `label`, or a tuple (text, label)"
        )
    missing = [name for name in _FIELDS[:2] if name not in values]
    if missing:
        raise ConfigurationError(f"{where} has no {' and no '.join(missing)}")
    if not isinstance(values["text"], str):
        raise ConfigurationError(f"{where}: text is {type(values['text']).__name__}, not str")
    label = values["label"]
    known = _LABELS.get(str(label).strip().lower()) if isinstance(label, str | int | float) else None
    if known is None:
        raise ConfigurationError(f"{where}: label={label!r} is neither 1 (to be found) nor 0 (benign)")
    stage = values.get("stage", "input")
    if stage not in ("input", "output"):
        raise ConfigurationError(f"{where}: stage={stage!r} is neither 'input' nor 'output'")
    source, kind, origin = (str(values.get(name, "")) for name in ("source", "kind", "origin"))
    return LabelledText(values["text"], known, source, kind, cast(Stage, stage), origin)
