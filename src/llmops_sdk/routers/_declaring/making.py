"""A declaration becomes a router: engines are opened, and keys are read from the environment."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_sdk import environment
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Engine
from llmops_sdk.errors import ConfigurationError, LlmopsError
from llmops_sdk.routers._declaring.problems import Path, Problems, place_meant
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._limits import LimitStore
from llmops_sdk.routers._router import Router

if TYPE_CHECKING:
    from llmops_sdk.routers.declaration import EngineSpec, LimitStoreSpec, RouterSpec

__all__ = ["made"]

_R = TypeVar("_R", bound=Router)


def made(spec: RouterSpec, kind: type[_R], problems: Problems, path: Path) -> _R | None:
    """The router that `spec` declares; `None` where something is wrong, and then `problems` knows it.

    `path` is where `spec` stands in the whole declaration.
    """
    found = len(problems)
    legs = [_leg(engine, problems, (*path, "engines", index)) for index, engine in enumerate(spec.engines)]
    options = _given(spec, Router)
    if not isinstance(spec.retries, int):
        options["retries"] = spec.retries.retries()
    if spec.strategy is not None and spec.strategy.get("judge") is not None:
        judge = _leg(spec.strategy["judge"], problems, (*path, "strategy", "judge"))
        options["strategy"] = spec.strategy | {"judge": judge}
    if spec.limit_store is not None:
        options["limit_store"] = _store(spec.limit_store, problems, (*path, "limit_store"))
    if None in legs or len(problems) > found:
        return None
    if spec.prices:
        options["prices"] = PriceTable.default().with_prices(spec.prices)
    try:
        return kind(legs, **options)
    except LlmopsError as exc:
        meant = place_meant(str(exc), spec.model_dump(mode="json", exclude_unset=True))
        problems.add((*path, *meant), str(exc))
        return None


def _leg(spec: EngineSpec, problems: Problems, path: Path) -> Leg | None:
    engine = (
        _opened(spec, problems, path) if spec.router is None else made(spec.router, Router, problems, (*path, "router"))
    )
    if engine is None:
        return None
    try:
        return Leg(engine, **_given(spec, Leg))
    except ConfigurationError as exc:
        problems.add((*path, *place_meant(str(exc), spec.model_dump(mode="json", exclude_unset=True))), str(exc))
        return None


def _opened(spec: EngineSpec, problems: Problems, path: Path) -> Engine | None:
    found = len(problems)
    api_key = None if spec.api_key_env is None else _variable(spec.api_key_env, problems, (*path, "api_key_env"))
    options = _with_variables(spec.options, problems, (*path, "options"))
    if len(problems) > found:
        return None
    try:
        return Engine.open(spec.open or "", model=spec.model, api_key=api_key, name=spec.name, **options)
    except Exception as exc:  # noqa: BLE001  (libraries behind the schemes raise whatever they like on wrong options)
        said = str(exc) if isinstance(exc, LlmopsError) else f"{type(exc).__name__}: {exc}"
        meant = place_meant(said, spec.options)
        problems.add((*path, "options", *meant) if meant else (*path, "open"), said)
        return None


def _store(spec: LimitStoreSpec, problems: Problems, path: Path) -> LimitStore | None:
    url = spec.redis if spec.redis_env is None else _variable(spec.redis_env, problems, (*path, "redis_env"))
    if url is None:
        return None
    try:  # by name: it needs the extra
        kind = importlib.import_module("llmops_sdk.routers.redis").RedisLimits
        store: LimitStore = kind(url, **_given(spec, kind))
    except LlmopsError as exc:
        problems.add((*path, *place_meant(str(exc), spec.model_dump(mode="json", exclude_unset=True))), str(exc))
        return None
    return store


def _given(spec: Any, kind: type[Any]) -> dict[str, Any]:
    """What was said of the keyword-only arguments of `kind`; all others keep their defaults."""
    known = inspect.signature(kind).parameters
    return {
        name: getattr(spec, name)
        for name in spec.model_fields_set
        if name in known and known[name].kind is inspect.Parameter.KEYWORD_ONLY
    }


def _variable(name: str, problems: Problems, path: Path) -> str | None:
    value = environment.named(name)
    if value is None:
        # What is no usual name may be a key that was put here by mistake.
        shown = f"`{name}`" if name.isupper() else "that is named here"
        problems.add(path, f"the environment variable {shown} is not set")
    else:
        problems.hide(value)
    return value


def _with_variables(value: Any, problems: Problems, path: Path) -> Any:
    if isinstance(value, list):
        return [_with_variables(inner, problems, (*path, index)) for index, inner in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"env"} and isinstance(value["env"], str):
        return _variable(value["env"], problems, (*path, "env"))
    return {name: _with_variables(inner, problems, (*path, name)) for name, inner in value.items()}
