"""``ci/bench vmm``: the product's virtual machine under HAL, against plain QEMU and, where installed, libvirt."""

from __future__ import annotations

from pathlib import Path

from benchmarks import crash, footprint, start, status
from benchmarks.lab import lab
from benchmarks.measure import Row


def measure(cache: Path, rounds: int) -> list[Row]:
    """:param cache: where the product OS is kept.

    :raise BenchError: something cannot be measured here.
    """
    with lab(cache) as setting:
        rows = start.rows(setting, rounds)
        asked = setting.hal.ask_to_start()
        setting.monitor.await_running(start.PATIENCE)
        asked.wait(start.PATIENCE)
        return rows + footprint.rows(setting, rounds) + status.rows(setting, rounds) + crash.rows(setting, rounds)
