import _socket
import asyncio
import socket
import urllib.error
import urllib.request

import httpx2
import pytest

from llmops_sdk import Engine
from llmops_sdk.errors import EngineConnectionError
from llmops_sdk.testing import FaultServer, NetworkBlockedError, network_blocked

ELSEWHERE = "192.0.2.1"  # TEST-NET-1 (RFC 5737): nobody answers there


@pytest.mark.parametrize("address", [(ELSEWHERE, 80), ("8.8.8.8", 53), ("example.org", 80)])
def test_other_machines_cannot_be_reached(address):
    with network_blocked(), socket.socket() as one:
        one.settimeout(0.1)
        with pytest.raises(NetworkBlockedError, match="llmops_network"):
            one.connect(address)
        with pytest.raises(NetworkBlockedError):
            one.connect_ex(address)


def test_ipv6_is_blocked_and_its_loopback_is_not():
    with network_blocked(), socket.socket(socket.AF_INET6) as one:
        one.settimeout(0.1)
        for host in ("2001:db8::1", "::ffff:192.0.2.1"):
            with pytest.raises(NetworkBlockedError):
                one.connect((host, 80))
        for host in ("::1", "::ffff:127.0.0.1"):
            assert one.connect_ex((host, 1)) != 0  # nobody listens, or there is no IPv6 here: but it was tried


@pytest.mark.parametrize("host", ["example.org", b"example.org", "example.localhost.org"])
def test_names_of_other_machines_cannot_be_looked_up(host):
    with network_blocked(), pytest.raises(NetworkBlockedError, match="look up"):
        socket.getaddrinfo(host, 80)


@pytest.mark.parametrize("host", [None, "localhost", "127.0.0.1", b"127.0.0.1", "0.0.0.0", "::1", ELSEWHERE])
def test_this_machine_and_plain_addresses_need_no_look_up(host):
    with network_blocked():
        assert socket.getaddrinfo(host, 80)


def test_this_machine_can_be_reached_by_name_and_by_unix_socket(tmp_path):
    with FaultServer() as server, network_blocked():
        for host in ("127.0.0.1", "localhost", "127.0.0.1"):
            socket.create_connection((host, server.port)).close()
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as one:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            one.connect(str(tmp_path / "s"))


def test_clients_show_the_message_and_lose_no_socket():
    with network_blocked():
        with pytest.raises(httpx2.ConnectError, match="the network is blocked"):
            httpx2.get(f"http://{ELSEWHERE}/")
        with pytest.raises(urllib.error.URLError, match="the network is blocked"):
            urllib.request.urlopen(f"http://{ELSEWHERE}/")

        async def connect():
            await asyncio.open_connection(ELSEWHERE, 80)

        with pytest.raises(NetworkBlockedError):
            asyncio.run(connect())


@pytest.mark.parametrize("host", [ELSEWHERE, "example.org"])
def test_the_default_transport_is_blocked(host):
    blocked = pytest.raises(EngineConnectionError, match="the network is blocked")
    with network_blocked(), Engine.open(f"http://{host}/v1", model="m") as engine, blocked:
        engine.generate("Hi")


def test_everything_is_as_before_afterwards():
    class_, lookup = dict(vars(socket.socket)), socket.getaddrinfo
    with network_blocked(), network_blocked():
        assert vars(socket.socket) != class_
        assert socket.getaddrinfo is not lookup
    assert vars(socket.socket) == class_
    assert socket.getaddrinfo is lookup
    assert socket.socket.connect is _socket.socket.connect
