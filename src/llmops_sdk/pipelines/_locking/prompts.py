"""Prompts by a lock: recorded while it is written, and given out as it says."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from llmops_sdk.errors import ConfigurationError, LockError, PromptError
from llmops_sdk.pipelines._locking.comparing import Difference
from llmops_sdk.prompts import SUFFIX, Prompt, Reader, is_inside, parse_prompt

if TYPE_CHECKING:
    from llmops_sdk.prompts import PromptRepository

__all__ = ["LockedPrompts", "RecordedPrompts", "bundle_folder", "bundle_of"]

_DIGITS = 12


def bundle_folder(spec: str, pin: Mapping[str, Any]) -> str:
    """Where the files of a prompt lie in the bundle: named by content, so that two versions stand side by side."""
    return f"{_name_of(spec)}@{pin['hash'][:_DIGITS]}"


def _name_of(spec: str) -> str:
    return spec.partition("@")[0]


def _repository_here() -> PromptRepository:
    # By name: it imports third-party libraries, which a bundle does without.
    found: PromptRepository = importlib.import_module("llmops_sdk.prompts.repository").repository_here()
    return found


class RecordedPrompts:
    """Gives prompts as their repositories have them, and keeps which ones were asked for."""

    def __init__(self) -> None:
        self.prompts: dict[str, tuple[Prompt, PromptRepository]] = {}

    def get(self, spec: str, repository: PromptRepository | None, /) -> Prompt:
        """See `PromptSource.get`."""
        source = repository or _repository_here()
        prompt = source.get(spec)
        before = self.prompts.setdefault(spec, (prompt, source))[0]
        if before.hash != prompt.hash:
            raise ConfigurationError(
                f"the prompt {spec!r} was loaded twice, with different content: a lock can pin one of them"
            )
        return prompt

    def pins(self) -> dict[str, dict[str, str]]:
        """What a lock says of them."""
        return {spec: _pin(prompt, source) for spec, (prompt, source) in sorted(self.prompts.items())}


def _pin(prompt: Prompt, source: PromptRepository) -> dict[str, str]:
    commit = {} if prompt.commit is None else {"commit": _brought_by(prompt, prompt.commit, source)}
    folder = f"{source.folder}/" if source.folder else ""
    return {"hash": prompt.hash, **commit, "path": f"{folder}{prompt.name}{SUFFIX}"}


def _brought_by(prompt: Prompt, commit: str, source: PromptRepository) -> str:
    """The commit that brought the prompt as it is at `commit`: a lock stays as it is while other files change."""
    try:
        brought = source.log(prompt.name, version=commit, limit=1)[0]
    except PromptError:  # a clone that holds the files of this commit and not those of all before
        return commit
    return brought.commit if brought.hash == prompt.hash else commit


def bundle_of(prompt: Prompt, source: PromptRepository) -> dict[str, bytes]:
    """All files that a prompt is made of, by their paths in the folder of the prompts.

    Raises:
        PromptError: It has changed since it was loaded.
    """
    at = f"{prompt.name}@{prompt.commit}" if prompt.commit is not None else prompt.name
    text, read = source.source(at)
    files = {prompt.name + SUFFIX: text.encode()}

    def recording(path: str) -> bytes | None:
        data = read(path)
        if data is not None:
            files[path] = data
        return data

    again = parse_prompt(files[prompt.name + SUFFIX], name=prompt.name, where=at, read=recording)
    if again.hash != prompt.hash:
        raise PromptError(f"the file of {prompt.name!r} was changed while the lock was written", prompt=prompt.name)
    return files


class LockedPrompts:
    """Gives prompts as a lock pins them, wherever their labels point by now.

    Args:
        pins: The prompts of the lock.
        where: The file of the lock, for errors.
        bundle: The folder of the lock's own copies of the files; `None` where it has none, and git has them.
        note: Is told what is not as the lock says; what was found is used then.
    """

    def __init__(
        self,
        pins: Mapping[str, Mapping[str, Any]],
        where: str,
        bundle: Traversable | None,
        note: Callable[[Difference], object],
    ) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._pins = pins
        self._where = where
        self._bundle = bundle
        self._note = note
        self._kept: dict[str, Prompt] = {}

    def get(self, spec: str, repository: PromptRepository | None, /) -> Prompt:
        """See `PromptSource.get`.

        Raises:
            LockError: What the lock pins is not there, neither in its bundle nor in git.
        """
        if spec in self._kept:
            return self._kept[spec]
        pin = self._pins.get(spec)
        if pin is None:
            self._note(Difference(f"prompts.{spec}", None, "loaded"))
            return (repository or _repository_here()).get(spec)
        prompt = self._from_bundle(spec, pin) if self._bundle is not None else self._from_git(spec, pin, repository)
        self.found[spec] = {**pin, "hash": prompt.hash}
        if prompt.hash != pin["hash"]:
            self._note(Difference(f"prompts.{spec}.hash", pin["hash"], prompt.hash))
        elif self._bundle is not None or "commit" in pin:  # the file in the working tree may change
            self._kept[spec] = prompt
        return prompt

    def _from_bundle(self, spec: str, pin: Mapping[str, Any]) -> Prompt:
        assert self._bundle is not None
        folder = self._bundle.joinpath(*bundle_folder(spec, pin).split("/"))
        read, name = _reader(folder), _name_of(spec)
        data = read(name + SUFFIX)
        if data is None:
            raise LockError(
                f"{self._where}: the bundle lacks {folder}/{name}{SUFFIX}; write it anew with `llmops lock`",
                path=self._where,
            )
        try:
            return _parsed(data, spec, pin, f"{folder}/{name}{SUFFIX}", read)
        except PromptError as exc:
            raise LockError(
                f"{self._where}: the copy of {spec!r} in the bundle is not what was locked ({exc}); write it anew with "
                "`llmops lock`",
                path=self._where,
            ) from exc

    def _from_git(self, spec: str, pin: Mapping[str, Any], repository: PromptRepository | None) -> Prompt:
        name, commit = _name_of(spec), pin.get("commit")
        source = repository or _repository_here()
        if commit is None:
            return self._at(spec, pin, source, name)
        try:
            return self._at(spec, pin, source, f"{name}@{commit}")
        except PromptError as exc:
            try:  # whatever the commit, the same content is the same prompt
                lying = self._at(spec, pin, source, name)
                if lying.hash == pin["hash"]:
                    return lying
            except PromptError:
                pass
            raise LockError(
                f"{self._where}: {spec!r} is pinned at the commit {commit[:12]}, which is not here ({exc}). Fetch it, "
                "or write the lock with `llmops lock --bundle FOLDER`, so that it brings its prompts along",
                path=self._where,
            ) from exc

    def _at(self, spec: str, pin: Mapping[str, Any], source: PromptRepository, at: str) -> Prompt:
        text, read = source.source(at)
        return _parsed(text.encode(), spec, pin, f"{pin['path']}@{pin.get('commit', 'worktree')[:_DIGITS]}", read)


def _parsed(data: bytes, spec: str, pin: Mapping[str, Any], where: str, read: Reader) -> Prompt:
    name, _, version = spec.partition("@")
    return parse_prompt(data, name=name, where=where, version=version or None, commit=pin.get("commit"), read=read)


def _reader(folder: Traversable) -> Reader:
    def read(path: str) -> bytes | None:
        if not is_inside(path):
            return None
        file = folder.joinpath(*path.split("/"))
        return file.read_bytes() if file.is_file() else None

    return read
