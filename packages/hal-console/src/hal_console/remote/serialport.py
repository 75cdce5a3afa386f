"""A serial port of the product's, mirrored: what the product has sent last, and sends from now on; and typing to it.

QEMU writes everything that the product sends to a real port into a file as well (hal-vmm(1), SERIAL LOG): that is
shown. What is typed is put into the real port's input queue (TIOCSTI, ioctl_tty(2)): to the product it is as if it had
come over the line. Whoever is at the other end of the cable sees the product's answers, too.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import termios

from hal_console.remote import terminal, typed
from hal_core.errors import FileFormatError, HostError, UsageError

_LOOK_AGAIN_SECONDS = 0.1  # a file cannot be waited for
_FIRST_BYTES = 1 << 14  # of what was before
_CHUNK = 1 << 16


def log_path(run_dir: str, index: int) -> str:
    """:param index: 0 for COM1."""
    return os.path.join(run_dir, "events", f"com{index + 1}.log")


def index(name: str) -> int:
    """COM1 is 0.

    :raise UsageError: there is no such port on any PC.
    """
    found = re.fullmatch(r"(?:com)?([1-4])", name.lower())
    if not found:
        raise UsageError(f"attach: --serial {name}: allowed are com1 to com4")
    return int(found[1]) - 1


def host_port(run_dir: str, wanted: int) -> str:
    """The port of this server that the product's is, from hal-vmm's plan.

    :raise HostError: there is none. :raise FileFormatError: the plan is damaged.
    """
    path = os.path.join(run_dir, "plan.json")
    try:
        with open(path, encoding="utf-8") as file:
            ports = {port["index"]: port["host"] for port in json.load(file)["serial"]}
    except FileNotFoundError:
        raise HostError(
            f"{path}: not there: nothing has been planned since this host booted", "hal vmm apply"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path} is damaged: {error}", "write it anew with: hal vmm apply") from None
    if wanted not in ports:
        have = ", ".join(f"com{number + 1}" for number in sorted(ports)) or "none"
        raise HostError(f"the product has no port com{wanted + 1} of this server's; it has: {have}", "hal vmm plan")
    return str(ports[wanted])


def attach(run_dir: str, name: str) -> None:
    """Until Ctrl+].

    :raise HostError: there is no such port, or no terminal here.
    """
    wanted = index(name)
    port = host_port(run_dir, wanted)
    log = _open_log(log_path(run_dir, wanted))
    try:
        line = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        os.close(log)
        raise HostError(f"{port}: {error.strerror}", "run this as root") from None
    try:
        with terminal.raw():
            terminal.write(f"[{name} of the product, {port} of this server; {terminal.DETACH_HINT}]\r\n".encode())
            os.lseek(log, max(0, os.fstat(log).st_size - _FIRST_BYTES), os.SEEK_SET)
            _mirror(log, line)
            terminal.write(b"\033[0m\r\n")
    finally:
        os.close(line)
        os.close(log)


def _mirror(log: int, line: int) -> None:
    while True:
        data = os.read(log, _CHUNK)
        if data:
            terminal.write(data.lstrip(b"\0"))
        ready, _, _ = select.select([terminal.STDIN], [], [], 0 if data else _LOOK_AGAIN_SECONDS)
        if ready:
            said = terminal.read()
            if not said or typed.DETACH in said:
                return
            for byte in said:
                fcntl.ioctl(line, termios.TIOCSTI, bytes([byte]))


def _open_log(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise HostError(f"{path}: not there: the product has not run with this port", "hal vmm status") from None
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "run this as root") from None
