"""The verdict over the product: above all, everything that must hold before HAL may restart it.

Times are multiples of a quarter of a second, which floats add without error: so the properties can be exact.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hal_vmm.config import HeartbeatConfig
from hal_vmm.manager.verdict import QMP_DEADLINE, Health, Signals, Verdict, judge

HUNG_AFTER = 60.0
QUARTER = 0.25

CONFIG = HeartbeatConfig(transport="agent", interval=60, missed=5, boot_grace=600, fsck_grace=3600)
NOW = 100_000.0
# The product has run for a day and beats every minute; the last beat was just now.
WELL = Signals(
    now=NOW,
    status="running",
    answered=NOW,
    running_since=NOW - 86_000,
    started=NOW - 86_400,
    last_beat=NOW,
    unclean=False,
    maintenance_until=None,
    dumping=False,
    panicked=False,
)


def verdict_of(signals: Signals, config: HeartbeatConfig = CONFIG) -> Verdict:
    return judge(signals, config, HUNG_AFTER).verdict


def silent_for(seconds: float, **others: object) -> Signals:
    """The product's last beat was so long ago; QEMU answers."""
    return replace(WELL, last_beat=NOW - seconds, **others)  # type: ignore[arg-type]  # fields by name


# --- by hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "expected", "missed"),
    [
        (0, Verdict.ALIVE, 0),
        (89.75, Verdict.ALIVE, 0),
        (90, Verdict.MISSING, 1),
        (329.75, Verdict.MISSING, 4),
        (330, Verdict.DEAD, 5),
        (80_000, Verdict.DEAD, 1332),
    ],
)
def test_a_beat_is_missed_when_it_is_half_an_interval_late(seconds: float, expected: Verdict, missed: int) -> None:
    health = judge(silent_for(seconds), CONFIG, HUNG_AFTER)
    assert (health.verdict, health.missed) == (expected, missed)


@pytest.mark.parametrize(
    ("excuse", "why"),
    [
        ({"status": "paused"}, "not running: paused"),
        ({"status": "io-error"}, "not running: io-error"),
        ({"status": ""}, "not running: unknown"),
        ({"panicked": True}, "panicked"),
        ({"dumping": True}, "memory dump"),
        ({"maintenance_until": NOW + 10}, "maintenance mode"),
        ({"maintenance_until": math.inf}, "maintenance mode"),
        ({"started": NOW - 599}, "boot grace"),
    ],
)
def test_each_excuse_keeps_a_silent_product_from_being_restarted(excuse: dict[str, object], why: str) -> None:
    assert judge(silent_for(10_000), CONFIG, HUNG_AFTER).verdict is Verdict.DEAD, "or this test proves nothing"
    health = judge(silent_for(10_000, **excuse), CONFIG, HUNG_AFTER)
    assert (health.verdict, health.why) == (Verdict.EXCUSED, why)


@pytest.mark.parametrize(
    "end",
    [
        {"running_since": NOW - 329},  # resumed
        {"maintenance_until": NOW - 329},
        {"started": NOW - 600 - 329, "running_since": NOW - 929},  # boot grace
    ],
)
def test_after_an_excuse_the_product_gets_all_of_its_missed_beats_anew(end: dict[str, object]) -> None:
    assert verdict_of(silent_for(80_000, **end)) is Verdict.MISSING
    later = replace(silent_for(80_000, **end), now=NOW + 1, answered=NOW + 1)
    assert verdict_of(later) is Verdict.DEAD


def test_a_silent_qemu_is_looked_at_in_time_after_maintenance_that_is_about_to_end() -> None:
    """Also where heartbeats are switched off, so that nothing else reminds of the end of maintenance."""
    signals = replace(silent_for(0), answered=NOW, maintenance_until=NOW + 0.25)
    health = judge(signals, replace(CONFIG, transport="none"), 2.0)
    assert (health.verdict, health.look_again) == (Verdict.EXCUSED, 2.25)


def test_no_heartbeats_no_verdict_where_they_are_switched_off() -> None:
    config = replace(CONFIG, transport="none")
    assert judge(silent_for(80_000), config, HUNG_AFTER).why == "heartbeats are switched off"


def test_auto_demands_beats_only_of_a_product_that_has_sent_one() -> None:
    config = replace(CONFIG, transport="auto")
    assert verdict_of(replace(WELL, last_beat=None), config) is Verdict.WAITING
    assert verdict_of(silent_for(330), config) is Verdict.DEAD


def test_a_product_that_never_beats_is_dead_after_grace_and_its_missed_beats() -> None:
    born = replace(WELL, started=NOW, running_since=NOW, last_beat=None)
    for unclean, grace in ((False, 600), (True, 4200)):
        end = NOW + grace + 330
        before = replace(born, unclean=unclean, now=end - QUARTER, answered=end - QUARTER)
        assert verdict_of(before) is Verdict.MISSING
        assert verdict_of(replace(before, now=end, answered=end)) is Verdict.DEAD


def test_the_file_system_check_is_over_at_the_first_beat() -> None:
    signals = replace(WELL, started=NOW - 1000, running_since=NOW - 1000, last_beat=NOW - 900, unclean=True)
    assert verdict_of(signals) is Verdict.DEAD
    assert verdict_of(replace(signals, last_beat=None)) is Verdict.EXCUSED


def test_qemu_that_does_not_answer_is_shown_and_then_condemned() -> None:
    def ago(seconds: float) -> Signals:
        return replace(WELL, answered=NOW - seconds)

    assert verdict_of(ago(QMP_DEADLINE - QUARTER)) is Verdict.ALIVE
    assert verdict_of(ago(QMP_DEADLINE)) is Verdict.UNRESPONSIVE
    assert verdict_of(ago(HUNG_AFTER)) is Verdict.HUNG
    assert verdict_of(replace(ago(5_000), dumping=True)) is Verdict.UNRESPONSIVE


# --- properties ------------------------------------------------------------------------------------------------------

moments = st.integers(0, 4 * 20_000).map(lambda quarters: quarters * QUARTER)
ages = st.one_of(
    st.integers(0, 4 * 20).map(lambda quarters: quarters * QUARTER),
    st.integers(0, 4 * 20_000).map(lambda quarters: quarters * QUARTER),
)
configs = st.builds(
    HeartbeatConfig,
    transport=st.sampled_from(["auto", "agent", "line", "none"]),
    interval=st.sampled_from([1, 2, 7, 60, 3600]),
    missed=st.integers(2, 6),
    boot_grace=st.sampled_from([0, 1, 5, 600]),
    fsck_grace=st.sampled_from([0, 1, 100, 3600]),
)
hung_afters = st.sampled_from([2.0, 3.0, 4.0, 60.0, 3600.0])


@st.composite
def sights(draw: st.DrawFn) -> Signals:
    """Signals as they can be: nothing but the end of an excuse lies in the future."""
    now = 50_000 + draw(moments)
    # Mostly well, so that the interesting verdicts are not drowned in excuses.
    maintenance = draw(st.sampled_from([None, None, "past", "future", math.inf]))
    until = {"past": now - draw(ages), "future": now + draw(ages)}.get(str(maintenance), maintenance)
    started = now - draw(ages)
    return Signals(
        now=now,
        status=draw(st.sampled_from(["running"] * 6 + ["paused", "prelaunch", "shutdown", "io-error", ""])),
        answered=now - draw(st.one_of(st.just(0.0), ages)),
        running_since=now - draw(ages),
        started=started,
        last_beat=draw(st.one_of(st.none(), ages.map(lambda age: now - age))),
        unclean=draw(st.booleans()),
        maintenance_until=until,  # type: ignore[arg-type]  # "past" and "future" are replaced above
        dumping=draw(st.sampled_from([False] * 5 + [True])),
        panicked=draw(st.sampled_from([False] * 5 + [True])),
        crash_kernel_until=draw(st.sampled_from([None, None, None, now - draw(ages), now + draw(ages)])),
    )


def demanded_silence(config: HeartbeatConfig) -> float:
    """Seconds: every whole interval that may be missed, and half of one for clocks that are not in step."""
    return (config.missed + 0.5) * config.interval


@st.composite
def at_the_limit(draw: st.DrawFn, margins: st.SearchStrategy[int]) -> tuple[Signals, HeartbeatConfig]:
    """A running product without an excuse, whose silence differs from the limit by a margin, in quarters."""
    config = replace(draw(configs), transport=draw(st.sampled_from(["auto", "agent", "line"])))
    now = 1_000_000.0
    beats = config.transport == "auto" or draw(st.booleans())
    unclean = draw(st.booleans())
    grace = config.boot_grace + (config.fsck_grace if unclean and not beats else 0)

    def long_ago() -> float:
        return now - demanded_silence(config) - draw(margins) * QUARTER

    started = long_ago() - grace
    signals = Signals(
        now=now,
        status="running",
        answered=now,
        running_since=max(started, long_ago()),
        started=started,
        last_beat=long_ago() if beats else None,
        unclean=unclean,
        maintenance_until=long_ago() if draw(st.booleans()) else None,
        dumping=False,
        panicked=False,
    )
    return signals, config


any_case = st.one_of(st.tuples(sights(), configs), at_the_limit(st.integers(-3, 3)))


def may_restart(signals: Signals, config: HeartbeatConfig) -> bool:
    """The conditions of a restart as the issue words them, written down a second time and in another way."""
    unclean_start = signals.unclean and signals.last_beat is None
    boots_until = signals.started + config.boot_grace + (config.fsck_grace if unclean_start else 0)
    counted = [signals.running_since, boots_until]
    if signals.last_beat is None:
        counted.append(signals.started)
    else:
        counted.append(signals.last_beat)
    counted += [end for end in (signals.maintenance_until, signals.crash_kernel_until) if end is not None]
    return (
        signals.status == "running"
        and not signals.panicked
        and not signals.dumping
        and signals.now - signals.answered < QMP_DEADLINE
        and config.transport != "none"
        and not (config.transport == "auto" and signals.last_beat is None)
        and all(signals.now - moment >= demanded_silence(config) for moment in counted)
    )


@settings(max_examples=300)
@given(any_case, hung_afters)
def test_a_restart_is_decided_exactly_when_everything_allows_it(
    case: tuple[Signals, HeartbeatConfig], hung_after: float
) -> None:
    signals, config = case
    assume(signals.now - signals.answered < hung_after)
    health = judge(signals, config, hung_after)
    assert (health.verdict is Verdict.DEAD) == may_restart(signals, config)


@given(sights(), configs, hung_afters)
def test_a_kill_is_decided_exactly_when_qemu_is_silent_for_too_long(
    signals: Signals, config: HeartbeatConfig, hung_after: float
) -> None:
    hung = judge(signals, config, hung_after).verdict is Verdict.HUNG
    end_of_maintenance = -math.inf if signals.maintenance_until is None else signals.maintenance_until
    excused = signals.dumping or signals.now < end_of_maintenance
    silent = signals.now - max(signals.answered, end_of_maintenance)
    assert hung == (silent >= hung_after and not excused)


@given(any_case, hung_afters, st.integers(-(10**6), 10**6))
def test_the_clock_does_not_matter_only_distances_do(
    case: tuple[Signals, HeartbeatConfig], hung_after: float, shift: int
) -> None:
    signals, config = case
    moved = replace(
        signals,
        now=signals.now + shift,
        answered=signals.answered + shift,
        running_since=signals.running_since + shift,
        started=signals.started + shift,
        last_beat=None if signals.last_beat is None else signals.last_beat + shift,
        maintenance_until=None if signals.maintenance_until is None else signals.maintenance_until + shift,
        crash_kernel_until=None if signals.crash_kernel_until is None else signals.crash_kernel_until + shift,
    )
    assert judge(moved, config, hung_after) == judge(signals, config, hung_after)


@given(at_the_limit(st.integers(0, 40)), ages)
def test_what_is_dead_stays_dead_while_qemu_answers(case: tuple[Signals, HeartbeatConfig], later: float) -> None:
    signals, config = case
    assert verdict_of(signals, config) is Verdict.DEAD
    then = replace(signals, now=signals.now + later, answered=signals.answered + later)
    assert verdict_of(then, config) is Verdict.DEAD


@settings(max_examples=300)
@given(any_case, hung_afters, st.integers(0, 1000))
def test_look_again_is_never_too_late(
    case: tuple[Signals, HeartbeatConfig], hung_after: float, thousandths: int
) -> None:
    signals, config = case
    health = judge(signals, config, hung_after)
    wait = health.look_again
    if wait is None:
        wait = 100_000.0  # never
    assert wait > 0
    # A moment before it, on the grid of quarters of a second that all times here are on.
    quarters = math.ceil(wait / QUARTER) - 1
    then = replace(signals, now=signals.now + quarters * thousandths // 1000 * QUARTER)
    assert judge(then, config, hung_after).verdict is health.verdict


@given(at_the_limit(st.integers(-12, -1)), hung_afters)
def test_whoever_looks_only_when_told_to_finds_the_product_dead_at_the_very_moment(
    case: tuple[Signals, HeartbeatConfig], hung_after: float
) -> None:
    signals, config = case
    now = signals.now
    while True:  # ends: every wait is at least a quarter, and three seconds later the product is dead
        current = replace(signals, now=now, answered=now)
        health = judge(current, config, hung_after)
        if health.verdict is Verdict.DEAD:
            break
        assert health.look_again is not None
        assert health.look_again >= QUARTER
        now += health.look_again
    assert now > signals.now
    assert not may_restart(replace(current, now=now - QUARTER, answered=now - QUARTER), config)


@given(any_case, hung_afters)
def test_every_verdict_is_explained(case: tuple[Signals, HeartbeatConfig], hung_after: float) -> None:
    signals, config = case
    health = judge(signals, config, hung_after)
    assert isinstance(health, Health)
    assert bool(health.why) == (health.verdict is not Verdict.ALIVE)
    assert "\n" not in health.why
    assert health.missed >= 0


@pytest.mark.parametrize("wanted", list(Verdict))
def test_every_verdict_is_reached_by_some_signals(wanted: Verdict) -> None:
    reached = {
        verdict_of(WELL),
        verdict_of(replace(WELL, last_beat=None), replace(CONFIG, transport="auto")),
        verdict_of(replace(WELL, panicked=True)),
        verdict_of(silent_for(91)),
        verdict_of(silent_for(331)),
        verdict_of(replace(WELL, answered=NOW - 4)),
        verdict_of(replace(WELL, answered=NOW - 61)),
    }
    assert wanted in reached
