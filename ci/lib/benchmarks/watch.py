"""The stopwatch's ends: a line of text appears, or a QEMU says that its guest runs. Moments are monotonic seconds."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import socket
import threading
import time
import tty
from typing import Any

from benchmarks.measure import BenchError


class Lines:
    """What arrives on a descriptor, line by line, each with the moment at which it came."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: list[tuple[float, str]] = []
        self._news = threading.Condition()
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        rest = b""
        while True:
            try:
                chunk = os.read(self._fd, 4096)
            except OSError:
                return  # EIO: the last one at the other end of a pseudo-terminal has gone
            if not chunk:
                return
            now = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            with self._news:
                self._lines += [(now, line.decode(errors="replace").strip()) for line in lines]
                self._news.notify_all()

    def mark(self) -> int:
        """A place in the output, for :meth:`wait_for`."""
        with self._news:
            return len(self._lines)

    def wait_for(self, text: str, since: int, seconds: float) -> float:
        """When the first line with ``text`` after ``since`` came.

        :raise BenchError: none within some seconds.
        """
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for moment, line in self._lines[since:]:
                    if text in line:
                        return moment
                left = deadline - time.monotonic()
                if left <= 0:
                    seen = "; ".join(line for _, line in self._lines[since:][-3:])
                    raise BenchError(f'waited {seconds:.0f} s for "{text}"; the last lines were: {seen or "none"}')
                self._news.wait(left)


class SerialPort(Lines):
    """A pseudo-terminal that plays the server's serial port, on which the product has its console."""

    def __init__(self, owner: str) -> None:
        """:param owner: whose it is to be; "" is us."""
        master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        if owner:  # QEMU under libvirt opens it by itself
            shutil.chown(self.path, owner)
        self._slave = slave  # kept open: otherwise reading ends with every QEMU
        super().__init__(master)


class Monitor:
    """A QMP socket to which every QEMU under test connects by itself, so that all are watched in the same way."""

    def __init__(self, path: str, owner: str) -> None:
        """:param owner: whom QEMU runs as; "" is us."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        if owner:
            shutil.chown(path, owner)
        self._socket.listen(1)
        self.options = ("-chardev", f"socket,id=bench,path={path}", "-mon", "chardev=bench,mode=control")

    def await_running(self, seconds: float, cont: bool = False) -> float:
        """When the next QEMU's guest began to run.

        :param cont: tell QEMU to let it run, where nobody else does.
        :raise BenchError: it did not within some seconds.
        """
        self._socket.settimeout(seconds)
        try:
            connection, _ = self._socket.accept()
            with connection, connection.makefile("r", encoding="utf-8") as answers:
                connection.settimeout(seconds)
                names = ["qmp_capabilities", *(["cont"] if cont else []), "query-status"]
                connection.sendall("".join(json.dumps({"execute": name}) + "\n" for name in names).encode())
                # An event from before the capabilities were agreed on is lost: hence the question as well.
                for line in answers:
                    answer = json.loads(line)
                    if answer.get("event") == "RESUME" or _status(answer) == "running":
                        return time.monotonic()
        except socket.timeout:
            raise BenchError(f"no QEMU had a running guest within {seconds:.0f} s") from None
        raise BenchError("QEMU ended before its guest ran")


def _status(answer: dict[str, Any]) -> object:
    returned = answer.get("return")
    return returned.get("status") if isinstance(returned, dict) else None


def await_exit(pid: int, seconds: float) -> None:
    """Wait until a process, which need not be our child, has ended.

    :raise BenchError: it has not within some seconds.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([pidfd], [], [], seconds)[0]:
            raise BenchError(f"process {pid} has not ended within {seconds:.0f} s")
    finally:
        os.close(pidfd)
