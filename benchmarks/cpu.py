"""What a CPU can do, for the results of benchmarks: absolute times and some ratios depend on it."""

from __future__ import annotations

from pathlib import Path


def instructions() -> list[str]:
    """Of this CPU, those that decide how fast few bits are; nothing where the system does not list them."""
    listed = Path("/proc/cpuinfo")
    flags = set(listed.read_text(encoding="utf-8").split()) if listed.is_file() else set()
    return sorted(
        flags & {"avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bitalg", "avx512_vpopcntdq", "amx_int8"}
    )
