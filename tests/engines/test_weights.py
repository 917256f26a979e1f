"""Downloads by the real `huggingface_hub`, from a server on this machine that imitates the hub's endpoints."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from llmops_sdk import engines
from llmops_sdk.errors import (
    ConfigurationError,
    EngineConnectionError,
    LlmopsError,
    NotFoundError,
    PermissionDeniedError,
)

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra hub)")
pytestmark = pytest.mark.heavy

BIG = 24_000_000
"""Bytes; the hub's library writes 10 MB at a time, so less would not be there when a connection breaks."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {
    "model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 10, "torch_dtype": "bfloat16",
}  # fmt: skip


def safetensors(name: str, size: int) -> bytes:
    header = json.dumps({name: {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + (bytes(range(251)) * (size // 251 + 1))[:size]


class Hub:
    """A hub with one model, `maker/model`, and what it was asked for."""

    def __init__(self) -> None:
        index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
        self.files = {
            "config.json": json.dumps(CONFIG).encode(),
            "model-1.safetensors": safetensors("a", BIG),
            "model-2.safetensors": safetensors("b", 200_000),
            "model.safetensors.index.json": json.dumps(index).encode(),
            "pytorch_model.bin": b"a pickle",
            "modeling_model.py": b"a program",
            "onnx/model.safetensors": safetensors("a", 100),
        }
        self.served = dict(self.files)
        self.claimed_sizes: dict[str, int] = {}
        self.cut_after: dict[str, int] = {}
        self.ranges: list[tuple[str, str | None]] = []
        self.gated = False
        self.go_on = threading.Event()
        self.url = ""

    def model(self) -> dict[str, Any]:
        siblings = []
        for name, content in self.files.items():
            size = self.claimed_sizes.get(name, len(content))
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry: dict[str, Any] = {"rfilename": name, "size": size, "blobId": blob}
            if not name.endswith((".json", ".py")):
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 100}
            siblings.append(entry)
        return {"id": "maker/model", "modelId": "maker/model", "sha": COMMIT, "private": False, "siblings": siblings}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, *, body: bool) -> None:
        path, hub = unquote(self.path.partition("?")[0]), self.hub
        if not re.match(r"/(api/models/)?maker/model\b", path):
            self.refuse(404, "RepoNotFound")
        elif hub.gated:
            self.refuse(403, "GatedRepo")
        elif path.startswith("/api/models/"):
            revision = path.partition("/revision/")[2]
            if revision in ("", "main", COMMIT):
                self.send(json.dumps(hub.model()).encode(), {"Content-Type": "application/json"}, body=body)
            else:
                self.refuse(404, "RevisionNotFound")
        else:
            name = path.split("/", 5)[5]
            if name not in hub.served:
                self.refuse(404, "EntryNotFound")
            else:
                self.file(name, body=body)

    def file(self, name: str, *, body: bool) -> None:
        hub, content = self.hub, self.hub.served[name]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        if not body:
            self.send(content, headers, body=False)
            return
        asked = self.headers.get("Range")
        hub.ranges.append((name, asked))
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
        if match is None:
            self.send(content, headers, cut=hub.cut_after.pop(name, None))
            return
        start, end = int(match[1]), min(int(match[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        self.send(content[start : end + 1], headers, status=206)

    def send(
        self, content: bytes, headers: dict[str, str], *, status: int = 200, body: bool = True, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[:cut])
        if cut is not None:
            self.wfile.flush()
            self.hub.go_on.wait(20)
            self.close_connection = True


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub
    from huggingface_hub import constants

    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("OneHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    # Tests run offline; these constants were read from the environment when the library was imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
    huggingface_hub.close_session()
    yield hub
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


WANTED = {"config.json", "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json", "SHA256SUMS"}


def test_weights_arrive_whole_and_nothing_else_does(hub: Hub, tmp_path: Path) -> None:
    folder = engines.weights.download("maker/model", tmp_path / "model", endpoint=hub.url, token=False)
    assert {path.name for path in folder.iterdir()} == WANTED
    for name in WANTED - {"SHA256SUMS"}:
        assert (folder / name).read_bytes() == hub.files[name]
    engines.weights.verify(folder)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True)
    assert checked.stdout.count(": OK") == 4
    asked = len(hub.ranges)
    engines.weights.download("maker/model", folder, endpoint=hub.url, token=False)
    assert len(hub.ranges) == asked  # whole files are not fetched again
    (folder / "model-2.safetensors").write_bytes(b"damaged")
    with pytest.raises(ConfigurationError, match=r"model-2\.safetensors"):
        engines.weights.verify(folder)
    engines.weights.download("maker/model", folder, endpoint=hub.url, token=False)
    assert [name for name, _ in hub.ranges[asked:]] == ["model-2.safetensors"]
    engines.weights.verify(folder)


def test_a_connection_that_breaks_is_made_again_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after["model-1.safetensors"] = BIG // 2
    hub.go_on.set()
    folder = engines.weights.download("maker/model", tmp_path, endpoint=hub.url, token=False)
    assert (folder / "model-1.safetensors").read_bytes() == hub.files["model-1.safetensors"]
    ranges = [asked for name, asked in hub.ranges if name == "model-1.safetensors"]
    assert ranges[0] is None
    assert re.fullmatch(r"bytes=[1-9]\d*-.*", ranges[1])


def test_a_killed_download_goes_on_in_the_next_process(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after["model-1.safetensors"] = BIG // 2  # and the connection stays open, silent
    program = (
        "import sys; from llmops_sdk import engines\n"
        "engines.weights.download('maker/model', sys.argv[1], endpoint=sys.argv[2], token=False)"
    )
    environment = {"PATH": "", "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(Path(engines.__file__).parents[2])}
    environment |= {"HF_HOME": str(tmp_path / "home")}
    folder = tmp_path / "model"
    with subprocess.Popen([sys.executable, "-c", program, str(folder), hub.url], env=environment) as killed:
        deadline = time.monotonic() + 40
        while not any(part.stat().st_size > 9_000_000 for part in folder.glob(".model-1*.part")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        killed.kill()
    hub.go_on.set()
    assert not (folder / "model-1.safetensors").exists()
    asked = len(hub.ranges)
    engines.weights.download("maker/model", folder, endpoint=hub.url, token=False)
    name, range_asked = hub.ranges[asked]
    assert name == "model-1.safetensors"
    assert range_asked is not None
    assert int(re.match(r"bytes=(\d+)-", range_asked)[1]) > 9_000_000
    assert (folder / "model-1.safetensors").read_bytes() == hub.files["model-1.safetensors"]
    assert not list(folder.glob(".*.part"))


def test_a_shard_that_arrives_damaged_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    content = bytearray(hub.files["model-2.safetensors"])
    content[-1] ^= 1
    hub.served["model-2.safetensors"] = bytes(content)
    with pytest.raises(EngineConnectionError, match=r"model-2\.safetensors of maker/model arrived damaged"):
        engines.weights.download("maker/model", tmp_path, endpoint=hub.url, token=False)
    assert not [path.name for path in tmp_path.iterdir() if "model-2" in path.name]
    hub.served = dict(hub.files)
    engines.weights.download("maker/model", tmp_path, endpoint=hub.url, token=False)
    engines.weights.verify(tmp_path)


def test_a_disk_that_is_too_full_is_seen_before_the_first_byte(hub: Hub, tmp_path: Path) -> None:
    hub.claimed_sizes["model-1.safetensors"] = 10**16
    with pytest.raises(ConfigurationError, match=r"10,000,000\.\d GB are still to be fetched.*nothing was fetched"):
        engines.weights.download("maker/model", tmp_path, endpoint=hub.url, token=False)
    assert hub.ranges == []


def test_pickles_are_refused_unless_asked_for(hub: Hub, tmp_path: Path) -> None:
    hub.files = {name: content for name, content in hub.files.items() if "safetensors" not in name}
    with pytest.raises(ConfigurationError, match=r"pytorch_model\.bin.*include="):
        engines.weights.download("maker/model", tmp_path, endpoint=hub.url, token=False)
    assert hub.ranges == []


def test_a_name_that_leaves_the_folder_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files["../evil.json"] = b"{}"
    with pytest.raises(ConfigurationError, match=r"evil\.json"):
        engines.weights.download("maker/model", tmp_path, endpoint=hub.url, token=False, include=["*.json"])


@pytest.mark.parametrize(
    ("model", "revision", "error"),
    [
        ("maker/none", None, NotFoundError),
        ("maker/model", "none", NotFoundError),
        ("not a name", None, ConfigurationError),
    ],
)
def test_what_is_not_there_is_said(
    hub: Hub, tmp_path: Path, model: str, revision: str | None, error: type[LlmopsError]
) -> None:
    with pytest.raises(error, match=model):
        engines.weights.download(model, tmp_path, revision=revision, endpoint=hub.url, token=False)


def test_a_gated_model_says_how_to_open_it(hub: Hub, tmp_path: Path) -> None:
    hub.gated = True
    with pytest.raises(PermissionDeniedError, match="ask for access"):
        engines.weights.download("maker/model", tmp_path, endpoint=hub.url, token=False)


def test_a_hub_that_is_not_there_is_a_connection_error(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(EngineConnectionError, match="path of a model folder instead"):
        engines.weights.download("maker/model", tmp_path, endpoint="http://127.0.0.1:9", token=False)


def test_a_plan_asks_the_hub_for_the_config_and_the_headers_only(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, tensors = engines.weights.describe("maker/model", endpoint=hub.url, token=False)
    assert config == CONFIG
    assert sorted((t.name, t.elements, t.size) for t in tensors) == [("a", BIG // 2, BIG), ("b", 100_000, 200_000)]
    assert all(asked is not None for name, asked in hub.ranges if name.startswith("model-"))
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    made = engines.plan("maker/model", hardware="L4")
    assert (made.parameters, made.storage) == (BIG // 2 + 100_000, BIG + 200_000)


def test_offline_a_plan_by_name_says_what_to_give_instead(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EngineConnectionError, match="give the path of a model folder"):
        engines.plan("maker/model", hardware="L4")
