"""Boot once, restore many: a running server, saved with its memory, and any number of servers that go on from there."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from lab.errors import LabError
from lab.simulator import files, server
from lab.simulator.machine import Machine

_STATE = "state.zst"
_ABOUT = "about.json"
_SECONDS = 300.0  # for all the memory of the largest server, on a slow disk
# QEMU runs it in the server's directory. A regular file instead of a pipe would need "file:", which is new in QEMU 8.2.
_BANDWIDTH = 16 << 30  # bytes per second: no limit; QEMU's own is meant for networks
# Compressed, it is a quarter, and each way takes a tenth of a second longer for 100 MiB.
_SAVE, _RESTORE = f"exec:zstd -q -1 > {_STATE}", f"exec:zstd -dq < {_STATE}"


def save(machine: Machine, directory: Path) -> None:
    """Save a server that is on, as its description has it: no stick, no disc, no cable changed. It goes on afterwards.

    :param directory: made, whole or not at all; what is there already is replaced
    :raise LabError: the server is not like that; a device of it cannot be saved (QEMU's nvme)
    """
    if (
        machine.sticks
        or machine.disc
        or machine.pulled != {n for n, nic in enumerate(machine.server.nics) if not nic.link}
    ):
        raise LabError(f"{machine.server.name} cannot be saved with a stick, a disc or a changed cable")
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    about = {"name": machine.server.name, "accel": machine.accel, "qemu": machine.execute("query-version")}
    (partial / _ABOUT).write_text(json.dumps(about))
    machine.execute("stop")
    try:
        _migrate(machine, "migrate", _SAVE)
        shutil.move(machine.directory / _STATE, partial / _STATE)
        for name in (files.DESCRIPTION, files.HAL_TOML, *files.media(machine.server)):
            shutil.copyfile(machine.directory / name, partial / name)
    finally:
        # No event tells when QEMU lets go of its disks, a moment after it has told that all is written.
        while machine.execute("query-status")["status"] == "finish-migrate":
            time.sleep(0.01)
        machine.execute("cont")
    shutil.rmtree(directory, ignore_errors=True)
    partial.replace(directory)


def restore(directory: Path, place: Path, stays: bool = False) -> Machine:
    """A server that goes on where the saved one was stopped; it is on.

    Its disks are overlays of the saved ones, which therefore must stay where they are.

    :param place: its directory, made
    :param stays: as for :class:`~lab.simulator.machine.Machine`
    :raise LabError: there is nothing saved, or by another QEMU
    """
    try:
        about = json.loads((directory / _ABOUT).read_text())
    except FileNotFoundError:
        raise LabError(f"{directory}: no server was saved there") from None
    description = directory / files.DESCRIPTION
    saved = server.parse(description.read_text("utf-8"), Path(about["name"]))
    files.continue_from(directory, place, saved)
    (place / _STATE).symlink_to((directory / _STATE).resolve())
    machine = Machine(place, saved, about["accel"], stays)
    machine.start("-incoming", "defer")
    try:
        if machine.execute("query-version") != about["qemu"]:
            raise LabError(f"{directory} was saved by another version of QEMU: save it again")
        _migrate(machine, "migrate-incoming", _RESTORE)
        machine.execute("cont")
    except LabError:
        machine.cut_power()
        raise
    return machine


def _migrate(machine: Machine, command: str, where: str) -> None:
    """QEMU's migration, from or to there."""
    events = {"capability": "events", "state": True}
    machine.execute("migrate-set-capabilities", {"capabilities": [events]})
    machine.execute("migrate-set-parameters", {"max-bandwidth": _BANDWIDTH})
    begin = len(machine.record)
    machine.execute(command, {"uri": where})
    problem = f"{command} has not ended"
    status = machine.await_event(
        "MIGRATION", lambda data: data["status"] in ("completed", "failed"), begin, problem, _SECONDS
    )
    if status["status"] == "failed":
        raise LabError(f"{machine.server.name}: {command} failed: see {machine.directory / files.QEMU_LOG}")
