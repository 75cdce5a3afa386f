"""QEMU with HAL's own command line, and nothing around it: the limit that no manager can be quicker than."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any, Optional

_BEYOND = 100  # descriptors of ours lie above every number that a launch plan gives


class PlainQemu:
    """:param plan: a launch plan (:mod:`hal_vmm.launch.launchplan`) that nobody else runs."""

    def __init__(self, plan: Path) -> None:
        self._plan: dict[str, Any] = json.loads(plan.read_text())
        self._pid: Optional[int] = None
        self._fds: list[int] = []

    def start(self) -> None:
        """Open what the plan names, and run its QEMU as it is."""
        places = [(self._open(node), node["fd"]) for node in self._plan["nodes"]]
        places += [(self._listen(listener["path"]), listener["fd"]) for listener in self._plan["listeners"]]
        self._make_journal()
        # QEMU's own words go to our standard error: they are wanted only when something is wrong.
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for fd, target in places]
        self._pid = os.posix_spawn(
            self._plan["qemu"], self._plan["argv"], os.environ, file_actions=[*actions, (os.POSIX_SPAWN_DUP2, 2, 1)]
        )

    def _open(self, node: dict[str, Any]) -> int:
        flags = os.O_RDWR if node["mode"] == "rw" else os.O_RDONLY
        flags |= os.O_NOCTTY | (os.O_NONBLOCK if node["nonblock"] else 0)
        return self._keep(os.open(node["path"], flags))

    def _listen(self, path: str) -> int:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(path)
        sock.listen(1)
        return self._keep(sock.detach())

    def _make_journal(self) -> None:
        base = self._plan["journal"]
        os.makedirs(os.path.dirname(base), exist_ok=True)
        for suffix in (".in", ".out"):
            Path(base + suffix).unlink(missing_ok=True)
        os.mkfifo(base + ".in")
        Path(base + ".out").touch()

    def _keep(self, fd: int) -> int:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _BEYOND)
        os.close(fd)
        self._fds.append(high)
        return high

    def end(self) -> None:
        """Kill it, if it is there."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None
        for fd in self._fds:
            os.close(fd)
        self._fds = []
