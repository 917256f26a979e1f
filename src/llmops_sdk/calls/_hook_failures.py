"""Hooks that raise: said once for each hook and class of error, and counted."""

from __future__ import annotations

from typing import Any, Final

from llmops_sdk.faults import Faults

__all__ = ["hook_failed", "hook_failures"]

_FAULTS: Final = Faults()


def hook_failed(hook: object, error: Exception) -> None:
    """A hook has raised; the call goes on."""
    # Those that are made anew for each run have a name that comes again.
    named: Any = hook if hasattr(hook, "__qualname__") else type(hook)
    _FAULTS.note(f"the hook {named.__module__}.{named.__qualname__}", error)


def hook_failures() -> dict[str, int]:
    """How often each hook has raised in this process, by its name."""
    return _FAULTS.by_name()
