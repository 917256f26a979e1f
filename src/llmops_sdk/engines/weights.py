"""Weights on disk: downloaded from the Hugging Face hub, checked, and checked again later.

`huggingface_hub` speaks to the hub: names, revisions, tokens, proxies, and `HF_ENDPOINT` for a mirror. What is added
here: only safetensors unless told otherwise, the room on the disk looked at before the first byte, a download that
goes on after the process was killed, and a SHA-256 for each file.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llmops_sdk.engines._checkpoints import (
    CHECKSUMS,
    PICKLED,
    Tensor,
    checksum_faults,
    read_config,
    sha256,
    tensor_bits,
    weight_faults,
)
from llmops_sdk.errors import (
    ConfigurationError,
    EngineConnectionError,
    LlmopsError,
    MissingDependencyError,
    NotFoundError,
    PermissionDeniedError,
)

try:
    import huggingface_hub
    from huggingface_hub import errors as hub_errors
    from huggingface_hub.file_download import http_get
except ModuleNotFoundError as exc:
    if exc.name != "huggingface_hub":
        raise
    raise MissingDependencyError("a model on the Hugging Face hub", package="huggingface_hub", extra="hub") from exc

__all__ = ["describe", "download", "verify"]

_WANTED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""What a model needs, of the files at the top of its repository: folders hold copies in other forms."""

_SPARE_BYTES = 2**28
"""What a download leaves free."""


class _RemoteFile(NamedTuple):
    name: str
    size: int
    sha256: str | None
    git_blob: str | None
    """SHA-1 of the file as git has it; the hub knows no SHA-256 of small files."""


def download(
    model: str,
    folder: str | Path,
    /,
    *,
    revision: str | None = None,
    include: Sequence[str] = (),
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> Path:
    """Download a model's safetensors, configuration and tokenizer from the hub to `folder`, and check all of it.

    A download that broke, or whose process was killed, goes on where it stopped when it is called again; files that
    are whole are not fetched again. A progress bar for each file is shown on a terminal. Python files of the
    repository are not fetched.

    Args:
        model: Name on the hub, `"HuggingFaceTB/SmolLM2-135M-Instruct"`.
        folder: Where it goes; it is made if it is not there.
        revision: Branch, tag or commit; by default the main branch.
        include: Patterns of other files to fetch, too: `["*.bin"]` for pickled weights, which run any code that is in
            them when they are loaded.
        token: Access token; by default the one that `huggingface_hub` finds.
        endpoint: URL of another hub; by default `HF_ENDPOINT`, or the public one.

    Returns:
        `folder`, which holds a `SHA256SUMS` of everything that was fetched.

    Raises:
        NotFoundError: There is no such model or revision.
        PermissionDeniedError: The model is gated, and the token does not open it.
        ConfigurationError: The disk has too little room, or the model has no safetensors.
        EngineConnectionError: The hub cannot be reached, the connection broke for good, or a file arrived damaged.
    """
    target = Path(folder).expanduser()
    api = huggingface_hub.HfApi(endpoint=endpoint, token=token)
    with _hub_errors(model):
        info = api.model_info(model, revision=revision, files_metadata=True)
    files = list(_chosen(model, info.siblings or [], include))
    try:
        target.mkdir(parents=True, exist_ok=True)
        missing = [file for file in files if not _is_whole(target / file.name, file)]
        _check_room(target, missing)
        for file in missing:
            _fetch(api, model, str(info.sha or revision or "main"), file, target, token)
        sums = "".join(f"{file.sha256 or sha256(target / file.name)}  {file.name}\n" for file in files)
        (target / CHECKSUMS).write_text(sums, encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError(f"cannot write to {str(target)!r}: {exc}") from exc
    verify(target, checksums=False)
    return target


def verify(folder: str | Path, /, *, checksums: bool = True) -> None:
    """Check that a model folder is whole.

    The lengths of all weight files are held against their headers, in milliseconds. With `checksums` every byte is
    read, and held against the `SHA256SUMS` that `download` has written.

    Raises:
        ConfigurationError: It is not; the message names the files.
        NotFoundError: There is no such folder.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise NotFoundError(f"there is no model folder {str(path)!r}")
    read_config(path)
    faults = weight_faults(path) or (checksum_faults(path) if checksums else ())
    if faults:
        more = f", and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ConfigurationError(f"{str(path)!r}: {'; '.join(faults[:5])}{more}; download the model again")


def describe(
    model: str, /, *, revision: str | None = None, token: str | bool | None = None, endpoint: str | None = None
) -> tuple[dict[str, Any], tuple[Tensor, ...]]:
    """The config of a model on the hub, and its tensors as the headers of its files describe them; a few MB at most.

    Raises:
        NotFoundError: There is no such model.
        PermissionDeniedError: The model is gated, and the token does not open it.
        EngineConnectionError: The hub cannot be reached.
        ConfigurationError: The model has no `config.json`, or a damaged one.
    """
    api = huggingface_hub.HfApi(endpoint=endpoint, token=token)
    with _hub_errors(model):
        path = api.hf_hub_download(model, "config.json", revision=revision)
        try:
            config = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as exc:
            raise ConfigurationError(f"the config.json of {model} is damaged: {exc}") from exc
        try:
            found = api.get_safetensors_metadata(model, revision=revision)
        except hub_errors.NotASafetensorsRepoError:
            return config, ()
    return config, tuple(
        Tensor(name, str(tensor.dtype), tensor.parameter_count, tensor.data_offsets[1] - tensor.data_offsets[0])
        for file in found.files_metadata.values()
        for name, tensor in file.tensors.items()
        if tensor_bits(str(tensor.dtype)) is not None
    )


class _hub_errors:  # noqa: N801  (used as `contextlib.suppress` is)
    """Turns what `huggingface_hub` and its HTTP client raise into this library's errors."""

    def __init__(self, model: str) -> None:
        self._model = model

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, LlmopsError) or not isinstance(error, Exception):
            return
        model = self._model
        if isinstance(error, hub_errors.GatedRepoError):
            raise PermissionDeniedError(
                f"{model} is gated: ask for access on its page on the hub, and pass `token=`", model=model
            ) from error
        if isinstance(error, hub_errors.EntryNotFoundError) and not isinstance(
            error, hub_errors.LocalEntryNotFoundError
        ):
            raise ConfigurationError(f"{model} lacks a file that is needed: {error}") from error
        if isinstance(error, hub_errors.RepositoryNotFoundError | hub_errors.RevisionNotFoundError):
            raise NotFoundError(
                f"the hub has no model {model!r}, or not that revision, or it is private: {error}", model=model
            ) from error
        if isinstance(error, hub_errors.HFValidationError):
            raise ConfigurationError(f"{model!r} is no name on the hub: {error}") from error
        raise EngineConnectionError(
            f"the hub cannot be reached for {model}: {type(error).__name__}: {error}. Offline, give the path of a "
            "model folder instead",
            model=model,
        ) from error


def _chosen(model: str, siblings: Sequence[Any], include: Sequence[str]) -> Iterator[_RemoteFile]:
    names = [str(file.rfilename) for file in siblings]
    indexed = "model.safetensors.index.json" in names or "model.safetensors" in names
    chosen = 0
    for file in siblings:
        name = str(file.rfilename)
        asked = any(fnmatch.fnmatchcase(name, pattern) for pattern in include)
        wanted = "/" not in name and any(fnmatch.fnmatchcase(name, pattern) for pattern in _WANTED)
        if indexed and name.startswith("consolidated"):  # the same weights again, in their maker's own form
            wanted = False
        if not asked and not wanted:
            continue
        if file.size is None or Path(name).is_absolute() or ".." in Path(name).parts or name == CHECKSUMS:
            raise ConfigurationError(f"{model} has a file that cannot be fetched: {name!r}")
        chosen += name.endswith(".safetensors") or asked
        lfs = file.lfs
        yield _RemoteFile(name, int(file.size), lfs.sha256 if lfs else None, None if lfs else file.blob_id)
    if not chosen:
        pickled = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in PICKLED)]
        raise ConfigurationError(
            f"{model} has no safetensors weights"
            + (
                f", only pickled ones ({pickled[0]}), which run any code that is in them when they are loaded; if you "
                "trust whoever made them, pass `include=['*.bin']`"
                if pickled
                else ""
            )
        )


def _is_whole(path: Path, file: _RemoteFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.sha256 is not None:
        return sha256(path) == file.sha256
    return file.git_blob is None or _git_blob(path) == file.git_blob


def _git_blob(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _check_room(target: Path, missing: Sequence[_RemoteFile]) -> None:
    needed = 0
    for file in missing:
        part = _part(target, file)
        needed += file.size - (min(part.stat().st_size, file.size) if part.is_file() else 0)
    free = shutil.disk_usage(target).free
    if needed and needed + _SPARE_BYTES > free:
        raise ConfigurationError(
            f"{needed / 1e9:,.1f} GB are still to be fetched, and {str(target)!r} has {free / 1e9:,.1f} GB of room "
            f"({_SPARE_BYTES / 1e9:.1f} GB of it stay free); nothing was fetched"
        )


def _part(target: Path, file: _RemoteFile) -> Path:
    """Where a file grows; its name holds what it will be, so that another revision begins anew."""
    mark = (file.sha256 or file.git_blob or "unknown")[:16]
    return target / f".{file.name.replace('/', '--')}.{mark}.part"


def _fetch(api: Any, model: str, revision: str, file: _RemoteFile, target: Path, token: str | bool | None) -> None:
    part, path = _part(target, file), target / file.name
    if part.is_file() and part.stat().st_size > file.size:
        part.unlink()
    url = huggingface_hub.hf_hub_url(model, file.name, revision=revision, endpoint=api.endpoint)
    headers = huggingface_hub.utils.build_hf_headers(token=token)
    with part.open("ab") as stream, _hub_errors(model):
        have = stream.tell()
        if have < file.size:
            http_get(
                url, stream, resume_size=have, headers=headers, expected_size=file.size, displayed_filename=file.name
            )
    if not _is_whole(part, file):
        part.unlink()
        raise EngineConnectionError(
            f"{file.name} of {model} arrived damaged: its checksum is not the hub's. It was removed; download again",
            model=model,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)
