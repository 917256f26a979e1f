"""The lock itself: read, made, compared, written, and in force."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from llmops_sdk import environment
from llmops_sdk.errors import ConfigurationError, LockError, PromptError
from llmops_sdk.pipelines._locking.building import built, named
from llmops_sdk.pipelines._locking.comparing import Difference, differences
from llmops_sdk.pipelines._locking.document import FORMAT, as_text, document_hash, parsed
from llmops_sdk.pipelines._locking.prompts import LockedPrompts, RecordedPrompts, bundle_folder, bundle_of
from llmops_sdk.pipelines._locking.taking import pins_of
from llmops_sdk.pipelines._locking.writing import bundle_beside, write_lock
from llmops_sdk.pipelines._pipeline import Pipeline
from llmops_sdk.prompts import Prompt, prompts_from

if TYPE_CHECKING:
    from llmops_sdk.prompts import PromptRepository

__all__ = ["Lock"]

_FILE = "llmops.lock"
_SHORTEST_KEY = 8


class Lock:
    """What a release runs: its prompts, models, adapters, guards, prices and the version of this library.

    `make` takes it from pipelines, `write` puts it into a file, `read` reads it. `Pipeline.from_lock` builds a pipeline
    by it. Immutable.

    Attributes:
        hash: SHA-256 (64 hexadecimal digits) of what it says, however its file is written. Runs of its pipelines carry
            it.
        data: What it says, as in its file.
        path: Its file, for errors.
    """

    def __init__(self, data: Mapping[str, Any], /, *, path: str = _FILE, folder: Traversable | None = None) -> None:
        """A lock that says `data`; `read` and `make` are the usual ways to get one.

        Args:
            data: What it says.
            path: Its file, for errors.
            folder: Where its file lies, and below that its bundle.
        """
        self.data = data
        self.path = path
        self.hash = document_hash(data)
        self._folder = folder
        self._recorded: Mapping[str, tuple[Prompt, PromptRepository]] = {}

    @classmethod
    def read(cls, source: str | os.PathLike[str] | Traversable | None = None, /) -> Lock:
        """The lock in a file.

        Args:
            source: The file, or the folder that holds a `llmops.lock`; in a wheel or a zip as
                `importlib.resources.files("app")` gives it. By default the nearest `llmops.lock` in this folder or
                above it.

        Raises:
            LockError: There is none, it is broken, or of a newer format.
        """
        given = source if source is not None else _nearest()
        place: Traversable = Path(given) if isinstance(given, str | os.PathLike) else given
        if place.is_dir():
            place = place.joinpath(_FILE)
        path = str(place)
        try:
            text = place.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            raise LockError(
                f"there is no lock {path!r}; write it with `llmops lock package.module:pipeline`", path=path
            ) from None
        except (OSError, UnicodeDecodeError) as exc:
            raise LockError(f"{path} cannot be read: {exc}", path=path) from exc
        return cls(parsed(text.replace("\r\n", "\n"), path), path=path, folder=getattr(place, "parent", None))

    @classmethod
    def make(cls, *sources: str) -> Lock:
        """What pipelines run now.

        They are imported, or built, in this process; modules that are imported already are not imported anew.

        Args:
            sources: Import paths of pipelines, or of functions that return one: `"app.pipelines:support"`. The name in
                the lock is the attribute's, unless another one is given: `"help=app.pipelines:make_help"`.

        Raises:
            ConfigurationError: A path leads to no pipeline, two have one name, or a key would stand in the lock.
            Exception: Whatever the building of a pipeline raises.
        """
        paths: dict[str, str] = {}
        for name, path in map(named, sources):
            if paths.setdefault(name, path) != path:
                raise ConfigurationError(f"two pipelines are called {name!r}: write `other={path}` for one of them")
        if not paths:
            raise ConfigurationError("a lock needs pipelines: `llmops lock package.module:pipeline`")
        recorded = RecordedPrompts()
        with prompts_from(recorded):
            pipelines = {name: pins_of(_built(path, name, recorded), path) for name, path in sorted(paths.items())}
        data = {"format": FORMAT, "sdk": version("llmops-sdk"), "prompts": recorded.pins(), "pipelines": pipelines}
        _refuse_keys(data)
        lock = cls(data)
        lock._recorded = recorded.prompts
        return lock

    @property
    def pipelines(self) -> tuple[str, ...]:
        """Names of its pipelines."""
        return tuple(self.data["pipelines"])

    @property
    def sources(self) -> tuple[str, ...]:
        """Name and import path of its pipelines, as `make` takes them."""
        return tuple(f"{name}={entry['source']}" for name, entry in self.data["pipelines"].items())

    @property
    def bundle(self) -> str | None:
        """The folder of its own copies of the prompt files, relative to its file; `None`: git has them."""
        said: str | None = self.data.get("bundle")
        return said

    @property
    def unpinned(self) -> dict[str, str]:
        """What it cannot pin -> why: `{"pipelines.support.guards.mine": "..."}`."""
        return dict(_unpinned(self.data, ""))

    def differences(self) -> tuple[Difference, ...]:
        """Build all of its pipelines with the prompts that it pins, and say what is not as it says.

        Raises:
            LockError: A prompt that it pins is not there.
            Exception: Whatever the building of a pipeline raises.
        """
        told: list[Difference] = []
        prompts = self._prompts(told.append)
        with prompts_from(prompts):
            pipelines = {
                name: pins_of(built(entry["source"], name), entry["source"])
                for name, entry in self.data["pipelines"].items()
            }
        for spec in self.data["prompts"]:
            if spec not in prompts.found:  # loaded later, or by a module that was imported before
                prompts.get(spec, None)
        here = {"sdk": version("llmops-sdk"), "prompts": prompts.found, "pipelines": pipelines}
        locked = {name: value for name, value in self.data.items() if name in here}
        return tuple(dict.fromkeys((*told, *differences(locked, here))))

    def moved(self) -> dict[str, str]:
        """Prompts whose label, tag or branch leads to other content by now -> its commit. The lock keeps its own."""
        moved = {}
        for spec, pin in self.data["prompts"].items():
            with contextlib.suppress(PromptError):
                prompt = Prompt.load(spec)
                if prompt.commit is not None and prompt.hash != pin["hash"]:
                    moved[spec] = prompt.commit
        return moved

    def pipeline(self, name: str, /) -> Pipeline:
        """See `Pipeline.from_lock`."""
        path = self._entry(name)["source"]
        told: list[Difference] = []
        with prompts_from(self._prompts(told.append)):
            pipeline = built(path, name)
        self._check(name, pipeline, told)
        return pipeline._by_lock(self.hash)

    def check(self, name: str, pipeline: Pipeline, /) -> None:
        """See that a pipeline, however it was built, is the one that the lock has under this name.

        Raises:
            LockError: The lock has none of this name, or something differs: `differences` lists all of it.
        """
        self._check(name, pipeline, ())

    def _check(self, name: str, pipeline: Pipeline, told: Iterable[Difference]) -> None:
        entry = self._entry(name)
        locked = {"sdk": self.data["sdk"], "pipelines": {name: entry}}
        found = {"sdk": version("llmops-sdk"), "pipelines": {name: pins_of(pipeline, entry["source"])}}
        differing = tuple(dict.fromkeys((*told, *differences(locked, found))))
        if differing:
            self._fail(differing)

    def _entry(self, name: str) -> Mapping[str, Any]:
        entries: Mapping[str, Mapping[str, Any]] = self.data["pipelines"]
        if name not in entries:
            near = difflib.get_close_matches(name, entries, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise LockError(
                f"{self.path} has no pipeline {name!r}; it has {', '.join(entries) or 'none'}.{hint}", path=self.path
            )
        return entries[name]

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """Have each prompt that is loaded in here be what the lock pins, in modules that are imported here, too.

        `Pipeline.from_lock` does so while it builds. An application that loads prompts later, too, runs in this. Tasks
        that are begun here inherit it, threads that are started here do not.

        Raises:
            LockError: While it is in force, of a prompt that is not in the lock, or not what the lock says.
        """

        def refuse(difference: Difference) -> None:
            self._fail((difference,))

        with prompts_from(self._prompts(refuse)):
            yield

    def write(self, path: str | os.PathLike[str] = _FILE, /, *, bundle: str | os.PathLike[str] | None = None) -> Lock:
        """Write the file, whole or not at all; the lock as it was written is returned.

        Args:
            path: The file.
            bundle: A folder beside it or below, for copies of all prompt files and of what they include. What the lock
                before had there, and this one has not, is removed.

        Raises:
            ConfigurationError: The folder lies elsewhere, or the lock was not made in this process.
            PromptError: A prompt was changed meanwhile.
            LockError: It cannot be written; the former lock is still there then, with its bundle.
        """
        file = Path(path)
        prompts = self.data["prompts"]
        data = {name: value for name, value in self.data.items() if name != "bundle"}
        files: dict[str, bytes] = {}
        if bundle is not None:
            if prompts.keys() != self._recorded.keys():
                raise ConfigurationError("a bundle is written with a lock that `Lock.make` has just made")
            for spec, (prompt, source) in self._recorded.items():
                folder = bundle_folder(spec, prompts[spec])
                files |= {f"{folder}/{name}": content for name, content in bundle_of(prompt, source).items()}
            data["bundle"] = bundle_beside(file, Path(bundle))
        write_lock(file, as_text(data), data.get("bundle"), files)
        return Lock(data, path=str(file), folder=file.parent)

    def _prompts(self, note: Callable[[Difference], object]) -> LockedPrompts:
        bundle = None
        if self.bundle is not None:
            if self._folder is None:
                raise LockError(
                    f"{self.path} has a bundle beside it, but nothing says where it lies: read it by its folder, "
                    "`Lock.read(importlib.resources.files('app'))`",
                    path=self.path,
                )
            bundle = self._folder.joinpath(*self.bundle.split("/"))
        return LockedPrompts(self.data["prompts"], self.path, bundle, note)

    def _fail(self, differing: tuple[Difference, ...]) -> NoReturn:
        raise LockError(
            f"{self.path}: what is here is not what the lock says: {'; '.join(map(str, differing))}. If that is meant, "
            "write the lock anew with `llmops lock`. (A module that was imported before the lock was in force has its "
            "prompts from elsewhere.)",
            path=self.path,
            differences=differing,
        )

    def __repr__(self) -> str:
        return f"<Lock {self.path!r} of {', '.join(self.pipelines)} {self.hash[:8]}>"


def _built(path: str, name: str, recorded: RecordedPrompts) -> Pipeline:
    pipeline = built(path, name)
    prompt = pipeline.prompt
    if isinstance(prompt, Prompt) and prompt.commit is not None:
        spec = f"{prompt.name}@{prompt.version}"
        if spec not in recorded.prompts:  # its module was imported before
            Prompt.load(spec)
    return pipeline


def _nearest() -> Path:
    here = Path.cwd()
    found = next((one for one in (here, *here.parents) if (one / _FILE).is_file()), here)
    return found / _FILE


def _unpinned(table: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _unpinned(value, f"{where}{name}.")
        elif name == "unpinned":
            yield where.removesuffix("."), value


def _refuse_keys(data: Mapping[str, Any]) -> None:
    keys = [key for key in environment.credentials() if len(key) >= _SHORTEST_KEY]
    for line in as_text(data).splitlines():
        if any(key in line for key in keys):
            raise ConfigurationError(
                f"the value of a key of the environment would stand in the lock, as `{line.partition(' = ')[0]}`: give "
                "keys to engines as `api_key=`, not in names, models or URLs"
            )
