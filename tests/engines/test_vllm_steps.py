"""What is heard of a core's log, from a process of its own."""

import json
import logging
import subprocess
import sys
from pathlib import Path

from llmops_sdk.engines._vllm_steps import Failure, Heard, StepHandler, hearing

PLAIN = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"vllm": {"class": "logging.StreamHandler", "level": "ERROR"}},
    "loggers": {"vllm": {"handlers": ["vllm"], "level": "ERROR", "propagate": False}},
}

CORE = """
import json, logging, logging.config, sys
logging.config.dictConfig(json.load(open(sys.argv[1])))
log = logging.getLogger("vllm.v1.engine.core")
for line in sys.argv[2:]:
    log.info(line)
try:
    raise ValueError("no room for the KV cache")
except ValueError:
    log.exception("EngineCore failed to start.")
"""

LINES = (
    "Initializing a V1 LLM engine (v0.32.0)",
    "Starting to load model /a/b...",
    "Starting to load model /a/b...",
    "Loading weights took 0.53 seconds",
    "Model loading took 2 GiB memory and 1 seconds",
    "Starting torch.compile",
    "torch.compile took 12.3 s in total",
    "GPU KV cache size: 46,592 tokens",
    "init engine (profile, create kv cache, warmup model) took 1.90 s",
)


def test_a_process_is_heard(tmp_path):
    steps, heard = [], Heard()
    with hearing(tmp_path, PLAIN, "ERROR", steps.append, heard) as path:
        core = subprocess.run(
            [sys.executable, "-c", CORE, path, *LINES], check=True, timeout=30, stderr=subprocess.PIPE, text=True
        )
    assert steps == ["weights", "kv_cache", "compile", "kv_cache", "warm_up", "report"]
    assert heard.failure == Failure("ValueError", "no room for the KV cache")
    assert "EngineCore failed to start." in core.stderr
    assert "Loading weights" not in core.stderr


def test_a_core_that_says_nothing_is_no_trouble(tmp_path):
    steps, heard = [], Heard()
    with hearing(tmp_path, PLAIN, "ERROR", steps.append, heard):
        pass
    assert (steps, heard.failure) == ([], None)


def test_the_level_that_the_user_asked_for_stays(tmp_path):
    with hearing(tmp_path, PLAIN, "DEBUG", print, Heard()) as path:
        configuration = json.loads(Path(path).read_text())
    assert configuration["loggers"]["vllm"]["level"] == "DEBUG"
    assert configuration["handlers"]["vllm"]["level"] == "DEBUG"


def test_nobody_listens_any_more(tmp_path):
    with hearing(tmp_path, PLAIN, "ERROR", print, Heard()):
        pass
    handler = StepHandler(str(tmp_path / "steps"))
    record = logging.LogRecord("vllm", logging.INFO, "", 1, LINES[1], None, None)
    handler.emit(record)
    handler.emit(record)
    assert handler._over


def test_broken_lines_are_passed_over(tmp_path):
    steps = []
    with hearing(tmp_path, PLAIN, "ERROR", steps.append, Heard()), (tmp_path / "steps").open("wb") as pipe:
        pipe.write(b'\xff{"step"\n[]\n{}\n{"failed": 3}\n{"step": "weights"}\n')
    assert steps == ["weights"]
