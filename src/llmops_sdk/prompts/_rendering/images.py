"""Images that are given for variables: by URL, as bytes, or by the path of a file."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import ImagePart

__all__ = ["MAX_IMAGE_BYTES", "image_of", "with_images"]

MAX_IMAGE_BYTES = 20_000_000
"""Largest image that is put into a request; most providers take less."""

_DATA = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")
_TAKES = "an image is an `ImagePart`, an https: URL, bytes of a PNG, JPEG, GIF or WebP file, or the `Path` of one"


def image_of(value: object) -> ImagePart:
    """The image that `value` is. The file of a `Path` is read here and now.

    Raises:
        ValueError: It is none; the message says why and what is.

    Example:
        >>> image_of(b"GIF89a").url
        'data:image/gif;base64,R0lGODlh'
    """
    if isinstance(value, ImagePart):
        return value
    if isinstance(value, str):
        return ImagePart(url=_checked_url(value))
    if isinstance(value, Path):
        value = _read(value)
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ValueError(f"is {type(value).__name__}: {_TAKES}")
    data = bytes(value)
    if len(data) > MAX_IMAGE_BYTES:
        raise ValueError(f"has {len(data):,} bytes, more than the {MAX_IMAGE_BYTES:,} that are allowed")
    kind = _kind_of(data)
    if kind is None:
        raise ValueError(f"is no PNG, JPEG, GIF or WebP file (it begins with {data[:8]!r})")
    return ImagePart(url=f"data:image/{kind};base64,{base64.b64encode(data).decode()}")


def with_images(values: Mapping[str, object], names: Iterable[str], prompt: str) -> dict[str, object]:
    """The values of variables, with those called `names` as images; `None` stays what it is.

    Raises:
        PromptError: One is no image; it names the variable.
    """
    seen = dict(values)
    for name in names:
        value = seen.get(name)
        if value is not None:
            try:
                seen[name] = image_of(value)
            except ValueError as exc:
                raise PromptError(
                    f"the prompt {prompt!r} takes {name!r} as image; what it got {exc}", prompt=prompt, variable=name
                ) from exc
    return seen


def _checked_url(url: str) -> str:
    if url.startswith("data:"):
        if len(url) > MAX_IMAGE_BYTES * 4 // 3 + 40:
            raise ValueError(f"is larger than the {MAX_IMAGE_BYTES:,} bytes that are allowed")
        if not _DATA.fullmatch(url):
            raise ValueError("is no `data:image/png;base64,...` (or jpeg, gif, webp)")
    elif not re.match(r"https?://[^\s/]", url):
        raise ValueError(f"is {url[:40]!r}: {_TAKES}")
    return url


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_IMAGE_BYTES + 1)
    except OSError as exc:
        raise ValueError(f"cannot be read from {str(path)!r}: {exc.strerror or exc}") from exc


def _kind_of(data: bytes) -> str | None:
    """The image's type by its first bytes, as in <https://mimesniff.spec.whatwg.org/#image-type-pattern-matching-algorithm>."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:14] == b"WEBPVP":
        return "webp"
    return None
