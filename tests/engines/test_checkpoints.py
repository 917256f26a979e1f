"""Folders that are whole, and what is wrong with those that are not."""

from __future__ import annotations

import json

import pytest

from llmops_sdk.engines._checkpoints import CHECKSUMS, checksum_faults, read_config, sha256, tensors_of, weight_faults
from llmops_sdk.errors import ConfigurationError


def safetensors(**tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        header[name] = {
            "dtype": "BF16",
            "shape": [len(values) // 2],
            "data_offsets": [len(data), len(data) + len(values)],
        }
        data += values
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-1.safetensors").write_bytes(safetensors(a=bytes(64), b=bytes(32)))
    (tmp_path / "model-2.safetensors").write_bytes(safetensors(c=bytes(128)))
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


def test_tensors_are_read_from_the_headers_of_all_files(folder):
    assert [(t.name, t.elements, t.size) for t in tensors_of(folder)] == [("a", 32, 64), ("b", 16, 32), ("c", 64, 128)]
    assert weight_faults(folder) == ()


def test_copies_that_the_index_does_not_name_are_not_counted(folder):
    (folder / "consolidated.safetensors").write_bytes(safetensors(a=bytes(64)))
    assert len(tensors_of(folder)) == 3


@pytest.mark.parametrize("kept", [0, 5, 20, -1])
def test_a_file_that_was_cut_off_is_named(folder, kept):
    path = folder / "model-2.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    (fault,) = weight_faults(folder)
    assert fault.startswith("model-2.safetensors is cut off")
    with pytest.raises(ConfigurationError, match=r"model-2\.safetensors is cut off"):
        tensors_of(folder)


def test_a_file_with_something_at_its_end_is_named(folder):
    with (folder / "model-1.safetensors").open("ab") as file:
        file.write(b"x")
    assert "too long" in weight_faults(folder)[0]


@pytest.mark.parametrize(
    "header",
    [b"[", b"[]", b'{"a": 1}', b'{"a": {"dtype": "BF16", "shape": [8], "data_offsets": [0, 3]}}', b'{"a": {}}'],
)
def test_a_header_that_is_none_is_named(folder, header):
    (folder / "model-1.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(3))
    assert weight_faults(folder) == ("model-1.safetensors is damaged: its header cannot be read",)


def test_a_header_of_a_petabyte_is_not_read(folder):
    (folder / "model-1.safetensors").write_bytes((2**50).to_bytes(8, "little") + bytes(100))
    assert "cut off" in weight_faults(folder)[0]


@pytest.mark.parametrize("text", ["[", "[]", "{", "\x00"])
def test_a_damaged_config_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.json.*damaged"):
        read_config(folder)


def test_checksums_find_a_byte_that_changed(folder):
    names = ["model-1.safetensors", "model-2.safetensors"]
    (folder / CHECKSUMS).write_text("".join(f"{sha256(folder / name)}  {name}\n" for name in names))
    assert checksum_faults(folder) == ()
    path = folder / names[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert weight_faults(folder) == ()  # its length is right
    assert [fault.split(":")[0] for fault in checksum_faults(folder)] == ["model-1.safetensors is damaged"]
    path.unlink()
    assert checksum_faults(folder) == ("model-1.safetensors is missing",)


@pytest.mark.parametrize("line", ["x", "ab  model-1.safetensors", "0" * 64 + "  ../../etc/passwd", "0" * 64 + "  "])
def test_a_list_of_checksums_that_is_none_is_refused(folder, line):
    (folder / CHECKSUMS).write_text(line)
    with pytest.raises(ConfigurationError, match="damaged"):
        checksum_faults(folder)


def test_without_checksums_nothing_is_claimed(folder):
    with pytest.raises(ConfigurationError, match="has no SHA256SUMS"):
        checksum_faults(folder)
