"""Stories side by side share this machine's processors."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from lab import processors
from lab.simulator import server


def free(lock: Path, how: int) -> bool:
    """Whether somebody else could have it now."""
    with open(lock) as file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_servers_with_one_processor_run_beside_each_other(tmp_path: Path) -> None:
    lock = tmp_path / "kept/lock"
    with processors.taken(server.named("one-u"), lock):
        assert free(lock, fcntl.LOCK_SH)
        assert not free(lock, fcntl.LOCK_EX)
    assert free(lock, fcntl.LOCK_EX)


def test_a_server_with_several_is_alone(tmp_path: Path) -> None:
    assert processors.several(server.named("numa"))
    with processors.taken(server.named("numa"), tmp_path / "lock"):
        assert not free(tmp_path / "lock", fcntl.LOCK_SH)


@pytest.mark.parametrize(
    ("processors_here", "gibibytes", "stories"), [(2, 24, 2), (16, 24, 6), (8, 4, 1), (1, 64, 1), (2, 1, 1)]
)
def test_as_many_as_processors_and_memory_allow(
    processors_here: int, gibibytes: int, stories: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors_here)))
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gibibytes << 18}.__getitem__)
    assert processors.stories_at_a_time() == stories
