"""Memory of what stays resident beside QEMU while one product runs."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.lab import Lab
from benchmarks.libvirt import NOT_INSTALLED, domain
from benchmarks.measure import BenchError, Row, Variant, interleave

PATIENCE = 120.0  # seconds


def rows(lab: Lab, rounds: int) -> list[Row]:
    """HAL's product runs already, and has sent a heartbeat: everything that the manager imports is there."""
    lab.hal.wait(lambda: lab.hal.status.get("heartbeats"), "a heartbeat")
    variants: dict[str, Variant] = {"hal": lambda: _memory([lab.hal.manager_pid])}
    peer = lab.libvirt
    if peer:
        starting = peer.spawn_virsh("start", domain(True))
        lab.monitor.await_running(PATIENCE)
        starting.wait(PATIENCE)
        variants["libvirt"] = lambda: _memory(peer.daemon_pids)
    samples = interleave("memory", variants, rounds)
    if peer:
        peer.stop()
    made = [samples.median("managers' memory: HAL", "hal PSS", "MiB")]
    if peer:
        made.append(samples.median("managers' memory: libvirtd, virtlogd, virtlockd", "libvirt PSS", "MiB"))
    made.append(samples.ratio("managers' memory: HAL / libvirt", "hal PSS", "libvirt PSS", 0.5, note=NOT_INSTALLED))
    return made


def _memory(pids: Iterable[int]) -> dict[str, float]:
    """MiB of some processes: their proportional set size (proc(5), /proc/PID/smaps).

    Python's own files count in full: on a server nobody else may have them open, while here the bench itself does.
    """
    total, python = 0, False
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
                for line in file:
                    words = line.split()
                    if not words[0].endswith(":"):
                        python = len(words) > 5 and "python" in words[5]
                    elif words[0] == ("Rss:" if python else "Pss:"):
                        total += int(words[1])
        except OSError as error:
            raise BenchError(f"memory of process {pid}: {error.strerror}") from None
    return {"PSS": total / 1024}
