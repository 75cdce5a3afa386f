"""Serial ports that really exist.

Linux makes ``ttyS0`` … ``ttyS31`` whether there is a chip behind them or not; one without has the UART type 0. USB
serial adapters (``ttyUSB0``) are USB devices, not serial ports. The files are for root only.
"""

from __future__ import annotations

import re

from hal_core.facts import parse
from hal_core.facts.tree import Tree
from hal_core.machine import SerialPort

_ROOT = "/sys/class/tty"
_UNKNOWN = ("", "unknown")

# include/uapi/linux/serial_core.h and serial.h (PORT_*), by the names that the 8250 driver itself uses.
UARTS = {
    0: "unknown", 1: "8250", 2: "16450", 3: "16550", 4: "16550A", 5: "Cirrus", 6: "16650", 7: "16650V2", 8: "16750",
    9: "Startech", 10: "16C950", 11: "16654", 12: "16850", 13: "RSA", 14: "NS16550A", 15: "XScale", 16: "RM9000",
    17: "Octeon", 18: "AR7", 19: "U6_16550A", 20: "Tegra", 21: "XR17D15X", 22: "LPC3220", 23: "CIR", 24: "XR17V35X",
    25: "TruManage", 26: "Altera 16550 FIFO32", 27: "Altera 16550 FIFO64", 28: "Altera 16550 FIFO128", 29: "RT2880",
    30: "16550A_FSL64",
}  # fmt: skip


def read(tree: Tree) -> tuple[SerialPort, ...]:
    """By number."""
    names = [name for name in tree.names(_ROOT, "ttyS") if re.fullmatch("ttyS[0-9]+", name)]
    listed = _listed(tree.text("/proc/tty/driver/serial"))
    consoles = _consoles(tree)
    found = []
    for name in names or sorted(listed, key=parse.natural):
        port = _from_sysfs(tree, name, name in consoles) or _from_procfs(listed.get(name, ""), name, name in consoles)
        if port:
            found.append(port)
    return tuple(found)


def _from_sysfs(tree: Tree, name: str, console: bool) -> SerialPort | None:
    kind = tree.integer(f"{_ROOT}/{name}/type")
    if not kind:
        return None
    return SerialPort(
        name=name,
        uart=UARTS.get(kind, f"type {kind}"),
        port=tree.integer(f"{_ROOT}/{name}/port", 0) or 0,
        irq=tree.integer(f"{_ROOT}/{name}/irq") or 0,
        console=console,
    )


def _from_procfs(line: str, name: str, console: bool) -> SerialPort | None:
    """For kernels before 3.8, which have no ``type``: ``uart:16550A port:000003F8 irq:4 tx:0 rx:0``."""
    fields = dict(field.partition(":")[::2] for field in line.split() if ":" in field)
    uart = fields.get("uart", "")
    if uart in _UNKNOWN:
        return None
    port = parse.integer(fields.get("port", ""), 16) or 0
    return SerialPort(name, uart, port, parse.integer(fields.get("irq", "")) or 0, console)


def _listed(text: str) -> dict[str, str]:
    return {f"ttyS{match[1]}": match[2] for match in re.finditer(r"^([0-9]+): (.*)$", text, re.MULTILINE)}


def _consoles(tree: Tree) -> frozenset[str]:
    """The kernel's consoles by name: /proc/consoles (since 2.6.39), or the list that sysfs has."""
    listed = [line.split()[0] for line in tree.text("/proc/consoles").splitlines() if line.strip()]
    return frozenset(listed or tree.line(f"{_ROOT}/console/active").split())
