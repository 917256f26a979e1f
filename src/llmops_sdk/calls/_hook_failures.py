"""Hooks that raise: said once for each hook and class of error, and counted."""

from __future__ import annotations

from typing import Any, Final

from llmops_sdk.faults import Faults

__all__ = ["hook_failed", "hook_failures", "is_new"]

_FAULTS: Final = Faults()


def is_new(hook: object, error: BaseException) -> bool:
    """Count that a hook has raised; whether it has to be told, since it had not raised such an error before."""
    return _FAULTS.is_new(_name_of(hook), error)


def hook_failed(hook: object, error: BaseException) -> None:
    """Tell that a hook has raised."""
    _FAULTS.tell(_name_of(hook), error)


def _name_of(hook: Any) -> str:
    # Those that are made anew for each run have a name that comes again.
    named = hook if hasattr(hook, "__qualname__") else type(hook)
    return f"the hook {named.__module__}.{named.__qualname__}"


def hook_failures() -> dict[str, int]:
    """How often each hook has raised in this process, by its name."""
    return _FAULTS.by_name()
