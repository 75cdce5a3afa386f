"""The HAL host as a support engineer knows it: the root shell, and the questions that are asked there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any, Callable

from lab.errors import LabError
from lab.simulator.shell import HostShell

_LOOK_AGAIN = 0.5  # seconds: the host's agent has no events, so whatever is awaited in the host is looked at

# One start of Python for many commands: under emulation it takes longer than all of them.
_QMP = """
import json, sys
from hal_core.errors import QmpRefused
from hal_core.qmp_once import Once
answers = []
with Once("/run/hal/qmp/cli", 60) as qmp:
    for command, arguments in json.load(sys.stdin):
        try:
            answers.append({"return": qmp.execute(command, arguments)})
        except QmpRefused as error:
            answers.append({"refused": str(error)})
print(json.dumps(answers))
"""


class Refused(Exception):
    """QEMU did not do what it was asked over QMP; the message is its reason."""


class Host:
    """The host of one server."""

    def __init__(self, shell: HostShell) -> None:
        self.shell = shell

    def run(self, *argv: str, seconds: float = 60.0) -> str:
        """A command's standard output. :raise LabError: it failed."""
        return self.shell.run(*argv, seconds=seconds)

    def configure(self, hal_toml: str) -> None:
        """Set something as an administrator would: in /etc/hal/hal.toml.d, and have the guest manager read it."""
        self.shell.write("/etc/hal/hal.toml.d/90-story.toml", hal_toml)
        self.run("hal", "check")
        self.run("systemctl", "restart", "hal-vmm", seconds=120)

    def status(self) -> dict[str, Any]:
        """``hal vmm status --json``, whether or not the product runs. :raise LabError: HAL cannot tell."""
        return self._status("vmm")

    def netcfg(self) -> dict[str, Any]:
        """``hal netcfg status --json``: the product's LANs, and what is wrong with them."""
        return self._status("netcfg")

    def firewall(self) -> dict[str, int]:
        """How many packets each rule of HAL's that counts has counted, by what ``hal netcfg status`` calls it."""
        return {rule["what"]: rule["packets"] for rule in self.netcfg()["firewall"]}

    def udev(self) -> dict[str, Any]:
        """``hal udev status --json``: which devices the product has, and why not the others."""
        return self._status("udev")

    def wait_for_usb_devices(self, count: int, seconds: float = 120.0) -> None:
        """Return when the product's QEMU has so many of the server's USB devices. :raise LabError: it has not."""

        def has() -> bool:
            listed: list[dict[str, str]] = self.qmp("qom-list", path="/machine/peripheral")
            return [one["type"] for one in listed].count("child<usb-host>") == count

        self._wait(has, seconds, f"QEMU does not have {count} USB devices")

    def wait_for_disk(self, serial: str, state: str, seconds: float = 120.0) -> dict[str, Any]:
        """Return when ``hal udev status`` says that the disk with that serial number is in this state; what it says.

        :raise LabError: it is not
        """
        told: list[dict[str, Any]] = []

        def is_so() -> bool:
            told[:] = [disk for disk in self.udev()["disks"] if disk["serial"] == serial]
            return [disk["state"] for disk in told] == [state]

        self._wait(is_so, seconds, f"disk {serial} is not {state!r}")
        return told[0]

    def _status(self, package: str) -> dict[str, Any]:
        number, said, complained = self.shell.ask("hal", package, "status", "--json")
        if not said:
            raise LabError(f"in the host, `hal {package} status` failed with status {number}: {complained.strip()}")
        status: dict[str, Any] = json.loads(said)
        return status

    def wait_until(self, *argv: str, seconds: float = 60.0) -> None:
        """Return when a command succeeds. :raise LabError: it does not."""
        self._wait(lambda: self.shell.ask(*argv)[0] == 0, seconds, f"in the host, `{' '.join(argv)}` still fails")

    def wait_for_state(self, state: str, seconds: float = 60.0) -> None:
        """Return when ``hal vmm status`` says that the product is in this state. :raise LabError: it does not."""
        self._wait(lambda: self.status()["state"] == state, seconds, f"the product's state is not {state!r}")

    def wait_for_heartbeats(self, seconds: float = 60.0) -> None:
        """Return when the product has sent one in this run. :raise LabError: it does not."""
        self._wait(lambda: bool(self.status().get("heartbeats")), seconds, "the product has sent no heartbeat")

    def last_exit(self) -> tuple[str, str]:
        """Why the product's last run ended, and what followed."""
        last = self.status()["last_exit"]
        return last["reason"], last["outcome"]

    def qmp(self, command: str, **arguments: object) -> Any:
        """What the product's QEMU returns. :raise Refused: it does not want to. :raise LabError: it does not answer."""
        (answer,) = self._qmp([(command, arguments)])
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer["return"]

    def qmp_each(self, commands: Sequence[tuple[str, Mapping[str, object]]]) -> list[str]:
        """Why the product's QEMU refuses each of these commands; "" where it does not."""
        return [answer.get("refused", "") for answer in self._qmp(commands)]

    def _qmp(self, commands: Sequence[tuple[str, Mapping[str, object]]]) -> list[dict[str, Any]]:
        said = self.shell.run("python3", "-Ic", _QMP, input=json.dumps(commands))
        answers: list[dict[str, Any]] = json.loads(said)
        return answers

    def main_pid(self, unit: str) -> int:
        """Of a service; 0 when it does not run."""
        return int(self.run("systemctl", "show", "--property=MainPID", "--value", unit))

    def wait_for_service(
        self, unit: str, other_than: Collection[int] = (), seconds: float = 120.0, ready: bool = True
    ) -> int:
        """Return when a service runs, and has another main process than these; its pid.

        :param ready: False: when it has a process is enough; it may still be starting
        :raise LabError: it does not
        """
        pids = []
        states = {"active"} if ready else {"active", "activating"}

        def runs() -> bool:
            said = self.run("systemctl", "show", "--property=ActiveState,MainPID", unit)
            state = dict(line.split("=", 1) for line in said.split())
            pids.append(int(state["MainPID"]))
            return state["ActiveState"] in states and pids[-1] not in {0, *other_than}

        self._wait(runs, seconds, f"{unit} does not run")
        return pids[-1]

    def kill_at_random_moment(self, pid: int, within: float, moments: Random) -> None:
        """SIGKILL for a process, at some moment within so many seconds from now."""
        moment = f"{moments.uniform(0, within):.2f}"
        self.run("sh", "-c", 'sleep "$1"; kill -KILL "$2"', "sh", moment, str(pid))

    def installed(self) -> dict[str, str]:
        """HAL's packages, and their versions."""
        said = self.run("rpm", "-qa", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\n", "hal-*")
        return dict(line.split(" ", 1) for line in said.splitlines())

    def failed_units(self) -> list[str]:
        """Units that systemd is not content with."""
        said = self.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager")
        return [line.split()[0] for line in said.splitlines()]

    def denials(self) -> list[str]:
        """What SELinux has denied to a domain of HAL's since the host booted, one line each, without doubles."""
        # Without --grep, which fails when there is nothing (journalctl of systemd 243 and later).
        said = self.run("journalctl", "--boot", "--dmesg", "--output=cat", "--no-pager")
        found = (line.partition("avc:")[2].strip() for line in said.splitlines() if re.search("avc: +denied", line))
        ours = (re.sub(r"pid=\d+ |ino=\d+ ", "", line) for line in found if re.search(r"scontext=\S+:hal_\w+_t:", line))
        return list(dict.fromkeys(ours))

    def journal(self, *arguments: str) -> str:
        """The journal of this boot; further arguments are journalctl's."""
        return self.run("journalctl", "--boot", "--no-pager", "--output=short-monotonic", *arguments)

    def _wait(self, condition: Callable[[], bool], seconds: float, problem: str) -> None:
        until = time.monotonic() + seconds
        while True:
            began = time.monotonic()
            if condition():
                return
            now = time.monotonic()
            if now > until:
                raise LabError(f"{problem} after {seconds:g} s")
            # Looking must not keep a host with one emulated core from getting there.
            time.sleep(max(_LOOK_AGAIN, 2 * (now - began)))
