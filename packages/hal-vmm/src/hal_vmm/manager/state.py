"""What the guest manager remembers, in ``<run>/vmm/state.json``: for itself, and for ``hal vmm status``.

All times are monotonic seconds (CLOCK_MONOTONIC), so a stepped clock changes nothing; they mean something only within
one boot, which ``boot_id`` names.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field, fields
from typing import Any, Optional

from hal_core import atomic

logger = logging.getLogger(__name__)

VERSION = 1


@dataclass
class State:
    """Mutable on purpose: the manager's one memory. Saved after every change."""

    version: int = VERSION
    boot_id: str = ""
    manager_pid: int = 0
    state: str = "starting"  # for people: one word or two, see manager.describe
    why: str = ""
    qemu_pid: Optional[int] = None
    run_known: bool = False  # a run that is not concluded
    answered_once: bool = False
    started: float = 0.0
    last_beat: Optional[float] = None
    beats: dict[str, int] = field(default_factory=dict)  # transport → heartbeats in this run
    unclean: bool = False  # the run before did not end cleanly
    condemned: str = ""
    dumped: bool = False
    crash_kernel_since: Optional[float] = None
    crashes: list[float] = field(default_factory=list)
    start_at: float = 0.0
    host_is_ending: str = ""  # "reboot" or "power-off", once the product has asked for it
    qmp: str = ""  # "answering", "not answering", "not connected"
    guest_status: str = ""  # QEMU's run state
    missed: int = 0  # heartbeats
    pinning: list[dict[str, object]] = field(default_factory=list)
    last_exit: dict[str, object] = field(default_factory=dict)


def boot_id() -> str:
    """The kernel's random name for this boot (random(4), /proc/sys/kernel/random/boot_id)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def state_path(run_dir: str) -> str:
    return os.path.join(run_dir, "vmm", "state.json")


def load(run_dir: str) -> State:
    """The state that an earlier manager of this boot left; a fresh one where there is none, or it is not usable."""
    path = state_path(run_dir)
    fresh = State(boot_id=boot_id())
    try:
        with open(path, encoding="utf-8") as file:
            saved = json.load(file)
        return _from_json(saved) if saved["boot_id"] == fresh.boot_id and saved["version"] == VERSION else fresh
    except FileNotFoundError:
        return fresh
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s is damaged and is made anew: %s", path, error)
        return fresh


def to_text(state: State) -> str:
    # Not asdict(), which copies every value, and no indent, for which json has no code in C: this happens every second.
    return json.dumps(vars(state)) + "\n"


def save(run_dir: str, text: str) -> None:
    """:param text: from :func:`to_text`."""
    atomic.write(state_path(run_dir), text)


def _from_json(saved: dict[str, Any]) -> State:
    """:raise TypeError: a value of another type than ours."""
    default = State()
    known = {entry.name: saved[entry.name] for entry in fields(State) if entry.name in saved}
    for name, value in known.items():
        if not _fits(value, getattr(default, name)):
            raise TypeError(f"{name} = {value!r}")
    return State(**known)


def _fits(value: object, default: object) -> bool:
    """Whether a saved value is of the default's type; where the default is None it is a number."""
    if default is None:
        return value is None or isinstance(value, (int, float))
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))
