"""How soon a crashed product is started again, and when no more."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_vmm.config import CrashConfig
from hal_vmm.manager.crashpolicy import LONGEST_BACKOFF, recent, restart_delay

CONFIGS = st.builds(
    CrashConfig,
    limit=st.integers(1, 100),
    window_minutes=st.integers(1, 1440),
    backoff=st.integers(0, 60),
)
TIMES = st.integers(0, 10_000_000).map(float)


def delays(config: CrashConfig, seconds_apart: float = 1.0) -> list[Optional[float]]:
    """The delay after the first crash, the second, … up to the limit."""
    crashes: tuple[float, ...] = ()
    found: list[Optional[float]] = []
    for number in range(config.limit):
        crashes = (*crashes, 1000.0 + number * seconds_apart)
        found.append(restart_delay(crashes, crashes[-1], config))
    return found


def test_delays_double_and_then_it_gives_up() -> None:
    assert delays(CrashConfig(limit=6, backoff=3)) == [0.0, 3.0, 6.0, 12.0, 24.0, None]


def test_delays_are_capped() -> None:
    assert delays(CrashConfig(limit=9, backoff=10))[4:] == [LONGEST_BACKOFF] * 4 + [None]


def test_with_no_backoff_every_restart_is_at_once() -> None:
    assert delays(CrashConfig(limit=4, backoff=0)) == [0.0, 0.0, 0.0, None]


def test_a_limit_of_one_allows_no_restart() -> None:
    assert delays(CrashConfig(limit=1)) == [None]


@pytest.mark.parametrize("number", [100, 1000])
def test_very_many_crashes_do_not_overflow(number: int) -> None:
    config = CrashConfig(limit=100, backoff=60)
    assert restart_delay(tuple(float(second) for second in range(number)), float(number), config) is None
    assert restart_delay((1.0,) * 99, 2.0, config) == LONGEST_BACKOFF


def test_an_old_crash_falls_out_of_the_window_to_the_second() -> None:
    config = CrashConfig(window_minutes=1)
    assert recent((0.0, 1.0, 30.0), 60.0, config) == (1.0, 30.0)
    assert recent((0.0,), 59.999, config) == (0.0,)


def test_crashes_further_apart_than_the_window_go_on_for_ever() -> None:
    config = CrashConfig(limit=2, window_minutes=1)
    assert delays(CrashConfig(limit=50, window_minutes=1), seconds_apart=61.0) == [0.0] * 50
    assert delays(config, seconds_apart=59.0) == [0.0, None]


@given(st.lists(TIMES, max_size=120), TIMES, CONFIGS)
def test_a_delay_is_within_its_bounds_and_none_exactly_at_the_limit(
    crashes: list[float], now: float, config: CrashConfig
) -> None:
    history = tuple(sorted(crash for crash in crashes if crash <= now))
    delay = restart_delay(history, now, config)
    assert (delay is None) == (len(recent(history, now, config)) >= config.limit)
    assert delay is None or 0 <= delay <= LONGEST_BACKOFF


@given(st.lists(TIMES, max_size=30), TIMES, TIMES, CONFIGS)
def test_only_distances_in_time_count(crashes: list[float], now: float, shift: float, config: CrashConfig) -> None:
    moved = tuple(crash + shift for crash in crashes)
    assert restart_delay(moved, now + shift, config) == restart_delay(tuple(crashes), now, config)


@given(st.lists(TIMES, max_size=30), TIMES, CONFIGS)
def test_one_crash_more_never_makes_the_next_start_earlier(
    crashes: list[float], now: float, config: CrashConfig
) -> None:
    before = restart_delay(tuple(crashes), now, config)
    after = restart_delay((*crashes, now), now, config)
    assert after is None or (before is not None and after >= before)
