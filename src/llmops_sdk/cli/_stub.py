"""`llmops types`: a stub from which type checkers know the variables and the output of each prompt."""

from __future__ import annotations

import sys
from pathlib import Path

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts import PromptRepository, type_stub

__all__ = ["write_types"]


def write_types(folder: Path, output: Path | None, *, prompts: str, versions: str, check: bool) -> int:
    """Print the stub, or write it; with `check`, only say whether the file is what would be written."""
    if check and output is None:
        raise ConfigurationError("`--check` needs the file to look at: write `-o app/prompts.pyi`")
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {str(folder)!r}")
    repository = PromptRepository(folder, folder=prompts)
    names = repository.names()
    if not names:
        raise ConfigurationError(f"there are no prompts in {str(repository.root / repository.folder)!r}")
    wanted = [one.strip() for one in versions.split(",") if one.strip()]
    text = type_stub([repository.get(name) for name in names], versions=wanted)
    if output is None:
        sys.stdout.write(text)
        return 0
    try:
        if check:
            return _compare(output, text)
        output.write_text(text, "utf-8")
    except OSError as exc:
        raise ConfigurationError(f"{str(output)!r} cannot be {'read' if check else 'written'}: {exc}") from exc
    print(f"{output}: {len(names)} prompt{'s' * (len(names) != 1)}")
    return 0


def _compare(output: Path, text: str) -> int:
    there = output.read_bytes().decode("utf-8", "replace") if output.exists() else ""
    if there.replace("\r\n", "\n") == text:
        return 0
    print(f"{output} is out of date: run `llmops types` again", file=sys.stderr)
    return 1
