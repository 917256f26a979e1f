"""URLs of endpoints and the keys in them: what goes out, and what is never seen."""

import asyncio
import logging
import pickle
import traceback

import pytest

from llmops_sdk import errors
from llmops_sdk.engines import Engine
from llmops_sdk.engines._base_url import BaseUrl, shown_url
from llmops_sdk.engines._keys import Keys, keys_in
from llmops_sdk.messages import Request
from llmops_sdk.testing import FaultServer, Raw, Reply, Status

KEY = "k3y-" * 7
HELLO = Request.of("hello")


async def streamed(engine):
    return [chunk async for chunk in engine.astream(HELLO)]


# What goes out


@pytest.mark.parametrize(
    ("end", "path"),
    [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1//", "/v1/chat/completions"),
        ("/v1?api-version=2", "/v1/chat/completions?api-version=2"),
        ("/v1/?a=1&b=%20c", "/v1/chat/completions?a=1&b=%20c"),
    ],
)
async def test_path_and_query_stand_around_every_path(end, path):
    async with FaultServer("ok") as server:
        async with Engine.open(f"http://127.0.0.1:{server.port}{end}", model="m") as engine:
            await engine.agenerate(HELLO)
            await streamed(engine)
            await engine.amodels()
            await engine.aembed(["a"])
            await engine.ahealth()
        query = path.partition("?")[2]
        tails = ["chat/completions", "chat/completions", "models", "embeddings"]
        assert [seen.path for seen in server.requests] == [
            *(f"/v1/{tail}{'?' + query if query else ''}" for tail in tails),
            f"/health{'?' + query if query else ''}",
        ]


@pytest.mark.parametrize("end", ["", "/"])
async def test_url_without_a_path_is_taken_as_it_is_and_a_refusal_says_what_to_try(end):
    async with FaultServer("ok") as server, Engine.open(f"http://127.0.0.1:{server.port}{end}", model="m") as engine:
        assert await engine.ahealth()
        with pytest.raises(errors.NotFoundError) as caught:
            await engine.agenerate(HELLO)
        assert server.requests[-1].path == "/chat/completions"
        assert "`/v1`" in caught.value.__notes__[0]


async def test_own_client_gets_the_same_urls():
    httpx2 = pytest.importorskip("httpx2")
    async with FaultServer("ok") as server, httpx2.AsyncClient() as client:
        url = f"http://user:{KEY}@127.0.0.1:{server.port}/v1/?api-version=2"
        engine = Engine.open(url, model="m", client=client)
        await engine.agenerate(HELLO)
        await engine.ahealth()
        assert [seen.path for seen in server.requests] == [
            "/v1/chat/completions?api-version=2",
            "/health?api-version=2",
        ]
        assert server.requests[0].headers["authorization"].startswith("Basic ")


async def test_azure_gets_its_key_in_its_own_header_and_names_the_model():
    url = "https://team.openai.azure.com/openai/deployments/my-gpt?api-version=2024-10-21"
    engine = Engine.open(url, api_key=KEY)
    assert engine.model == "my-gpt"
    assert f"api-key: {KEY}\r\n".encode() in engine._headers
    assert b"authorization" not in engine._headers
    async with FaultServer("ok") as server, Engine.open(server.url, model="m", api_key=KEY, key_header="x-key") as own:
        await own.agenerate(HELLO)
        assert server.requests[0].headers["x-key"] == KEY
        assert server.requests[0].headers["accept-encoding"] == "identity"
        assert "authorization" not in server.requests[0].headers


async def test_user_information_becomes_a_header():
    async with FaultServer("ok") as server:
        async with Engine.open(f"http://us%40er:p%3Ass@127.0.0.1:{server.port}/v1", model="m") as engine:
            await engine.agenerate(HELLO)
        assert server.requests[0].headers["authorization"] == "Basic dXNAZXI6cDpzcw=="
        assert "@" not in server.requests[0].headers["host"]
        async with Engine.open(f"http://user:x@127.0.0.1:{server.port}/v1", model="m", api_key=KEY) as engine:
            await engine.agenerate(HELLO)
        assert server.requests[1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:{}@",
        "http://user:{}@host:99999/v1",
        "http://user:{}@host:x/v1",
        "http://user:{}@[::/v1",
        "http://user:{}@host/v 1",
        "http://user:{}@host/v1#part",
        "http://user:{}@host:0/v1",
        "ftp://user:{}@host/v1",
        "http://host:80:{}/v1",
        "http://user:{}@host/v1\r\nx: y",
    ],
)
def test_urls_that_are_none_are_refused_without_showing_the_key(url):
    with pytest.raises(errors.ConfigurationError) as caught:
        BaseUrl.of(url.format(KEY))
    text = "".join(traceback.format_exception(caught.value))
    if "80:" not in url:  # there it stands where no key can stand
        assert KEY not in text
    with pytest.raises(errors.ConfigurationError) as caught:
        Engine.open(url.format(KEY), model="m")
    if "80:" not in url:
        assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("end", ["\n", "\r\nx: y", "\0", " ", "\u201d", "\u200b", "\x7f"])
def test_keys_with_more_than_the_key_are_refused_without_showing_them(end):
    for options in ({"api_key": KEY + end}, {"headers": {"x-key": KEY + end}}):
        with pytest.raises(errors.ConfigurationError, match="pasted") as caught:
            Engine.open("http://127.0.0.1:1/v1", model="m", **options)
        assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "host", "a b", "a:b", "", "\u00e9"])
def test_headers_that_cannot_be_given_are_refused(name):
    with pytest.raises(errors.ConfigurationError, match="leave it out"):
        Engine.open("http://127.0.0.1:1/v1", model="m", headers={name: "x"})


def test_ipv6_and_default_ports():
    assert BaseUrl.of("http://[::1]:8000/v1").origin == "http://[::1]:8000"
    assert BaseUrl.of("https://host").port == 443
    assert shown_url("user:pass@host") == "host"


# What is never seen


SECRETIVE = [
    Status(status=401, message=f"Incorrect API key provided: {KEY}. Find yours."),
    Status(status=500, message="x" * 1990 + KEY),
    Status(status=400, message=KEY, code=KEY),
    Raw(status=500, body=f"<html>you sent Bearer {KEY}</html>".encode(), content_type="text/html"),
    Raw(body=f'{{"said": "{KEY}"'.encode()),
    Raw(body=b"x" * 490 + KEY.encode()),
    Raw(body=f'{{"choices": [{{"message": {{"content": ["{KEY}"]}}}}]}}'.encode()),
    Raw(body=f'{{"choices": "{KEY}"}}'.encode()),
    Raw(status=302, headers={"location": f"http://other/?key={KEY}"}),
    Raw(status=429, headers={"x-request-id": KEY, "retry-after": KEY}),
    Raw(body=b"{}", content_type=f"text/{KEY}"),
    Raw(body=b"x", headers={"x": "y" * 70_000 + KEY}),
    Reply(chunks=("Hel", f'data: {{"error": {{"message": "bad key {KEY}"}}}}\n\n'.encode())),
    Reply(chunks=("Hel", f"data: {KEY}\n\n".encode())),
    Reply(chunks=("Hel", b"data: " + b"y" * 1_100_000 + KEY.encode())),
    Reply(text="abc", drop_at=5),
]


@pytest.mark.parametrize("own", [False, True], ids=["built-in", "own client"])
@pytest.mark.parametrize("behaviour", SECRETIVE)
async def test_keys_are_in_no_error_no_repr_no_pickle_and_no_log(behaviour, own, caplog):
    httpx2 = pytest.importorskip("httpx2")
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with FaultServer(behaviour) as server, httpx2.AsyncClient() as client:
        options = {"client": client} if own else {}
        ways = (
            Engine.open(server.url, model="m", api_key=KEY, max_body=1_000_000, **options),
            Engine.open(server.url.replace("//", f"//user:{KEY}@"), model="m", max_body=1_000_000, **options),
            Engine.open(server.url + f"?subscription-key={KEY}", model="m", max_body=1_000_000, **options),
            Engine.open(server.url, model="m", headers={"x-key": KEY}, max_body=1_000_000, **options),
        )
        for engine in ways:
            shown = [repr(engine), str(engine), engine.name]
            whole_too = not (isinstance(behaviour, Reply) and behaviour.drop_at is None)
            for attempt in (engine.agenerate, lambda request, engine=engine: streamed(engine))[0 if whole_too else 1 :]:
                with pytest.raises(errors.EngineError) as caught:
                    await attempt(HELLO)
                error = caught.value
                again = pickle.loads(pickle.dumps(error))
                shown += [repr(error), str(error), str(vars(error)), repr(again), str(vars(again))]
                shown.append(repr(pickle.dumps(error)))
                shown += traceback.format_exception(error)
            await engine.aclose()
            for text in shown:
                assert KEY not in text
                assert KEY[: len(KEY) // 2] not in text
            for record in caplog.records:  # the application's client writes logs of its own
                assert own or KEY not in record.getMessage()
                assert KEY not in record.getMessage() or record.name.startswith(("http", "hpack"))
            caplog.clear()


async def test_a_server_of_another_protocol_that_repeats_the_key_and_a_client_that_does():
    async def repeat(reader, writer):
        writer.write(b"ERR I do not know " + (await reader.read(65536)).partition(b"uthorization: ")[2][:60])
        writer.close()

    server = await asyncio.start_server(repeat, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with pytest.raises(errors.InvalidResponseError) as caught:
            await Engine.open(url, model="m", api_key=KEY).agenerate(HELLO)
        assert caught.value.body.startswith(b"ERR")
        assert KEY.encode() not in caught.value.body

    async def break_it(request):
        raise ValueError(f"cannot sign {request.headers['authorization']}")

    httpx2 = pytest.importorskip("httpx2")
    async with httpx2.AsyncClient(event_hooks={"request": [break_it]}) as client:
        with pytest.raises(errors.EngineError, match=r"cannot sign Bearer \[scrubbed\]") as caught:
            await Engine.open(url, model="m", api_key=KEY, client=client).agenerate(HELLO)
        assert KEY not in repr(caught.value)


def test_a_key_is_taken_out_where_a_text_was_cut_in_its_middle():
    keys = Keys(["abcdefgh-1234", "abcdefgh", "EMPTY"])
    assert keys.hidden("a abcdefgh-1234 b") == "a [scrubbed] b"
    assert keys.hidden("so: abcdefgh-12") == "so: [scrubbed]"
    assert keys.hidden("so: abcde") == "so: [scrubbed]"
    assert keys.hidden("EMPTY abc") == "EMPTY abc"
    assert keys.hidden_bytes(b"\xff abcdefgh-1234") == b"\xff [scrubbed]"
    assert "abcdefgh" not in repr(keys)
    bearer = Keys(keys_in({"Authorization": "Bearer abcdefgh"}))
    assert bearer.hidden("send abcdefgh as Bearer") == "send [scrubbed] as Bearer"
