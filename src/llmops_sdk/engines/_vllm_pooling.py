"""Vectors and labels from vLLM's pooling models: what is asked of the core, and what comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from llmops_sdk.errors import BadRequestError, ConfigurationError
from llmops_sdk.messages import Classification

__all__ = ["Task", "classification", "each", "pooling_params", "refuse_other_task", "task_arguments", "tokens_of"]

Task: TypeAlias = Literal["generate", "embed", "classify"]
"""What an engine is opened for."""

_T = TypeVar("_T")

_ARGUMENTS: dict[str, dict[str, str]] = {
    "generate": {"runner": "generate"},
    "embed": {"runner": "pooling", "convert": "embed"},
    "classify": {"runner": "pooling"},
}
_METHODS = {"generate": "agenerate` or `astream", "embed": "aembed", "classify": "aclassify"}


def task_arguments(task: str | None) -> dict[str, str]:
    """VLLM's engine arguments for a task; none where the checkpoint is to decide.

    Raises:
        ConfigurationError: There is no such task.

    Example:
        >>> task_arguments("embed")
        {'runner': 'pooling', 'convert': 'embed'}
    """
    if task is None:
        return {}
    if task not in _ARGUMENTS:
        raise ConfigurationError(f"task has to be one of {', '.join(map(repr, get_args(Task)))}, not {task!r}")
    return dict(_ARGUMENTS[task])


def refuse_other_task(wanted: Task, able: Collection[str], *, engine: str, model: str | None) -> None:
    """Say what to call instead, or how to open the model for `wanted`, where the engine does something else.

    Args:
        wanted: What is asked for.
        able: What the engine can do.
        engine: Name of the engine, for the message.
        model: Its model, for the message.

    Raises:
        BadRequestError: `wanted` is not among `able`.
    """
    if wanted in able:
        return
    does = [task for task in get_args(Task) if task in able]
    raise BadRequestError(
        f"the engine {engine!r} was opened to {' or '.join(does) or 'do something else'}, not to {wanted}; "
        + (f"call `{_METHODS[does[0]]}`, or open" if does else "open")
        + f" a model for it: `Engine.open(..., task={wanted!r})`",
        engine=engine,
        model=model,
    )


def tokens_of(core: Any, text: str) -> Awaitable[Sequence[Any]]:
    """Have the core's renderer turn a text into what the core takes: one prompt, never cut off."""
    parse = importlib.import_module("vllm.renderers.inputs.preprocess").parse_model_prompt
    counting = dataclasses.replace(core.renderer.default_cmpl_tok_params, max_total_tokens=None)
    rendered: Awaitable[Sequence[Any]] = core.renderer.render_cmpl_async([parse(core.model_config, text)], counting)
    return rendered


def pooling_params(core: Any, task: Task, dimensions: int | None) -> Any:
    """Make vLLM's `PoolingParams`.

    Raises:
        Exception: What vLLM says about `dimensions` that the model does not have.
    """
    params = importlib.import_module("vllm.pooling_params").PoolingParams(task=task, dimensions=dimensions)
    params.clone().verify(core.model_config)
    return params


def classification(probabilities: Sequence[float], labels: Mapping[int, str]) -> Classification:
    """A record of what the model says, with the labels of its configuration.

    Example:
        >>> classification([0.25, 0.75], {0: "bad", 1: "good"})
        Classification(label='good', score=0.75, scores={'bad': 0.25, 'good': 0.75})
    """
    scores = {labels.get(index, f"LABEL_{index}"): score for index, score in enumerate(probabilities)}
    label = max(scores, key=scores.__getitem__)
    return Classification(label=label, score=scores[label], scores=scores)


async def each(texts: Sequence[str], work: Callable[[int, str], Awaitable[_T]], most: int) -> list[_T]:
    """`work(index, text)` for all texts, at most `most` at a time; the results in order.

    The first failure cancels the rest and is raised as it is.
    """
    results: list[Any] = [None] * len(texts)
    waiting = iter(enumerate(texts))

    async def worker() -> None:
        for index, text in waiting:
            results[index] = await work(index, text)

    workers = [asyncio.ensure_future(worker()) for _ in range(min(most, len(texts)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return results
