"""Embeddings and classes from the engines of a router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmops_sdk.calls import CLOCK
from llmops_sdk.errors import (
    AllEnginesFailed,
    Attempt,
    BadRequestError,
    EngineError,
    NotFoundError,
    UnsupportedError,
)
from llmops_sdk.routers._legs.leg import Leg

__all__ = ["first_that_can"]


async def first_that_can(legs: Sequence[Leg], method: str, texts: Sequence[str]) -> Any:
    """What `method` of the first engine, as given, says that can do it at all.

    When it fails, only engines with the same model take its place: vectors and labels of different models cannot be
    compared, and would be mixed in silence.

    Raises:
        UnsupportedError: No engine can.
        AllEnginesFailed: The first that can has failed, and so have those with the same model.
    """
    clock = CLOCK.get()
    cannot: list[str] = []
    failed: list[Attempt] = []
    model: str | None = None
    for leg in legs:
        ask = getattr(leg.engine, method, None)
        if ask is None or (failed and (model is None or leg.model != model)):
            continue
        started = clock()
        try:
            return await ask(texts)
        except (BadRequestError, NotFoundError) as exc:
            cannot.append(f"{leg.name}: {exc}")
        except (EngineError, AllEnginesFailed) as exc:
            failed.append(Attempt(leg.name, exc, clock() - started))
            model = leg.model
    if failed:
        raise AllEnginesFailed(
            f"no `{method}`: {failed[0].engine!r} failed, and no engine of another model than {model!r} can stand in",
            failed,
        )
    raise UnsupportedError(f"no engine of the router can `{method}` ({'; '.join(cannot)})")
