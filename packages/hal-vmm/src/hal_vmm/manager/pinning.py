"""Virtual CPU threads onto their cores: by the guest manager, because QEMU itself may not (seccomp)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping

from hal_vmm.plan.pin import Pin

logger = logging.getLogger(__name__)


def thread_ids(untrusted_cpus: object) -> dict[int, int]:
    """Virtual CPU index → host thread id, from the answer to ``query-cpus-fast`` (qapi/machine.json, CpuInfoFast)."""
    if not isinstance(untrusted_cpus, list):
        return {}
    return {
        cpu["cpu-index"]: cpu["thread-id"]
        for cpu in untrusted_cpus
        if isinstance(cpu, dict) and isinstance(cpu.get("cpu-index"), int) and isinstance(cpu.get("thread-id"), int)
    }


def apply(pins: Iterable[Pin], threads: Mapping[int, int]) -> list[dict[str, object]]:
    """Pin every vCPU that is not where it ought to be; one that cannot be is logged, and does not stop the others.

    :return: per pin ``vcpu``, ``cpu`` (planned) and ``actual`` (the CPUs its thread may run on; None without a thread).
    """
    return [_pin(pin, threads.get(pin.vcpu)) for pin in pins]


def _pin(pin: Pin, thread: int | None) -> dict[str, object]:
    actual: list[int] | None = None
    if thread is not None:
        try:
            actual = sorted(os.sched_getaffinity(thread))
            if actual != [pin.cpu]:
                os.sched_setaffinity(thread, {pin.cpu})
                actual = sorted(os.sched_getaffinity(thread))
        except OSError as error:
            logger.warning("vCPU %d is not pinned to cpu %d: %s", pin.vcpu, pin.cpu, error.strerror)
    return {"vcpu": pin.vcpu, "cpu": pin.cpu, "actual": actual}
