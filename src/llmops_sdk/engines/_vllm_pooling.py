"""Vectors and labels from vLLM's pooling models: what is asked of the core, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from llmops_sdk import loops
from llmops_sdk.engines._vllm_adapting import VllmAdapting
from llmops_sdk.engines._vllm_request import translated
from llmops_sdk.engines._vllm_start import Clock, VllmParts
from llmops_sdk.errors import BadRequestError, ClosedError, ConfigurationError, EngineDied, UnsupportedError
from llmops_sdk.messages import Classification, Request

__all__ = ["Task", "VllmPooling", "classification", "each", "refuse_other_task", "task_arguments"]

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
        UnsupportedError: `wanted` is not among `able`.
    """
    if wanted in able:
        return
    does = [task for task in get_args(Task) if task in able]
    raise UnsupportedError(
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


class VllmPooling(VllmAdapting):
    """An engine that runs vLLM for one task: it generates, embeds or classifies."""

    _task: Task | None
    _tasks: tuple[str, ...]
    """What the model can be asked; empty before the start where `task` was not given."""

    async def _equip(self, core: Any, tasks: Sequence[str], clock: Clock) -> None:
        if self._task is not None and self._task not in tasks:
            raise ConfigurationError(f"{self.model!r} cannot {self._task}: vLLM can use it to {', '.join(tasks)}")
        self._tasks = tuple(tasks)
        await super()._equip(core, tasks, clock)

    async def aembed(self, texts: Sequence[str], /, *, dimensions: int | None = None) -> list[list[float]]:
        """Vectors of `texts`, in order: shape `(len(texts), dimensions)`; starts the engine if it is not running.

        The model's pooler decides which tokens count and whether the vectors have length 1, as those of most models do.

        Args:
            texts: What to embed, without a chat template; each has to fit the window.
            dimensions: Numbers for each text, where the model was trained for several (Matryoshka); all by default.

        Raises:
            ContextLengthError: A text is longer than the window.
            BadRequestError: This engine has no embeddings, or none with so many dimensions; a text is empty.
        """
        return await loops.across(
            lambda: self._pooled(texts, "embed", lambda data: data.tolist(), dimensions), self._home_loop()
        )

    async def aclassify(self, texts: Sequence[str], /) -> list[Classification]:
        """What the model's classification head says of each of `texts`, in order; starts the engine if need be.

        Labels are those of the model's `id2label`, scores are probabilities.

        Raises:
            ContextLengthError: A text is longer than the window.
            BadRequestError: This engine does not classify; a text is empty.
        """

        def labelled(data: Any) -> Classification:
            return classification(data.tolist(), getattr(self._core.model_config.hf_config, "id2label", None) or {})

        return await loops.across(lambda: self._pooled(texts, "classify", labelled), self._home_loop())

    def embed(self, texts: Sequence[str], /, *, dimensions: int | None = None) -> list[list[float]]:
        """`aembed`, for code without an event loop."""
        return loops.run_sync(lambda: self.aembed(texts, dimensions=dimensions), method="embed()")

    async def _pooled(
        self, texts: Sequence[str], task: Task, read: Callable[[Any], _T], dimensions: int | None = None
    ) -> list[_T]:
        """What the model's pooler says of each text. On the home loop."""
        where: dict[str, Any] = {"engine": self.name, "model": self.model}
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise BadRequestError(f"`{task}` takes a list of texts: `{task}([text])`", **where)
        if self._tasks:
            refuse_other_task(task, self._tasks, **where)
        await self._started()
        refuse_other_task(task, self._tasks, **where)
        core, parts = self._core, self._parts
        if core is None or parts is None:
            raise ClosedError(f"the engine {self.name!r} was closed")
        try:
            params = pooling_params(core, task, dimensions)
        except Exception as exc:  # vLLM's own words about `dimensions`
            raise translated(exc, parts, **where) from exc

        async def one(index: int, text: str) -> _T:
            prompt = await self._pooled_prompt(core, parts, index, text)
            if self._closed:
                raise ClosedError(f"the engine {self.name!r} was closed before all texts were done")
            async with self._sending(Request.of(text), core, parts) as request_id:
                async with contextlib.aclosing(core.encode(prompt, params, request_id)) as outputs:
                    async for output in outputs:
                        last = output
                if not len(last.outputs.data):  # so vLLM answers what was aborted
                    raise EngineDied("the engine gave the text up", **where)
                return read(last.outputs.data)

        at_once = min(len(texts), (1 if self._admission.max_waiting is not None else 2) * self._most_running)
        with self._admission.place(at_once, self._most_running, engine=self.name, model=self.model):
            return await each(texts, one, at_once)

    async def _pooled_prompt(self, core: Any, parts: VllmParts, index: int, text: str) -> Any:
        window: int = core.model_config.max_model_len
        if len(text) > window * core.renderer.get_tokenizer().max_chars_per_token:
            raise self._too_long(f"{len(text)} characters, more than", None, window, what=f"text {index}")
        try:
            (prompt,) = await tokens_of(core, text)
        except Exception as exc:  # tokenizers raise what they like
            raise translated(exc, parts, engine=self.name, model=self.model) from exc
        tokens = len(prompt["prompt_token_ids"])
        if tokens > window:
            raise self._too_long(f"{tokens} tokens, more than", tokens, window, what=f"text {index}")
        if not tokens:
            raise BadRequestError(f"text {index} is empty", engine=self.name, model=self.model)
        return prompt
