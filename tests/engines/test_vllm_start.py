"""What is checked before vLLM is imported."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_sdk.engines import Engine
from llmops_sdk.engines._vllm_start import Clock, LaunchOptions, TerminalLine, check_checkpoint
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.errors import ClosedError, ConfigurationError, NotFoundError

PLAIN = LaunchOptions(arguments={}, kv_cache_gib=None, cpu_threads=None)
EMPTY = (2).to_bytes(8, "little") + b"{}"  # a safetensors file without tensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_whole_folder_is_accepted(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(EMPTY)
    check_checkpoint(str(folder), PLAIN, engine="vllm")


def test_a_name_on_a_hub_is_not_looked_at() -> None:
    check_checkpoint("someone/some-model", PLAIN, engine="vllm")


def test_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        check_checkpoint(str(tmp_path / "nowhere"), PLAIN, engine="vllm")


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        check_checkpoint(str(tmp_path), PLAIN, engine="vllm")


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="download the model again"):
        check_checkpoint(str(folder), PLAIN, engine="vllm")


def test_pickled_weights_are_refused_unless_asked_for(folder: Path) -> None:
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(ConfigurationError, match=r"pytorch_model\.bin.*load_format"):
        check_checkpoint(str(folder), PLAIN, engine="vllm")
    trusted = LaunchOptions(arguments={"load_format": "pt"}, kv_cache_gib=None, cpu_threads=None)
    check_checkpoint(str(folder), trusted, engine="vllm")


def test_missing_shards_are_named(folder: Path) -> None:
    weight_map = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "model-1.safetensors").touch()
    with pytest.raises(ConfigurationError, match=r"1 of 2 weight files \(model-2\.safetensors\)"):
        check_checkpoint(str(folder), PLAIN, engine="vllm")


def test_weights_that_were_cut_off_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(EMPTY[:-1])
    with pytest.raises(ConfigurationError, match=r"model\.safetensors is cut off.*download the model again"):
        check_checkpoint(str(folder), PLAIN, engine="vllm")


def test_a_damaged_index_is_refused(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("[")
    with pytest.raises(ConfigurationError, match="damaged"):
        check_checkpoint(str(folder), PLAIN, engine="vllm")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_model_length": 5}, "did you mean 'max_model_len'"),
        ({"max_model_len": 0}, "max_model_len.*at least 1"),
        ({"cpu_threads": 1.5}, "cpu_threads.*whole number"),
        ({"max_num_seqs": True}, "max_num_seqs"),
        ({"data_parallel_size": 0}, "data_parallel_size.*at least 1"),
        ({"distributed": "slurm"}, "'mp' or 'ray'"),
        ({"max_waiting": -1}, "max_waiting.*0 or more"),
        ({"restarts": True}, "restarts.*0 or more"),
        ({"kv_cache_gib": 0}, "kv_cache_gib.*above 0"),
        ({"gpu_memory_utilization": 1.5}, "at most 1"),
        ({"engine_args": {"dtype": "float16"}}, "`dtype=...` instead"),
        ({"engine_args": {"model": "x"}}, "vllm:PATH"),
        ({"api_key": "k"}, "no api_key"),
        ({"model": "other"}, "names the model already"),
    ],
    ids=str,
)
def test_a_wrong_option_says_what_to_write(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Engine.open("vllm:./model", **options)  # type: ignore[arg-type]


def test_a_model_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="vllm:PATH"):
        Engine.open("vllm:")


async def test_a_failed_start_may_be_tried_again_on_any_loop_until_it_is_closed(tmp_path: Path) -> None:
    engine = VLLM(str(tmp_path / "nowhere"), max_model_len=64, progress=False)
    attempts: list[Callable[[], object]] = [engine.start, engine.start]
    for attempt in attempts:
        with pytest.raises(NotFoundError):
            attempt()
    with pytest.raises(NotFoundError):
        await engine.astart()
    assert engine.context_window == 64
    await engine.aclose()
    await engine.aclose()
    with pytest.raises(ClosedError):
        await engine.astart()


def test_a_vllm_that_cannot_be_imported_says_what_helps(tmp_path: Path) -> None:
    (tmp_path / "vllm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(EMPTY)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from llmops_sdk.engines import Engine\n"
        f"Engine.open({f'vllm:{tmp_path}/model'!r}).start()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    last = done.stderr.rstrip().splitlines()[-1]
    assert "ConfigurationError" in last
    assert "torchvision::nms" in last
    assert "pip uninstall torchvision" in last


def test_a_clock_adds_up_and_tells() -> None:
    told: list[tuple[str, bool]] = []
    clock = Clock(lambda step, seconds: told.append((step, seconds is not None)))
    for _ in range(2):
        with clock.step("import"):
            pass
    with pytest.raises(ZeroDivisionError), clock.step("build"):
        raise ZeroDivisionError
    clock.ready()
    assert list(clock.steps) == ["import", "build"]
    assert told == [("import", False), ("import", True)] * 2 + [("build", False), ("build", True), ("ready", True)]


def test_a_clock_goes_from_step_to_step() -> None:
    told: list[tuple[str, bool]] = []
    clock = Clock(lambda step, seconds: told.append((step, seconds is not None)))
    with pytest.raises(ZeroDivisionError), clock.steps_in_a_row("core") as begin:
        begin("weights")
        begin("core")
        raise ZeroDivisionError
    assert list(clock.steps) == ["core", "weights"]
    assert told == [(step, ended) for step in ("core", "weights", "core") for ended in (False, True)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_where_the_time_goes() -> None:
    terminal = Terminal()
    line = TerminalLine("embedded", terminal)
    for step, seconds in (("import", None), ("import", 6.25), ("build", None), ("build", 9.0), ("ready", 15.25)):
        line(step, seconds)
    shown = terminal.getvalue().replace("\x1b[K", "").split("\r")
    assert shown[1] == "embedded: import ..."
    assert shown[3] == "embedded: import 6.2 s, build ..."
    assert shown[-1] == "embedded: import 6.2 s, build 9.0 s, ready 15.2 s\n"


def test_without_a_terminal_nothing_is_written() -> None:
    stream = io.StringIO()
    TerminalLine("embedded", stream)("import", None)
    assert stream.getvalue() == ""
