"""No network in tests: connections to anything but this machine raise."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

from llmops_sdk.errors import LlmopsError

__all__ = ["NetworkBlockedError", "network_blocked"]


class NetworkBlockedError(LlmopsError, PermissionError):
    """A test wanted to reach another machine, and nobody allowed it.

    It is an `OSError`, since clients (asyncio among them) lose sockets and the message when connecting raises anything
    else. So a client may turn it into its own error, and a router may go on with another engine.
    """


@contextlib.contextmanager
def network_blocked() -> Iterator[None]:
    """Let Python's sockets connect to this machine only (127.0.0.0/8, ::1, Unix sockets), in every thread.

    It holds for what goes through `socket.socket` and `socket.getaddrinfo`, as asyncio, httpx, aiohttp, requests and
    urllib do. **Transports written in Rust or C open sockets of their own and are not stopped**: pyreqwest, grpc, curl,
    aiodns, and whatever runs in another process.

    Example:
        >>> with network_blocked():
        ...     socket.create_connection(("192.0.2.1", 443))
        Traceback (most recent call last):
        ...
        llmops_sdk.testing._network.NetworkBlockedError: the test wanted to connect to 192.0.2.1, ...
    """
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any, /) -> None:
        _check_address(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any, /) -> int:
        _check_address(self.family, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_address(host) and not _is_local(host):
            raise _blocked(f"look up {_text(host)}")
        return getaddrinfo(host, *args, **kwargs)

    kept = {name: vars(socket.socket)[name] for name in ("connect", "connect_ex") if name in vars(socket.socket)}
    for name, guarded in (("connect", guarded_connect), ("connect_ex", guarded_connect_ex)):
        setattr(socket.socket, name, guarded)
    socket.getaddrinfo = guarded_getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = getaddrinfo
        for name in ("connect", "connect_ex"):
            if name in kept:  # another plugin had patched it
                setattr(socket.socket, name, kept[name])
            else:
                delattr(socket.socket, name)


def _check_address(family: int, address: Any) -> None:
    if family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple) and not _is_local(address[0]):
        raise _blocked(f"connect to {_text(address[0])}")


def _is_address(host: Any) -> bool:
    """Whether `host` needs no look-up."""
    try:
        ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _is_local(host: Any) -> bool:
    name = _text(host).partition("%")[0].rstrip(".").lower()
    if _is_address(name):
        address = ipaddress.ip_address(name)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback or address.is_unspecified
    return name in {"", "localhost", socket.gethostname().lower()} or name.endswith(".localhost")


def _text(host: Any) -> str:
    if host is None:
        return ""
    return host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)


def _blocked(what: str) -> NetworkBlockedError:
    return NetworkBlockedError(
        f"the test wanted to {what}, but the network is blocked; use the `fault_server` or `cassette` fixture, or mark "
        "the test with `@pytest.mark.llmops_network`"
    )
