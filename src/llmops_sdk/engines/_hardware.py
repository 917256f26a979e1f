"""The hardware that a model is planned for: a dated table of devices, and this machine."""

from __future__ import annotations

import ctypes
import difflib
import functools
import importlib.resources
import os
import re
import subprocess
import threading
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from llmops_sdk.errors import ConfigurationError

__all__ = ["Device", "Hardware", "find_hardware", "free_memory", "this_machine"]

_GIB = 2**30
_PROBE_BYTES = 2**26
"""What each thread reads and copies at a time: far more than the caches hold."""

_FLOPS_PER_CYCLE = (("amx_bf16", 2048), ("avx512_bf16", 128), ("avx512f", 64), ("avx2", 32), ("asimd", 16))
"""Most multiplications and additions of a core in a cycle, by the best instructions that it has: 16-bit numbers where
they have instructions of their own, float32 otherwise. Two units of each kind are assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One GPU, or the processors of one machine; what is not known is `None`.

    Attributes:
        name: As the table calls it.
        kind: `"gpu"` or `"cpu"`.
        memory_bytes: Memory that programs can have.
        bandwidth: Of its memory, in bytes a second.
        flops: Operations a second by the bits of the numbers: 16, 8, 4.
        usd_per_hour: Price of one.
        notes: Where the numbers come from.
    """

    name: str
    kind: Literal["gpu", "cpu"]
    memory_bytes: int
    bandwidth: float | None
    flops: dict[int, float]
    usd_per_hour: Decimal | None
    notes: tuple[str, ...]

    def compute(self, bits: int) -> float | None:
        """Operations a second with numbers of `bits` bits, by the narrowest units that hold them."""
        wide_enough = [rate for width, rate in self.flops.items() if width >= bits]
        return max(wide_enough, default=None)


class Hardware(NamedTuple):
    """So many of one device."""

    device: Device
    number: int

    def __str__(self) -> str:
        return f"{self.device.name} x {self.number}"


def find_hardware(spec: str) -> Hardware:
    """What `"H100-80GB x 2"`, `"2 x L4"`, `"A100"` or `"here"` means.

    Raises:
        ConfigurationError: No such device, or the spec cannot be read.

    Example:
        >>> str(find_hardware("h100 x 2"))
        'H100-80GB-SXM x 2'
    """
    if spec.strip().lower() == "here":
        return this_machine()
    after = re.fullmatch(r"\s*(?P<name>.*?\S)\s*(?:(?:\sx|[\u00d7*])\s*(?P<count>\d+))?\s*", spec, re.IGNORECASE)
    before = re.fullmatch(r"\s*(?P<count>\d+)\s*(?:x\s|[\u00d7*])\s*(?P<name>.*?\S)\s*", spec, re.IGNORECASE)
    match = before or after
    if match is None:
        raise ConfigurationError(f"hardware {spec!r} cannot be read: write 'H100-80GB x 2', 'L4' or 'here'")
    count = int(match["count"] or 1)
    if not 1 <= count <= 4096:
        raise ConfigurationError(f"hardware {spec!r}: the number of devices has to be 1 to 4,096")
    table = _table()
    device = table.get(_plain(match["name"]))
    if device is None:
        near = difflib.get_close_matches(_plain(match["name"]), table, 1, 0.5)
        hint = f"; did you mean {table[near[0]].name!r}" if near else ""
        names = sorted({known.name for known in table.values()})
        raise ConfigurationError(f"no device {match['name']!r} is known{hint}. Known: 'here', {', '.join(names)}")
    return Hardware(device, count)


@functools.cache
def _table() -> dict[str, Device]:
    """Devices by their names and other names, in small letters and digits."""
    data = _data()
    found: dict[str, Device] = {}
    for name, entry in data["devices"].items():
        device = _device(name, entry, data)
        for alias in (name, *entry["aliases"]):
            found[_plain(alias)] = device
    return found


@functools.cache
def _data() -> dict[str, Any]:
    return tomllib.loads(importlib.resources.files("llmops_sdk.engines").joinpath("_hardware.toml").read_text("utf-8"))


def _device(name: str, entry: dict[str, Any], data: dict[str, Any]) -> Device:
    notes = [f"{name}: {data['source']}, {data['as_of']}"]
    if "price" in entry:
        price = data["prices"][entry["price"]]
        notes.append(f"{entry['usd_per_hour']} USD an hour: {price['source']}, {price['as_of']}")
    return Device(
        name=name,
        kind="gpu",
        memory_bytes=entry["memory_mib"] * 2**20,
        bandwidth=entry["bandwidth_gb_s"] * 1e9,
        flops={bits: entry[f"tflops_{bits}"] * 1e12 for bits in (16, 8, 4) if f"tflops_{bits}" in entry},
        usd_per_hour=Decimal(entry["usd_per_hour"]) if "usd_per_hour" in entry else None,
        notes=tuple(notes),
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("nvidia", "").replace("amd", ""))


def this_machine() -> Hardware:
    """The GPUs of this machine, by `nvidia-smi`; without any its processors, whose bandwidth is measured.

    Measuring takes less than a second.

    Raises:
        ConfigurationError: The GPUs differ from each other.
    """
    gpus = _nvidia_gpus()
    if not gpus:
        return Hardware(_processors(), 1)
    if len(set(gpus)) > 1:
        raise ConfigurationError(
            "the GPUs of this machine differ from each other: plan for one kind, "
            f"for example hardware={_gpu(*gpus[0]).name!r}"
        )
    return Hardware(_gpu(*gpus[0]), len(gpus))


def _nvidia_gpus() -> list[tuple[str, int]]:
    """(name, MiB) of each."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
        rows = [line.rpartition(",") for line in done.stdout.splitlines() if line.strip()]
        return [(name.strip(), int(mib)) for name, _, mib in rows]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def _gpu(name: str, mib: int) -> Device:
    data = _data()
    for known, entry in data["devices"].items():
        if name in entry["driver_names"]:
            return _device(known, entry, data)
    return Device(
        name=name,
        kind="gpu",
        memory_bytes=mib * 2**20,
        bandwidth=None,
        flops={},
        usd_per_hour=None,
        notes=(f"{name} is not in the table of devices: only its memory is known",),
    )


def _processors() -> Device:
    cores, flags, ghz = _cores()
    flops = next((per_cycle * ghz * 1e9 * cores for flag, per_cycle in _FLOPS_PER_CYCLE if flag in flags), None)
    compute = "its operations a second are not known"
    if flops is not None:
        best = next(flag for flag, _ in _FLOPS_PER_CYCLE if flag in flags)
        compute = f"{flops / 1e12:.2f} TFLOPS is the peak of {cores} cores at {ghz:.1f} GHz with {best}"
    bandwidth = _measured_bandwidth(cores)
    return Device(
        name=f"this machine's {cores} CPU core{'s' * (cores != 1)}",
        kind="cpu",
        memory_bytes=free_memory(),
        bandwidth=bandwidth,
        flops={} if flops is None else {16: flops},
        usd_per_hour=None,
        notes=(f"{bandwidth / 1e9:.1f} GB/s was measured just now, beside whatever else runs here; {compute}",),
    )


def _cores() -> tuple[int, frozenset[str], float]:
    """Cores that this process may use, the instructions that they have, and their clock in GHz (0 if not known)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return cores, frozenset(), 0.0
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    ghz = _highest_clock(text)
    return (cores, frozenset(), 0.0) if flags is None or not ghz else (cores, frozenset(flags[1].split()), ghz)


def _highest_clock(cpuinfo: str) -> float:
    """GHz; virtual machines report the base clock only, which processors exceed by up to a half."""
    try:
        return int(Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text(encoding="utf-8")) / 1e6
    except (OSError, ValueError):
        clocks = [float(mhz) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", cpuinfo, re.MULTILINE)]
        return 1.5 * max(clocks, default=0.0) / 1000


def free_memory() -> int:
    """Bytes that programs can still have: what is free, or what the control group leaves where that is less."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
        (kib,) = re.findall(r"^MemAvailable:\s*(\d+) kB$", text, re.MULTILINE)
        free = int(kib) * 1024
    except (OSError, ValueError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="utf-8"))  # "max" where there is none
        return min(free, limit - int((group / "memory.current").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return free


def _measured_bandwidth(threads: int) -> float:
    """Bytes a second that all cores together read, or read and write; the best of three rounds of each.

    Neither holds the interpreter's lock, so threads do it.
    """
    threads = min(threads, 16)
    size = min(_PROBE_BYTES, max(free_memory() // (8 * threads), 2**20))
    pairs = [(ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)) for _ in range(threads)]
    for pair in pairs:
        for buffer in pair:
            ctypes.memset(buffer, 1, size)  # memory that was never written has no pages of its own yet
    search = ctypes.CDLL(None).memchr
    search.argtypes, search.restype = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t), ctypes.c_void_p

    def copy(start: Any, to: Any) -> None:
        ctypes.memmove(to, start, size)

    def read(start: Any, to: Any) -> None:
        search(start, 2, size)
        search(to, 2, size)

    return max(2 * size * threads / _seconds(work, pairs) for work in (copy, read) for _ in range(3))


def _seconds(work: Callable[[Any, Any], None], pairs: Sequence[tuple[Any, Any]]) -> float:
    """Seconds of `work` on all pairs at the same time."""
    workers = [threading.Thread(target=work, args=pair) for pair in pairs]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began
