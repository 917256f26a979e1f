"""Specs of hardware, and this machine."""

from __future__ import annotations

import stat

import pytest

from llmops_sdk.engines._hardware import find_hardware
from llmops_sdk.errors import ConfigurationError


@pytest.mark.parametrize(
    ("spec", "means"),
    [
        ("H100-80GB x 2", "H100-80GB-SXM x 2"),
        ("H100", "H100-80GB-SXM x 1"),
        ("2 x L4", "L4 x 2"),
        ("a100-80gb*4", "A100-80GB-SXM x 4"),
        ("L40S \N{MULTIPLICATION SIGN} 3", "L40S x 3"),
        ("NVIDIA RTX 4090", "RTX-4090 x 1"),
        ("MI300X x8", "MI300X x 8"),
    ],
)
def test_a_spec_names_a_device_and_how_many(spec, means):
    assert str(find_hardware(spec)) == means


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("H10-80GB", "did you mean 'H100-80GB-SXM'"),
        ("GB9999", r"no device 'GB9999' is known"),
        ("", "cannot be read"),
        ("H100 x 0", "1 to 4,096"),
        ("H100 x 99999", "1 to 4,096"),
    ],
)
def test_a_wrong_spec_says_what_to_write(spec, says):
    with pytest.raises(ConfigurationError, match=says):
        find_hardware(spec)


def test_narrow_numbers_are_computed_by_the_narrowest_units_that_hold_them():
    a100, h100 = find_hardware("A100").device, find_hardware("H100").device
    assert a100.compute(8) == a100.compute(16) == 312e12
    assert h100.compute(8) == 2 * h100.compute(16) + 1e12
    assert h100.compute(4) == h100.compute(8)


def nvidia_smi(folder, rows):
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(rows) + "\nEND\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_here_are_the_gpus_that_the_driver_reports(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    nvidia_smi(tmp_path, ["NVIDIA H100 80GB HBM3, 81559", "NVIDIA H100 80GB HBM3, 81559"])
    assert str(find_hardware("here")) == "H100-80GB-SXM x 2"
    nvidia_smi(tmp_path, ["NVIDIA Something New, 1000"])
    unknown = find_hardware("here").device
    assert (unknown.memory_bytes, unknown.bandwidth, unknown.compute(16)) == (1000 * 2**20, None, None)
    nvidia_smi(tmp_path, ["NVIDIA L4, 23034", "Tesla T4, 15360"])
    with pytest.raises(ConfigurationError, match="differ from each other"):
        find_hardware("here")
    nvidia_smi(tmp_path, ["NVIDIA-SMI has failed because it couldn't communicate with the driver"])
    assert find_hardware("here").device.kind == "cpu"


def test_without_gpus_here_are_the_processors(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    device = find_hardware("here").device
    assert device.kind == "cpu"
    assert device.memory_bytes > 2**28
    assert 1e8 < device.bandwidth < 1e13
    assert "measured" in device.notes[0]
