"""A folder, anywhere that fsspec can write, for texts that are too long for a span."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Final

from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.loops import in_thread
from llmops_sdk.tracing._content.bounded import Bounded

__all__ = ["Store"]

_KNOWN: Final = 4096
"""Names that are remembered, so that what stands in many runs (a system's prompt) is written once."""


class Store:
    """Keeps texts under the SHA-256 of what they are, `<url>/<2 digits>/<64 digits>.txt`: nothing is ever overwritten.

    Raises:
        ConfigurationError: Nothing can be stored at the URL.
        MissingDependencyError: A package is missing.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec  # noqa: PLC0415  (only who has a store pays for it)
        except ImportError as exc:
            raise MissingDependencyError("a store for content", package="fsspec", extra="store") from exc
        self._open = fsspec.url_to_fs
        self._url = url
        try:
            fs, path = self._open(url)
        except ImportError as exc:
            name = exc.name or url.partition(":")[0]
            raise MissingDependencyError(
                f"the store {url!r}", package=name, extra="store", command=f"pip install {name}"
            ) from exc
        except (ValueError, TypeError) as exc:
            raise ConfigurationError(
                f"`store` is {url!r}, where nothing can be stored ({exc}): write a URL for fsspec, such as "
                "'s3://bucket/traces' or 'file:///var/traces'"
            ) from exc
        self._base = str(fs.unstrip_protocol(path)).rstrip("/")
        self._bounded = Bounded(f"the store {self._base!r}")
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, data: bytes, ending: str) -> str | None:
        """Keep `data`; gives its URI, `None` when it could not be kept."""
        digest = hashlib.sha256(data).hexdigest()
        name = f"{digest[:2]}/{digest}{ending}"
        with self._lock:
            known = name in self._known
        if not known:
            try:
                self._bounded.run(lambda: in_thread(lambda: self._write(name, data)))
            except Exception as exc:  # noqa: BLE001  (stores fail in many ways, and none of them may stop tracing)
                self._bounded.tell(exc, "texts are cut instead")
                return None
            with self._lock:
                self._known[name] = None
                if len(self._known) > _KNOWN:
                    self._known.popitem(last=False)
        return f"{self._base}/{name}"

    def _write(self, name: str, data: bytes) -> None:
        fs, path = self._open(self._url)  # one for each process and thread: fsspec remembers it
        path = f"{path.rstrip('/')}/{name}"
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        fs.pipe_file(path, data)
