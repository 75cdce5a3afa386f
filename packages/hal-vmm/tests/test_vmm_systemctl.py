"""What the guest manager asks of systemd, with a systemctl in its place that only looks at how it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Callable

import pytest

from hal_core.errors import HostError
from hal_vmm.manager.host import RealHost
from hal_vmm.manager.starter import UnitStarter

STEPS: list[Callable[[], Coroutine[None, None, None]]] = [
    lambda: UnitStarter().plan(),
    lambda: UnitStarter().start(),
    lambda: RealHost().reboot("for a test"),
    lambda: RealHost().power_off("for a test"),
]


def install(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = directory / "systemctl"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


@pytest.mark.parametrize("step", STEPS)
def test_systemctl_cannot_speak_in_the_managers_name(
    step: Callable[[], Coroutine[None, None, None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, 'echo "called" >> "$0.log"; test -z "${NOTIFY_SOCKET+set}"', monkeypatch)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    asyncio.run(step())
    assert (tmp_path / "systemctl.log").read_text() == "called\n"


@pytest.mark.parametrize("step", STEPS)
def test_what_systemctl_complains_about_is_passed_on(
    step: Callable[[], Coroutine[None, None, None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "echo 'Access denied' >&2; exit 4", monkeypatch)
    with pytest.raises(HostError, match="Access denied"):
        asyncio.run(step())
