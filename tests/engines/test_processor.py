"""The number type that a processor serves best."""

import json

import pytest

from llmops_sdk.engines._processor import best_dtype, computes_bfloat16


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"dtype": "bfloat16"}))
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 fma\n", False),
        ("flags\t\t: fpu avx2 avx512_bf16\n", True),
        ("flags\t\t: amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("Features\t: fp asimd\n", False),
        ("processor : 0\n", True),
    ],
)
def test_flags_tell_whether_the_processor_computes_bfloat16(tmp_path, text, native):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert computes_bfloat16(path) is native


def test_where_nothing_tells_the_checkpoint_decides(tmp_path):
    assert computes_bfloat16(tmp_path / "nothing")


def test_without_instructions_for_bfloat16_it_is_float32(folder):
    assert best_dtype(folder, 4000, native=False) == "float32"
    assert best_dtype(folder, 4000, native=True) is None


def test_weights_that_would_fill_the_memory_keep_their_type(folder):
    assert best_dtype(folder, 3999, native=False) is None


def test_weights_in_float32_already_are_not_counted_twice(folder):
    (folder / "config.json").write_text(json.dumps({"torch_dtype": "float32"}))
    assert best_dtype(folder, 2000, native=False) == "float32"


@pytest.mark.parametrize("config", ['{"quantization_config": {}}', "[]", "no json"])
def test_what_is_not_understood_or_quantised_is_left_alone(folder, config):
    (folder / "config.json").write_text(config)
    assert best_dtype(folder, 10**9, native=False) is None


def test_a_folder_without_weights_is_left_alone(folder):
    (folder / "model.safetensors").unlink()
    assert best_dtype(folder, 10**9, native=False) is None
