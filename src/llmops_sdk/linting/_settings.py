"""Settings of the linter in `pyproject.toml`, under `[tool.llmops.lint]`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.linting._linting import LintOptions
from llmops_sdk.project_file import project_settings

__all__ = ["lint_settings"]

_CODES = ("select", "ignore")
_KEYS = (*_CODES, "per-file-ignores", "provider", "window", "counter")


def lint_settings(start: str | Path = ".", /) -> LintOptions:
    """What the nearest `pyproject.toml`, from the folder `start` upwards, says of linting; nothing where it says none.

    Raises:
        ConfigurationError: The file is no TOML, or a setting is wrong.
    """
    found = project_settings("lint", start)
    return LintOptions() if found is None else _checked(*found)


def _checked(table: Mapping[str, Any], file: Path) -> LintOptions:
    where = f"{file}: `[tool.llmops.lint]`"
    for key, value in table.items():
        if key not in _KEYS:
            raise ConfigurationError(f"{where} has no {key!r}; there are {', '.join(_KEYS)}")
        if key in _CODES and not _are_codes(value):
            raise ConfigurationError(f'{where}: `{key}` is a list of codes, such as `["P202"]`')
        if key == "counter" and not isinstance(value, str):
            raise ConfigurationError(f'{where}: `counter` is a name or a path, such as `"o200k_base"`')
    per_file = table.get("per-file-ignores", {})
    if not isinstance(per_file, Mapping) or not all(map(_are_codes, per_file.values())):
        raise ConfigurationError(
            f'{where}: `per-file-ignores` are lists of codes by pattern, `"prompts/old/*" = ["P2"]`'
        )
    settings = LintOptions()
    for key, value in table.items():  # `lint` checks what they say
        settings[key.replace("-", "_")] = value  # type: ignore[literal-required]  # one of `_KEYS`
    return settings


def _are_codes(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
