"""LoRA folders, looked at without vLLM."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_sdk.engines._lora_folder import Tensor, check_fit, read_base, read_lora, tensors_of
from llmops_sdk.errors import ConfigurationError, NotFoundError

BASE = {
    f"model.layers.{layer}.{module}.weight": Tensor("BF16", shape)
    for layer in range(2)
    for module, shape in {
        "self_attn.q_proj": (64, 64),
        "self_attn.v_proj": (32, 64),
        "mlp.down_proj": (64, 128),
    }.items()
}


@pytest.fixture
def lora(tmp_path: Path, write_lora: Callable[..., Path]) -> Path:
    return write_lora(tmp_path / "lora", rank=4)


def read(folder: Path) -> object:
    return read_lora(folder, name="pirate", engine="vllm", model=None)


def test_a_whole_folder_says_what_it_holds(lora: Path) -> None:
    folder = read_lora(lora, name="pirate", engine="vllm", model=None)
    assert (folder.path, folder.rank, folder.base_model) == (lora, 4, "tiny-llama")
    assert folder.tensors["base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"] == Tensor("F32", (4, 128))
    check_fit(folder, BASE, name="pirate", max_rank=8)


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="'pirate' has no folder"):
        read(tmp_path / "nowhere")


def cut(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def pickle_it(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def configure(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


def lose_a_matrix(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes().replace(b"layers.0.mlp.down_proj.lora_B", b"layers.7.mlp.down_proj.lora_B", 1))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut, "is damaged: it has"),
        (pickle_it, r"only adapter_model\.bin: a pickle runs any code"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), r"has no adapter_model\.safetensors; copy"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"version https://"), "no safetensors head"),
        (lambda folder: (folder / "adapter_config.json").unlink(), r"it has no adapter_config\.json"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "cannot read"),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), "no JSON object"),
        (configure(peft_type="IA3"), "of the kind 'IA3'"),
        (configure(r="8"), "says r='8'"),
        (configure(r=16), "says r=16: its weights have rank 4"),
        (lose_a_matrix, r"the matrices A and B of .* do not go together"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(lora: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(lora)
    with pytest.raises(ConfigurationError, match=says):
        read(lora)


def without(module: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in BASE.items() if module not in name}


def resized(module: str, shape: tuple[int, ...], dtype: str = "BF16") -> dict[str, Tensor]:
    return BASE | {name: Tensor(dtype, shape) for name in BASE if module in name}


@pytest.mark.parametrize(
    ("base", "says"),
    [
        (without("v_proj"), r"changes 'model\.layers\.0\.self_attn\.v_proj', which this base model does not have"),
        (without("layers.1"), r"changes 'model\.layers\.1\.self_attn\.q_proj'"),
        (resized("q_proj", (64, 128)), "has 64 numbers in instead of 128"),
        (resized("q_proj", (128, 64)), "has 64 numbers out instead of 128"),
    ],
)
def test_an_adapter_of_another_model_does_not_fit(lora: Path, base: dict[str, Tensor], says: str) -> None:
    folder = read_lora(lora, name="pirate", engine="vllm", model=None)
    with pytest.raises(ConfigurationError, match=says):
        check_fit(folder, base, name="pirate", max_rank=8)


@pytest.mark.parametrize(
    "base",
    [
        {},
        resized("q_proj", (64, 32), "U8"),
        {name.replace("proj.weight", "proj.qweight"): tensor for name, tensor in BASE.items()},
        {f"language_model.{name}": tensor for name, tensor in BASE.items()},
    ],
    ids=["unknown", "packed", "other-weights", "other-names"],
)
def test_what_cannot_be_told_is_left_to_vllm(lora: Path, base: dict[str, Tensor]) -> None:
    check_fit(read_lora(lora, name="pirate", engine="vllm", model=None), base, name="pirate", max_rank=8)


def test_a_rank_that_is_too_large_is_refused_with_the_option_to_set(lora: Path) -> None:
    folder = read_lora(lora, name="pirate", engine="vllm", model=None)
    with pytest.raises(ConfigurationError, match=r"rank 4, .* open the engine with max_lora_rank=8"):
        check_fit(folder, BASE, name="pirate", max_rank=1)


def test_a_base_model_is_read_from_all_its_shards(lora: Path, tmp_path: Path, write_lora: Callable[..., Path]) -> None:
    base = tmp_path / "base"
    base.mkdir()
    names = set()
    for number, seed in enumerate((1, 2)):
        shard = write_lora(tmp_path / f"of {seed}") / "adapter_model.safetensors"
        renamed = shard.read_bytes().replace(b"base_model", f"base_mode{number}".encode())
        (base / f"model-{number}.safetensors").write_bytes(renamed)
        names |= {name.replace("base_model", f"base_mode{number}") for name in tensors_of(shard)}
    (base / "consolidated.safetensors").write_bytes(b"not read")
    assert read_base(base).keys() == names
