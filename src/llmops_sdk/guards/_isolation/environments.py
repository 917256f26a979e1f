"""Virtual environments for guards that cannot share this one: each is made once, and found again by what is in it.

An environment is made in a temporary folder, gets a marker as its last file, and is renamed into place then: one that
was interrupted is never taken for a whole one. A lock file, which the system lets go when its process ends, keeps two
processes from making the same one.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmops_sdk import environment
from llmops_sdk.errors import ConfigurationError

__all__ = ["environment_folder", "environment_python", "find_python"]

_MARKER = "llmops-sdk-ready.json"
_ASK = "import json, platform, sys; print(json.dumps([sys.executable, sys.version, platform.platform()]))"
_TAIL = 15
"""Lines of pip's output that an error shows."""


def find_python(python: str | None) -> str:
    """The path of an interpreter: this one, one on the PATH (`"python3.11"`), or the one at a path.

    Raises:
        ConfigurationError: There is none.
    """
    if python is None:
        return sys.executable
    found = shutil.which(python)
    if found is None:
        raise ConfigurationError(
            f"python={python!r} is not there: write the name of an interpreter on the PATH (`python3.11`) or its path"
        )
    return found


def _identity(python: str) -> list[str]:
    """What tells one interpreter from another; asking it also shows that it runs."""
    try:
        done = subprocess.run(  # noqa: S603  (the interpreter that the caller named)
            [python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=60, check=True
        )
        said: list[str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        raise ConfigurationError(f"{python} does not run as a Python interpreter: {exc}") from exc
    return said


def _contents(requirement: str) -> str:
    """A requirement; for a file, with a digest of it, so that a new build of it makes a new environment."""
    path = Path(requirement)
    if not path.is_file():
        return requirement
    return f"{requirement} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def environment_folder(requirements: Sequence[str], python: str, pip_options: Sequence[str] = ()) -> Path:
    """Where the environment of these requirements is, or will be."""
    key = json.dumps([_identity(python), [_contents(one) for one in requirements], list(pip_options)])
    return environment.cache_folder() / "environments" / hashlib.sha256(key.encode()).hexdigest()[:24]


def environment_python(
    requirements: Sequence[str],
    python: str | None = None,
    *,
    pip_options: Sequence[str] = (),
    show: bool = True,
) -> Path:
    """The interpreter of the environment with these requirements, which is made if it is not there.

    Args:
        requirements: What to install, as `pip install` takes it.
        python: The interpreter to make it of: a path or a name on the PATH; this one unless given.
        pip_options: More options of `pip install`.
        show: Say on standard error that it is being made, and how far that is.

    Raises:
        ConfigurationError: It cannot be made; the message ends with what pip said.
    """
    base = find_python(python)
    folder = environment_folder(requirements, base, pip_options)
    ready = folder / "bin" / "python"
    if _is_whole(folder):
        return ready
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock"), show=show):
            if not _is_whole(folder):  # another process may have made it in the meantime
                _make(folder, base, requirements, pip_options, show=show)
    except OSError as exc:
        raise ConfigurationError(
            f"an environment cannot be made in {folder.parent}: {exc}; set LLMOPS_CACHE to a folder with room"
        ) from exc
    return ready


def _is_whole(folder: Path) -> bool:
    return (folder / _MARKER).is_file()


@contextlib.contextmanager
def _locked(path: Path, *, show: bool) -> Iterator[None]:
    """Hold the lock file `path`. Within one process it keeps threads apart, too."""
    with path.open("w") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if show and not waiting:
                    _say("another process is making the environment that is needed here; waiting for it")
                waiting = True
                time.sleep(0.1)
        yield  # closing the file lets go of the lock


def _make(folder: Path, base: str, requirements: Sequence[str], pip_options: Sequence[str], *, show: bool) -> None:
    for left in folder.parent.glob(f"{folder.name}.making-*"):  # nobody else makes this one: the lock is held
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)  # without its marker it is not whole
    started = time.monotonic()
    wanted = ", ".join(requirements)
    making = Path(tempfile.mkdtemp(prefix=f"{folder.name}.making-", dir=folder.parent))
    try:
        progress = _Progress(f"making an environment, once, for {wanted}", show=show)
        _run([base, "-I", "-m", "venv", str(making)], f"no environment could be made of {base}", making, progress)
        install = [str(making / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input"]
        install += ["--disable-pip-version-check", *pip_options, *requirements]
        _run(install, f"pip could not install {wanted}", making, progress)
        seconds = time.monotonic() - started
        (making / _MARKER).write_text(json.dumps({"requirements": list(requirements), "seconds": round(seconds, 1)}))
        making.rename(folder)
        progress.end(f"made the environment for {wanted} in {seconds:.0f} s: {folder}")
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _run(command: Sequence[str], failure: str, cwd: Path, progress: _Progress) -> None:
    """Run `command`; show its last line, keep some more of them for the error."""
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL)
    with subprocess.Popen(  # noqa: S603  (venv and pip, with what the caller asked for)
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.strip() and not line.startswith("WARNING: Location"):  # pip says that once for each package
                    tail.append(line.rstrip()[:500])
                    progress.line(tail[-1])
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        said = _without_credentials("\n".join(tail))
        raise ConfigurationError(
            f"{failure} (exit status {process.returncode}). Check the requirements, the network and pip's settings, "
            f"or try it by hand: `python -m venv NEW && NEW/bin/python -m pip install ...`. It said at the end:\n{said}"
        )


def _without_credentials(text: str) -> str:
    """`text` without the values of variables that are named like keys: pip prints the URLs of its indexes."""
    for secret in environment.credentials():
        if len(secret) >= 6:
            text = text.replace(secret, "***")
    return text


class _Progress:
    """A line on standard error; in a terminal it shows the seconds and what pip does."""

    def __init__(self, title: str, *, show: bool) -> None:
        self._title, self._show = title, show
        self._started = self._shown = time.monotonic()
        self._live = show and sys.stderr.isatty()
        if show:
            _say(f"{title} (this can take minutes) ...")

    def line(self, text: str) -> None:
        now = time.monotonic()
        if self._live and now - self._shown > 0.2:
            self._shown = now
            width = shutil.get_terminal_size().columns - 1
            _write(f"\r\x1b[K{now - self._started:5.0f} s  {text}"[:width])

    def end(self, text: str) -> None:
        if self._live:
            _write("\r\x1b[K")
        if self._show:
            _say(text)


def _say(text: str) -> None:
    _write(f"llmops_sdk: {text}\n")


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may be listening
        sys.stderr.write(text)
        sys.stderr.flush()
