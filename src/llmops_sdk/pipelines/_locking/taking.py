"""What a pipeline runs, as it stands in a lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmops_sdk.costs import PriceTable
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.pipelines._locking.code import name_of
from llmops_sdk.pipelines._locking.describing import configuration_hash
from llmops_sdk.pipelines._pipeline import REFUSAL, Pipeline

__all__ = ["pins_of"]

_SHOWN = ("adapters", "base_url", "model")
"""What of an engine's configuration stands in the lock itself."""


def pins_of(pipeline: Pipeline, path: str) -> dict[str, Any]:
    """The entry of a pipeline that was built from `path`."""
    prompt, engine = pipeline.prompt, pipeline.engine
    names = {id(one.guard): one.name for one in pipeline._guards}
    line = [names.get(id(one)) or str(getattr(one, "name", type(one).__name__)) for one in pipeline.stations]
    pins: dict[str, Any] = {"source": path, "name": pipeline.name, "line": line}
    if pipeline._refusal != REFUSAL:
        pins["refusal"] = pipeline._refusal
    if prompt is not None:
        content = getattr(prompt, "hash", None)
        pins["prompt"] = {"hash": content} if isinstance(content, str) else _hashed(prompt)
    if pipeline._guards:
        pins["guards"] = {
            one.name: {"kind": name_of(type(one.guard)), "stage": one.stage, **_hashed(one.guard)}
            for one in pipeline._guards
        }
    pins["models"] = dict(_models(engine, str(getattr(engine, "name", type(engine).__name__))))
    prices = pipeline._prices or getattr(engine, "prices", None) or PriceTable.default()
    said = prices.configuration()
    pins["prices"] = {**said, **({"own": configuration_hash(prices, without=["built_in"])} if "own" in said else {})}
    return pins


def _hashed(station: Any, without: tuple[str, ...] = ()) -> dict[str, str]:
    try:
        return {"hash": configuration_hash(station, without=without)}
    except ConfigurationError as exc:
        return {"unpinned": str(exc)}


def _models(engine: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if getattr(engine, "transparent", False):
        yield f"{name} (cache)", {"kind": name_of(type(engine)), **_hashed(engine)}
        yield from _models(engine.engine, name)
        return
    yield name, _model(engine)
    for leg in getattr(engine, "legs", ()):
        yield from _models(leg.engine, f"{name}/{leg.name}")  # a router tells engines of one name apart


def _model(engine: Any) -> dict[str, Any]:
    pin: dict[str, Any] = {"kind": name_of(type(engine))}
    told = callable(getattr(engine, "configuration", None))
    said = engine.configuration() if told else {}
    revision = getattr(engine, "revision", None)
    shown = {"model": said.get("model") or getattr(engine, "model", None), "url": said.get("base_url")}
    pin |= {name: str(value) for name, value in {**shown, "revision": revision}.items() if value is not None}
    legs = [leg.name for leg in getattr(engine, "legs", ())]
    if legs:
        pin["legs"] = legs  # in the order in which they are asked
    pin |= _hashed(engine, _SHOWN if told else ())
    if getattr(engine, "in_process", False) and revision is None:
        pin["unpinned"] = (
            "nothing says which weights these are: give the revision on the hub, or write a file SHA256SUMS into the "
            "folder (`sha256sum * > SHA256SUMS`)"
        )
    if said.get("adapters"):
        pin["adapters"] = {name: configuration_hash(folder) for name, folder in sorted(said["adapters"].items())}
    return pin
