"""In which number type this machine's processor serves a model best.

Most checkpoints are in bfloat16. A processor without instructions for it computes it by conversion: on two cores with
AVX2 a matrix product of SmolLM2's size for 256 tokens reached 11 GFLOP/s in bfloat16, 12 in float16 and 169 in float32,
and 16 requests at once got four times the tokens per second. The price is twice the memory for the weights and for each
token in the KV cache.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["best_dtype", "computes_bfloat16"]

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Names in `/proc/cpuinfo`: AVX-512 and AMX of x86, and `bf16` of Armv8.6."""


def computes_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for bfloat16; `True` where it does not say."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    return flags is None or not _BFLOAT16_FLAGS.isdisjoint(flags.partition(":")[2].split())


def best_dtype(folder: Path, free_bytes: int, *, native: bool) -> str | None:
    """The type to compute in on a CPU; `None` leaves it to the checkpoint.

    Args:
        folder: The model folder.
        free_bytes: Memory that is free, in bytes. float32 is chosen where the weights take at most half of it.
        native: Whether the processor has instructions for bfloat16.

    Returns:
        `"float32"`, or `None`: for quantised checkpoints, whose kernels want their own type, and where it does not fit.
    """
    if native:
        return None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or "quantization_config" in config or not stored:
        return None
    name = config.get("dtype", config.get("torch_dtype"))
    as_float32 = stored if name == "float32" else 2 * stored
    return "float32" if 2 * as_float32 <= free_bytes else None
