"""What the guest manager does next, for every sight there can be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_vmm.manager import exitreason
from hal_vmm.manager.decision import Sight, Step, end_reason, next_step
from hal_vmm.manager.eventjournal import History
from hal_vmm.manager.exitreason import Outcome, outcome
from hal_vmm.manager.verdict import Verdict

NOTHING = History()
REBOOT = History(end="guest-reset")
PANICKED = History(panicked=True)

# The product runs and is well.
RUNNING = Sight(
    now=1000.0,
    alive=True,
    connected=True,
    status="running",
    history=NOTHING,
    run_known=True,
    answered_once=True,
    condemned="",
    dump_wanted=True,
    dumping=False,
    stopped=False,
    rescue=False,
    host_is_ending=False,
    start_at=0.0,
    verdict=Verdict.ALIVE,
)
GONE = replace(RUNNING, alive=False, connected=False, status="")
ABSENT = replace(GONE, run_known=False)  # there is no run, and none that is not concluded


@pytest.mark.parametrize(
    ("sight", "step"),
    [
        (RUNNING, Step.WAIT),
        (ABSENT, Step.START),
        (replace(ABSENT, start_at=1000.0), Step.START),
        (replace(ABSENT, start_at=1000.25), Step.WAIT),
        (replace(ABSENT, stopped=True), Step.WAIT),
        (replace(ABSENT, rescue=True), Step.WAIT),
        (replace(ABSENT, host_is_ending=True), Step.WAIT),
        (replace(RUNNING, connected=False, status=""), Step.CONNECT),
        (replace(RUNNING, status="prelaunch"), Step.RELEASE),
        (replace(RUNNING, status="paused"), Step.WAIT),
        (replace(RUNNING, verdict=Verdict.HUNG), Step.KILL_HUNG),
        (replace(RUNNING, verdict=Verdict.HUNG, connected=False), Step.KILL_HUNG),
        (replace(RUNNING, verdict=Verdict.DEAD), Step.KILL_SILENT),
        (replace(RUNNING, verdict=Verdict.DEAD, stopped=True), Step.WAIT),  # it is being stopped politely
        (replace(RUNNING, verdict=Verdict.MISSING), Step.WAIT),
        (replace(RUNNING, verdict=Verdict.UNRESPONSIVE), Step.WAIT),
        (GONE, Step.CONCLUDE),
        (replace(RUNNING, history=REBOOT), Step.CONCLUDE),
        (replace(RUNNING, status="watchdog"), Step.CONCLUDE),
        (replace(RUNNING, status="internal-error"), Step.CONCLUDE),
        (replace(RUNNING, history=PANICKED), Step.DUMP),
        (replace(RUNNING, status="guest-panicked"), Step.DUMP),
        (replace(RUNNING, history=PANICKED, connected=False), Step.CONNECT),
        (replace(RUNNING, history=PANICKED, dumping=True), Step.WAIT),
        (replace(RUNNING, history=PANICKED, dump_wanted=False), Step.CONCLUDE),
        (replace(RUNNING, history=PANICKED, verdict=Verdict.HUNG), Step.CONCLUDE),
        (replace(GONE, history=PANICKED), Step.CONCLUDE),
        (replace(RUNNING, run_known=False, history=REBOOT), Step.WAIT),  # concluded; QEMU is still on its way out
        (replace(RUNNING, run_known=False, verdict=Verdict.DEAD), Step.WAIT),
        (replace(RUNNING, run_known=False, verdict=Verdict.HUNG), Step.WAIT),
    ],
)
def test_each_sight_has_its_step(sight: Sight, step: Step) -> None:
    assert next_step(sight) is step


@pytest.mark.parametrize(
    ("sight", "reason"),
    [
        (RUNNING, None),
        (ABSENT, None),
        (GONE, exitreason.DIED),
        (replace(GONE, answered_once=False), exitreason.NOT_STARTED),
        (replace(GONE, condemned=exitreason.HUNG), exitreason.HUNG),
        (replace(GONE, condemned=exitreason.SILENT), exitreason.SILENT),
        (replace(RUNNING, condemned=exitreason.HUNG), exitreason.HUNG),
        (replace(GONE, history=REBOOT), "guest-reset"),
        (replace(GONE, history=REBOOT, condemned=exitreason.SILENT), "guest-reset"),
        (replace(GONE, history=REBOOT, answered_once=False), "guest-reset"),
        (replace(GONE, history=PANICKED, condemned=exitreason.HUNG), exitreason.PANIC),
        (replace(RUNNING, status="guest-panicked"), exitreason.PANIC),
        (replace(RUNNING, status="watchdog"), exitreason.WATCHDOG),
        (replace(RUNNING, status="internal-error"), "host-error"),
        (replace(GONE, run_known=False, history=REBOOT), None),
    ],
)
def test_why_the_run_has_ended(sight: Sight, reason: object) -> None:
    assert end_reason(sight) == reason


def test_a_panic_is_dumped_first_and_concluded_then() -> None:
    """The steps of a panic one after the other, as the manager's memory changes with them."""
    seen = replace(RUNNING, history=PANICKED, connected=False)
    assert next_step(seen) is Step.CONNECT
    seen = replace(seen, connected=True)
    assert next_step(seen) is Step.DUMP
    seen = replace(seen, dumping=True)
    assert next_step(seen) is Step.WAIT
    seen = replace(seen, dumping=False, dump_wanted=False)
    assert next_step(seen) is Step.CONCLUDE
    seen = replace(seen, run_known=False)
    assert next_step(seen) is Step.WAIT
    assert next_step(replace(seen, alive=False, connected=False, status="")) is Step.START


# --- properties ------------------------------------------------------------------------------------------------------

STATUSES = [
    "debug",
    "inmigrate",
    "internal-error",
    "io-error",
    "paused",
    "postmigrate",
    "prelaunch",
    "finish-migrate",
    "restore-vm",
    "running",
    "save-vm",
    "shutdown",
    "suspended",
    "watchdog",
    "guest-panicked",
    "colo",
]  # every RunState of qapi/run-state.json
histories = st.builds(
    History,
    end=st.sampled_from(["", "", "guest-reset", "guest-shutdown", "host-qmp-quit", "host-signal", "unknown"]),
    panicked=st.booleans(),
    watchdog=st.booleans(),
    crash_kernel=st.booleans(),
)
any_sight = st.builds(
    Sight,
    now=st.just(1000.0),
    alive=st.booleans(),
    connected=st.booleans(),
    status=st.sampled_from(["", "running", "unheard-of", *STATUSES]),
    history=st.one_of(st.just(NOTHING), histories),
    run_known=st.booleans(),
    answered_once=st.booleans(),
    condemned=st.sampled_from(["", "", exitreason.HUNG, exitreason.SILENT]),
    dump_wanted=st.booleans(),
    dumping=st.booleans(),
    stopped=st.booleans(),
    rescue=st.booleans(),
    host_is_ending=st.booleans(),
    start_at=st.sampled_from([0.0, 1000.0, 1000.25]),
    verdict=st.sampled_from(list(Verdict)),
)
known_runs = any_sight.map(lambda sight: replace(sight, run_known=True))
ended_runs = known_runs.filter(lambda sight: end_reason(sight) is not None)
KILLS = (Step.KILL_HUNG, Step.KILL_SILENT)


@given(any_sight)
def test_every_sight_gives_one_step_and_the_same_again(sight: Sight) -> None:
    assert isinstance(next_step(sight), Step)
    assert next_step(replace(sight)) is next_step(sight)


@given(any_sight)
def test_qemu_is_started_exactly_when_nothing_speaks_against_it(sight: Sight) -> None:
    held = sight.stopped or sight.rescue or sight.host_is_ending or sight.now < sight.start_at
    allowed = not sight.alive and not sight.run_known and not held
    assert (next_step(sight) is Step.START) == allowed


@given(any_sight)
def test_nothing_is_killed_without_its_verdict_or_after_its_end(sight: Sight) -> None:
    step = next_step(sight)
    if step in KILLS:
        assert sight.alive
        assert sight.run_known
        assert not sight.history.end
        assert not sight.history.panicked
        assert not sight.condemned
        assert sight.verdict is (Verdict.HUNG if step is Step.KILL_HUNG else Verdict.DEAD)


@given(any_sight)
def test_only_a_qemu_that_is_there_and_connected_is_told_anything(sight: Sight) -> None:
    if next_step(sight) in (Step.RELEASE, Step.DUMP, Step.KILL_SILENT):
        assert sight.alive
        assert sight.connected
    if next_step(sight) is Step.CONNECT:
        assert sight.alive
        assert not sight.connected


@given(ended_runs.filter(lambda sight: next_step(sight) is Step.CONCLUDE))
def test_a_run_is_concluded_once(sight: Sight) -> None:
    """Concluding makes the run unknown, and a run that is not known is not concluded."""
    assert end_reason(replace(sight, run_known=False)) is None
    assert next_step(replace(sight, run_known=False)) in (Step.WAIT, Step.START)


@given(ended_runs)
def test_an_ended_run_is_not_kept_waiting_but_for_its_dump(sight: Sight) -> None:
    step = next_step(sight)
    if step is not Step.CONCLUDE:
        assert end_reason(sight) == exitreason.PANIC
        assert sight.alive
        assert sight.dump_wanted
        assert step in (Step.DUMP, Step.CONNECT, Step.WAIT)
        assert (step is Step.WAIT) == sight.dumping


@given(known_runs, st.sampled_from(["guest-reset", "guest-shutdown", "host-qmp-quit"]))
def test_what_the_product_asked_for_is_never_forgotten(known: Sight, end: str) -> None:
    sight = replace(known, history=replace(known.history, panicked=False, end=end))
    assert end_reason(sight) == end
    assert next_step(sight) is Step.CONCLUDE


@given(any_sight)
def test_the_host_is_never_ended_on_account_of_anything_but_the_journal(sight: Sight) -> None:
    reason = end_reason(replace(sight, history=replace(sight.history, end="")))
    assert reason is None or outcome(reason) not in (Outcome.HOST_REBOOT, Outcome.HOST_POWEROFF)


@given(any_sight)
def test_steps_are_safe_to_repeat(sight: Sight) -> None:
    """What a step brings about leads away from it: no step asks for itself again once it has worked."""
    step = next_step(sight)
    done = {
        Step.WAIT: sight,
        Step.START: replace(sight, alive=True, run_known=True),
        Step.CONNECT: replace(sight, connected=True),
        Step.RELEASE: replace(sight, status="running"),
        Step.KILL_HUNG: replace(sight, condemned=exitreason.HUNG),
        Step.KILL_SILENT: replace(sight, condemned=exitreason.SILENT),
        Step.DUMP: replace(sight, dumping=True),
        Step.CONCLUDE: replace(sight, run_known=False),
    }[step]
    assert step is Step.WAIT or next_step(done) is not step
