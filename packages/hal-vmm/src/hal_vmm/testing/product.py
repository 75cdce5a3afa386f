"""A product under a real guest manager and a real QEMU, in a directory of its own: for component tests."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

from hal_vmm.commands.status import collect
from hal_vmm.launch.launchplan import LaunchPlan
from hal_vmm.manager.qemulock import running_pid
from hal_vmm.testing import tinyguest

PATIENCE = 60.0  # seconds: how long a test waits for what takes a moment, on a busy machine


class Product:
    """The tiny guest, the manager that follows it, and what a test does to both.

    :param base: an empty directory. :param config: the text of hal.toml's ``[vmm]`` tables.
    """

    def __init__(self, base: Path, config: str) -> None:
        self.run_dir = base / "run"
        self.state_dir = base / "state"
        self.log_path = base / "manager.log"
        self.environment = private_environment(base, self.run_dir)
        (base / "etc").mkdir()
        (base / "etc" / "hal.toml").write_text(config)
        self.run_dir.mkdir()
        self.image = base / "disk.img"
        tinyguest.write_image(self.image)
        self._manager: Optional[subprocess.Popen[bytes]] = None

    def write_plan(self, plan: LaunchPlan) -> None:
        (self.run_dir / "qemu.json").write_text(json.dumps(dataclasses.asdict(plan)))

    # --- the manager ---------------------------------------------------------------------------------------------

    def start_manager(self) -> None:
        with self.log_path.open("ab") as log:
            self._manager = subprocess.Popen(
                [program("hal-vmm"), "run", "--announce", "--child"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def stop_manager(self, number: int = signal.SIGTERM) -> None:
        if self._manager:
            self._manager.send_signal(number)
            self._manager.wait(PATIENCE)
            self._manager = None

    def close(self) -> None:
        """End everything that this product started."""
        self.stop_manager(signal.SIGKILL)
        pid = self.qemu_pid
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``hal-vmm ARGUMENTS``, to its end."""
        return subprocess.run(
            [program("hal-vmm"), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    # --- what is -------------------------------------------------------------------------------------------------

    @property
    def qemu_pid(self) -> Optional[int]:
        return running_pid(str(self.run_dir))

    @property
    def status(self) -> dict[str, Any]:
        return collect(str(self.run_dir), time.monotonic())

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def wait(self, what: Callable[[], object], explain: str) -> None:
        """Wait until ``what`` is true.

        :raise AssertionError: it was not in time; the status and the log say more.
        """
        deadline = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > deadline:
                raise AssertionError(f"{explain}: not within {PATIENCE} s\n{self.status}\n{self.log}")
            select.select([], [], [], 0.02)

    def wait_state(self, state: str) -> None:
        self.wait(lambda: self.status["state"] == state, f"state {state}")

    def wait_beating(self, other_than: Optional[int] = None) -> int:
        """Wait for a heartbeat from a QEMU other than ``other_than``; its process id."""

        def beats() -> bool:
            status = self.status
            return status["state"] == "running" and status["qemu_pid"] != other_than and bool(status["heartbeats"])

        self.wait(beats, "heartbeats")
        pid = self.qemu_pid
        if not pid:
            raise AssertionError(f"the product beats and has no QEMU\n{self.log}")
        return pid

    # --- what is done --------------------------------------------------------------------------------------------

    def press(self, letter: str) -> None:
        """Send the tiny guest one of its letters."""
        with socket.socket(socket.AF_UNIX) as console:
            console.connect(str(self.run_dir / "console.sock"))
            console.sendall(letter.encode())


def private_environment(base: Path, run_dir: Path) -> dict[str, str]:
    """This process' environment, with all of HAL's directories moved below ``base``."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("HAL_")},
        "HAL_RUN_DIR": str(run_dir),
        "HAL_STATE_DIR": str(base / "state"),
        "HAL_CONFIG_DIR": str(base / "etc"),
        "HAL_DEFAULTS_DIR": str(base / "usr"),
    }


@contextlib.contextmanager
def product(base: Path, config: str = "") -> Iterator[Product]:
    """A product whose manager runs; ended at the end."""
    base.mkdir(exist_ok=True)
    one = Product(base, config)
    one.write_plan(tinyguest.launch_plan(one.run_dir, one.image))
    try:
        one.start_manager()
        yield one
    finally:
        one.close()


def program(name: str) -> str:
    """One of HAL's programs, as installed beside the interpreter that runs the tests."""
    return str(Path(sys.executable).parent / name)
