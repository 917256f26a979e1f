"""The URL of an endpoint, taken apart: where to connect, what stands around every path, which keys it holds."""

from __future__ import annotations

import base64
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from llmops_sdk.errors import ConfigurationError

__all__ = ["BaseUrl", "shown_url"]

_PUBLIC_PARAMETERS = frozenset({"api-version", "deployment", "model", "region", "version"})
"""Parameters of a query that are no keys, so that they may be seen in messages."""


class BaseUrl(NamedTuple):
    """A base URL.

    Attributes:
        tls: Whether it is `https:`.
        host: Name or address, without brackets.
        port: 1 to 65535.
        path: What stands before every path, without a trailing slash.
        query: What stands after every path, with its `?`; empty where there is none.
        authorization: Value of an `Authorization` header (RFC 7617) from the user information, which goes no further.
        keys: What of it must not be seen.
    """

    tls: bool
    host: str
    port: int
    path: str
    query: str
    authorization: str | None
    keys: tuple[str, ...]

    @property
    def origin(self) -> str:
        """Scheme, host and port, for a client that wants URLs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def public(self) -> str:
        """All of it that may be seen.

        Example:
            >>> BaseUrl.of("https://me:pass@api.example/v1?api-version=3&key=abc").public
            'https://api.example:443/v1?api-version=3'
        """
        seen = [(name, value) for name, value in parse_qsl(self.query[1:]) if name.lower() in _PUBLIC_PARAMETERS]
        return f"{self.origin}{self.path}{'?' if seen else ''}{urlencode(seen)}"

    @classmethod
    def of(cls, text: str) -> BaseUrl:
        """Take `text` apart.

        Raises:
            ConfigurationError: It is no `http:` or `https:` URL; the message does not show its user information.

        Example:
            >>> BaseUrl.of("https://api.example/v1/?api-version=3").query
            '?api-version=3'
        """
        try:
            url = urlsplit(text)
            port = url.port
        except ValueError as exc:
            raise ConfigurationError(f"{shown_url(text)!r} has no valid host or port ({_kind(exc)})") from None
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ConfigurationError(f"{shown_url(text)!r} is no URL of an endpoint; write `http://host:port/v1`")
        if port == 0 or any(sign <= " " or sign == "\x7f" for sign in text):
            raise ConfigurationError(f"{shown_url(text)!r} has port 0, a space or a control character; write none")
        if url.fragment or not (url.path + url.query).isascii():
            raise ConfigurationError(f"{shown_url(text)!r} has a fragment or letters to be written as `%XX`")
        user, password = unquote(url.username or ""), unquote(url.password or "")
        pair = f"{user}:{password}"
        basic = base64.b64encode(pair.encode()).decode() if url.username or url.password else None
        hidden = [value for name, value in parse_qsl(url.query) if name.lower() not in _PUBLIC_PARAMETERS]
        keys = (url.password or "", password, *((url.username or "", user) if not password else ()), basic or "")
        return cls(
            tls=url.scheme == "https",
            host=url.hostname,
            port=port or (443 if url.scheme == "https" else 80),
            path=url.path.rstrip("/"),
            query=f"?{url.query}" if url.query else "",
            authorization=f"Basic {basic}" if basic else None,
            keys=tuple(key for key in (*keys, *hidden) if key),
        )


def shown_url(text: str) -> str:
    """A URL as it may be seen: without user information, query and fragment.

    Example:
        >>> shown_url("https://user:pass@api.example/v1?key=abc")
        'https://api.example/v1'
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text.rpartition("@")[2]
    authority, slash, path = rest.partition("/")
    shown = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path.rpartition('@')[2]}"
    return shown.partition("?")[0].partition("#")[0]


def _kind(exc: ValueError) -> str:
    return "the port is no number from 1 to 65535" if "ort" in str(exc) else "the address in brackets is none"
