"""Files by which people and programs tell the guest manager what they want, and which outlive it.

=========================  ================================================================================
file under ``<run>/vmm/``  meaning
=========================  ================================================================================
``stopped``                `hal vmm stop`: the QEMU with this process id ends on purpose; nothing is started
``maintenance``            maintenance mode, until that monotonic second, or for ever; one that is over stays, because
                           heartbeats are counted from its end
``rescue``                 too many crashes; the text says what happened. `hal vmm start` removes it
=========================  ================================================================================

All are in a directory that ends with the boot: a host that boots runs the product.
"""

from __future__ import annotations

import fcntl
import math
import os

from hal_core import atomic


class Markers:
    def __init__(self, run_dir: str) -> None:
        self._directory = os.path.join(run_dir, "vmm")

    def announce(self) -> int:
        """Have the kernel send this process SIGIO whenever a marker comes, changes or goes.

        By F_NOTIFY (fcntl(2), "File and directory change notification"), the only such thing in the standard library.

        :return: a descriptor: closing it ends it.
        :raise OSError: the kernel has it not, or not for this file system.
        """
        os.makedirs(self._directory, exist_ok=True)
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.fcntl(fd, fcntl.F_NOTIFY, fcntl.DN_CREATE | fcntl.DN_DELETE | fcntl.DN_RENAME | fcntl.DN_MULTISHOT)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _read(self, name: str) -> str | None:
        try:
            with open(self._path(name), encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except FileNotFoundError:
            return None

    def set_stopped(self, pid: int | None) -> None:
        """:param pid: the QEMU that is being stopped; None if there is none."""
        atomic.write(self._path("stopped"), f"{pid or 0}\n")

    def clear_stopped(self) -> None:
        atomic.remove(self._path("stopped"))

    def stopped(self, pid: int | None) -> bool:
        """Whether nothing may run. A marker for an earlier QEMU says nothing about a new one: somebody started that."""
        text = self._read("stopped")
        if text is None:
            return False
        return pid is None or not text.isdecimal() or int(text) == pid

    def set_maintenance(self, until: float) -> None:
        """:param until: monotonic seconds; infinity for no end; now, to end it: heartbeats count anew from then on."""
        atomic.write(self._path("maintenance"), f"{until}\n")

    def maintenance_until(self) -> float | None:
        """Monotonic seconds, infinity, or None. An unreadable marker counts: somebody wanted the product left alone."""
        text = self._read("maintenance")
        if text is None:
            return None
        try:
            until = float(text)
        except ValueError:
            return math.inf
        return math.inf if math.isnan(until) else until

    def set_rescue(self, text: str) -> None:
        atomic.write(self._path("rescue"), text + "\n")

    def clear_rescue(self) -> None:
        atomic.remove(self._path("rescue"))

    def rescue(self) -> str | None:
        return self._read("rescue")
