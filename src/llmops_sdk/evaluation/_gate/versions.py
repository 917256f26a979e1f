"""A pipeline at a version of its prompts: a label, tag, branch or commit, what a lock pins, or the working tree."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.pipelines import Lock, Pipeline
from llmops_sdk.prompts import Prompt, PromptSource, prompts_from

if TYPE_CHECKING:
    from llmops_sdk.prompts import PromptRepository

__all__ = ["WORKTREE", "Build", "Versions", "name_of"]

WORKTREE = "worktree"

Build: TypeAlias = "Pipeline | Callable[[], Pipeline] | Callable[[str | None], Pipeline]"
"""A pipeline, or a function that builds one, perhaps for a version."""


def name_of(at: str | None) -> str:
    """What an experiment calls a version.

    Example:
        >>> name_of("prod"), name_of(None)
        ('prod', 'worktree')
    """
    return WORKTREE if at is None else at


class Versions:
    """Builds a pipeline at versions of its prompts.

    Args:
        build: The pipeline, whose prompt is exchanged; or a function without arguments, in which every prompt that is
            loaded is the one of the version; or a function of the version, which sees to that itself.
        repository: Where prompts are, by default that of the current folder.
        locked_as: Its name in a lock that holds several.
    """

    def __init__(self, build: Build, *, repository: PromptRepository | None, locked_as: str) -> None:
        if not isinstance(build, Pipeline) and not callable(build):
            raise ConfigurationError(
                f"{build!r} is neither a pipeline nor a function that builds one: write `prompt | engine`, or a "
                "function without arguments that gives such a line"
            )
        self._build = build
        self._takes_version = not isinstance(build, Pipeline) and _takes_version(build)
        self._repository = repository
        self._locked_as = locked_as

    def at(self, version: str | None) -> Pipeline:
        """The pipeline at a version: a label, tag, branch or commit, a file `*.lock`, or `None`, the working tree.

        Raises:
            ConfigurationError: It cannot be had at another version, or the function gives no pipeline.
            PromptError: There is no such version, or no such prompt at it.
            LockError: There is no such lock, or more than prompts has changed since it was written.
            Exception: Whatever the function raises.
        """
        if version is not None and version.endswith(".lock"):  # git allows no reference such a name
            return self._locked(Lock.read(Path(version)))
        return self._built(version, self._at(version))

    def check_differs(self, base: Pipeline, base_at: str | None, new_at: str | None) -> None:
        """Two pipelines came out the same; see that it is not because the function gives the same for all versions.

        Raises:
            ConfigurationError: The prompt is not the same at the two versions.
        """
        prompt = base.prompt
        if not isinstance(prompt, Prompt) or any(at is not None and at.endswith(".lock") for at in (base_at, new_at)):
            return
        try:
            before, after = (self._at(at).get(prompt.name, None) for at in (base_at, new_at))
        except PromptError:  # its prompt is a text in the code
            return
        if before.hash != after.hash:
            raise ConfigurationError(
                f"{self._build!r} builds the same pipeline for {name_of(base_at)!r} and {name_of(new_at)!r}, though "
                f"the prompt {prompt.name!r} differs between them: load prompts inside of the function, by its "
                "argument if it has one"
            )

    def _at(self, version: str | None) -> _AtVersion:
        return _AtVersion(name_of(version), self._repository)

    def _locked(self, lock: Lock) -> Pipeline:
        names = lock.pipelines
        entry = names[0] if len(names) == 1 else self._locked_as
        pipeline = self._built(None, _Locked(lock, self._repository))
        lock.check(entry, pipeline)
        return pipeline

    def _built(self, version: str | None, source: PromptSource) -> Pipeline:
        if isinstance(self._build, Pipeline):
            return _exchanged(self._build, version, source)
        build: Callable[..., Any] = self._build
        if self._takes_version and not isinstance(source, _Locked):
            made = build(version)
        else:
            with prompts_from(source):
                made = build(None) if self._takes_version else build()
        if not isinstance(made, Pipeline):
            raise ConfigurationError(f"{build!r} gave {made!r}: it has to give a pipeline, `prompt | engine`")
        return made


class _AtVersion:
    """Gives each prompt as it is at a version, whichever one is asked for."""

    def __init__(self, version: str, repository: PromptRepository | None) -> None:
        self._version = version
        self._repository = repository

    def get(self, spec: str, repository: PromptRepository | None, /) -> Prompt:
        name = spec.partition("@")[0]
        return Prompt.load(f"{name}@{self._version}", repository=repository or self._repository)


class _Locked:
    """Gives each prompt as a lock pins it, whichever version is asked for."""

    def __init__(self, lock: Lock, repository: PromptRepository | None) -> None:
        self._lock = lock
        self._repository = repository

    def get(self, spec: str, repository: PromptRepository | None, /) -> Prompt:
        pinned = self._lock.data["prompts"]
        if spec not in pinned:
            name = spec.partition("@")[0]
            of_name = [one for one in pinned if one.partition("@")[0] == name]
            if len(of_name) > 1:
                raise ConfigurationError(
                    f"{self._lock.path} pins {' and '.join(map(repr, of_name))}: which one {spec!r} stands for cannot "
                    "be told"
                )
            spec = of_name[0] if of_name else spec  # the lock says that it has none
        with self._lock.in_force():
            source = repository or self._repository
            return Prompt.load(spec) if source is None else source.get(spec)


def _exchanged(pipeline: Pipeline, version: str | None, source: PromptSource) -> Pipeline:
    prompt = pipeline.prompt
    if isinstance(prompt, Prompt) and prompt.version is None and version is None and isinstance(source, _AtVersion):
        return pipeline  # as it lies here, or a text in the code
    if not isinstance(prompt, Prompt):
        if prompt is None and version is None and isinstance(source, _AtVersion):
            return pipeline
        kind = "no prompt" if prompt is None else f"a {type(prompt).__name__}"
        raise ConfigurationError(
            f"the pipeline {pipeline.name!r} has {kind}, which cannot be exchanged for that of another version: give a "
            "function without arguments that loads its prompts and builds the pipeline"
        )
    if prompt.name == "inline":
        raise ConfigurationError(
            f"the prompt of {pipeline.name!r} is a text in the code, which has no versions: keep it as a file and "
            "`Prompt.load` it, or give a function of the version that builds the pipeline"
        )
    spec = prompt.name if prompt.version is None else f"{prompt.name}@{prompt.version}"
    with prompts_from(None):
        return pipeline.with_prompt(source.get(spec, None))


def _takes_version(build: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):  # some written in C have none
        return False
    return any(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        and (one.default is one.empty or one.name in ("at", "version"))
        for one in parameters
    )
