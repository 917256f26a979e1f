"""Settings in `pyproject.toml`, under `[tool.llmops]`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_sdk.errors import ConfigurationError

__all__ = ["project_settings"]

_FILE = "pyproject.toml"


def project_settings(table: str, start: str | Path = ".", /) -> tuple[Mapping[str, Any], Path] | None:
    """What the nearest `pyproject.toml`, from the folder `start` upwards, says under `[tool.llmops.TABLE]`.

    Returns:
        The table, empty where the file has none, and the file; `None` where there is no such file.

    Raises:
        ConfigurationError: The file is no TOML, or what stands there is no table.
    """
    here = Path(start).resolve()
    file = next((one / _FILE for one in (here, *here.parents) if (one / _FILE).is_file()), None)
    if file is None:
        return None
    try:
        found: Any = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{file} is no TOML: {exc}") from exc
    for key in ("tool", "llmops", table):
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"{file}: `[tool.llmops.{table}]` is a table")
    return found, file
