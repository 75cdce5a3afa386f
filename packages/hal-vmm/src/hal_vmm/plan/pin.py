"""One virtual CPU on one core: planned here, written into the launch plan, carried out by the guest manager."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pin:
    vcpu: int  # QEMU's cpu-index
    cpu: int  # the host's logical CPU
