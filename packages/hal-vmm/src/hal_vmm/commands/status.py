"""``hal-vmm status``: from the state file alone, with almost no imports, because people and scripts ask often.

Nothing is asked of QEMU or the manager, so it also answers when both are dead, and says so.
"""

from __future__ import annotations

import os
import sys
import time

from hal_core import paths, quickjson
from hal_core.errors import FileFormatError, UsageError

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from typing import Any

USAGE = """\
usage: hal-vmm status [--json]

Tell how the product is doing: state, uptime, why it last ended, heartbeats, pinning, what is held back from it.
Exit status: 0 the product runs, 3 it does not (as systemctl status has it).

examples:
  hal vmm status
  hal vmm status --json | jq .state
"""
NOT_RUNNING = 3

_NUMBER = (int, float)
_NONE = type(None)
# What is read from the state file: see hal_vmm.manager.state, whose import would cost more than all of this.
_TYPES: dict[str, Any] = {
    "manager_pid": int,
    "qemu_pid": (int, _NONE),
    "state": str,
    "why": str,
    "qmp": str,
    "run_known": bool,
    "started": _NUMBER,
    "last_beat": (*_NUMBER, _NONE),
    "beats": dict,
    "missed": int,
    "crashes": list,
    "last_exit": dict,
    "pinning": list,
}


def main(arguments: list[str]) -> int:
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        return 0
    if arguments not in ([], ["--json"]):
        raise UsageError(f"status: unknown argument {arguments[0]}", "see: hal-vmm status --help")
    status = collect(paths.run_dir(), time.monotonic())
    if arguments:
        import json

        print(json.dumps(status, indent=2))
    else:
        sys.stdout.write(render(status))
    return 0 if status["state"] == "running" else NOT_RUNNING


def collect(run_dir: str, now: float) -> dict[str, Any]:
    """The status as one JSON-able value.

    :param now: monotonic seconds.
    :raise FileFormatError: the state file is damaged.
    """
    path = os.path.join(run_dir, "vmm", "state.json")
    saved = _read(path)
    plan = _read(os.path.join(run_dir, "plan.json"))
    maintenance = _maintenance(os.path.join(run_dir, "vmm", "maintenance"), now)
    if not saved:
        return {
            "state": "unknown",
            "why": "the guest manager has not run since this host booted",
            "manager": "not running",
            "maintenance": maintenance,
            "held_back": plan.get("held_back", []),
        }
    wrong = [key for key, types in _TYPES.items() if not isinstance(saved.get(key, ...), types)]
    if wrong:
        raise _damaged(path, f"{', '.join(wrong)} missing or wrong")
    manager = _is_there(saved["manager_pid"])
    qemu = bool(saved["qemu_pid"]) and _is_there(saved["qemu_pid"])
    why = saved["why"] if manager else "as last seen by the guest manager, which is not running now"
    last_beat = saved["last_beat"]
    state = saved["state"] if manager or qemu else "unknown"
    return {
        # Between the end of QEMU and the manager's next look the saved state is a moment old.
        "state": "ended" if state == "running" and not qemu else state,
        "why": why,
        "manager": f"running, pid {saved['manager_pid']}" if manager else "not running",
        "qemu_pid": saved["qemu_pid"] if qemu else None,
        "qmp": saved["qmp"],
        "uptime_seconds": round(now - saved["started"], 1) if qemu and saved["run_known"] else None,
        "heartbeats": saved["beats"],
        "last_heartbeat_seconds": None if last_beat is None else round(now - last_beat, 1),
        "missed": saved["missed"],
        "maintenance": maintenance,
        "crashes": len(saved["crashes"]),
        "last_exit": saved["last_exit"],
        "pinning": saved["pinning"],
        "held_back": plan.get("held_back", []),
    }


def render(status: dict[str, Any]) -> str:
    """The status for people."""
    why = f" ({status['why']})" if status["why"] else ""
    rows = [("state", status["state"] + why), ("guest manager", status["manager"])]
    if "qmp" in status:
        rows += _render_run(status)
    rows.append(("maintenance", status["maintenance"]))
    held = [f"{item['what']}: {item['reason']}" for item in status["held_back"]]
    rows.append(("held back", held[0] if held else "nothing"))
    rows += [("", text) for text in held[1:]]
    return "".join(f"{name:<14} {text}".rstrip() + "\n" for name, text in rows)


def _render_run(status: dict[str, Any]) -> list[tuple[str, str]]:
    uptime, last = status["uptime_seconds"], status["last_exit"]
    beats = ", ".join(f"{count} by {name}" for name, count in status["heartbeats"].items())
    if beats and status["last_heartbeat_seconds"] is not None:
        beats += f", the last {status['last_heartbeat_seconds']:.0f} s ago"
    missed = f", {status['missed']} missed" if status["missed"] else ""
    pins = status["pinning"]
    loose = [pin.get("vcpu") for pin in pins if pin.get("actual") != [pin.get("cpu")]]
    pinned = f"{len(pins) - len(loose)} of {len(pins)} vCPUs on their cores" if pins else "no vCPU is pinned"
    ended = f"{last.get('reason')} → {last.get('outcome')}, {last.get('time')}" if last else "none known"
    if last.get("detail"):
        ended += f" ({last['detail']})"
    return [
        ("QEMU", f"pid {status['qemu_pid']}, {status['qmp']}" if status["qemu_pid"] else "not running"),
        ("uptime", "-" if uptime is None else _duration(uptime)),
        ("heartbeats", (beats or "none in this run") + missed),
        ("pinning", pinned + (f"; not: {loose}" if loose else "")),
        ("crashes", f"{status['crashes']} that still count"),
        ("last exit", ended),
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{value} {unit}" for value, unit in parts if value]
    return " ".join(shown[:2]) or "0 s"


def _maintenance(path: str, now: float) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            until = float(file.read())
    except FileNotFoundError:
        return "off"
    except ValueError:
        return "on"
    if until <= now:
        return "off"
    return "on" if not until < float("inf") else f"on for another {_duration(until - now)}"


def _read(path: str) -> dict[str, Any]:
    """A JSON object from a file; {} where there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            value = quickjson.loads(file.read())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(value, dict):
        raise _damaged(path, "not a JSON object")
    return value


def _damaged(path: str, how: str) -> FileFormatError:
    writer = "systemctl restart hal-vmm.service" if path.endswith("state.json") else "hal-vmm apply"
    return FileFormatError(f"{path} is damaged: {how}", f"write it anew with: {writer}")


def _is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
