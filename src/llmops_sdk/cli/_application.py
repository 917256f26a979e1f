"""Commands that run the application's own code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from llmops_sdk.errors import LlmopsError

__all__ = ["guarded"]


def guarded(run: Callable[[], int]) -> int:
    """Run it with the application's modules in reach, and tell what they raise."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return run()
    except LlmopsError as exc:
        notes = "".join(f"\n  {note}" for note in getattr(exc, "__notes__", ()))
        print(f"llmops: {exc}{notes}", file=sys.stderr)
    except SystemExit as exc:  # with code 0 it would look as if the command had passed
        print(f"llmops: the application ended the command: {exc!r}", file=sys.stderr)
    except Exception as exc:  # noqa: BLE001  (the application's own code raises whatever it likes)
        print("llmops: the application raised:\n", *traceback.format_exception(exc), sep="", file=sys.stderr)
    return 2
