"""The guest's state in words: what people read at 3 a.m. must be the thing that matters most."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_vmm.manager.decision import Sight
from hal_vmm.manager.describe import describe, is_news, rescue_text
from hal_vmm.manager.eventjournal import History
from hal_vmm.manager.verdict import Health, Verdict

RUNNING = Sight(
    now=1000.0,
    alive=True,
    connected=True,
    status="running",
    history=History(),
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
WELL = Health(Verdict.ALIVE)
HUNG = Health(Verdict.HUNG, why="no answer for 61 s")
SILENT = Health(Verdict.UNRESPONSIVE, why="no answer for 4 s")
GIVEN_UP = rescue_text(5, 30, "qemu-died: out of memory")


@pytest.mark.parametrize(
    ("sight", "health", "ending", "rescue", "expected"),
    [
        (RUNNING, WELL, "", None, ("running", "")),
        (
            RUNNING,
            Health(Verdict.MISSING, 2, "2 of 5 heartbeats missed"),
            "",
            None,
            ("running", "2 of 5 heartbeats missed"),
        ),
        (replace(RUNNING, status=""), WELL, "", None, ("starting", "")),
        (replace(RUNNING, status="prelaunch"), WELL, "", None, ("starting", "")),
        (replace(RUNNING, status="paused"), WELL, "", None, ("paused", "")),
        (replace(RUNNING, status="io-error"), WELL, "", None, ("disk error", "")),
        (replace(RUNNING, status="suspended"), WELL, "", None, ("suspended", "")),
        (replace(RUNNING, status="colo"), WELL, "", None, ("colo", "")),
        (RUNNING, SILENT, "", None, ("not answering", "QEMU: no answer for 4 s")),
        (RUNNING, HUNG, "", None, ("not answering", "QEMU: no answer for 61 s")),
        (replace(RUNNING, status=""), SILENT, "", None, ("not answering", "QEMU: no answer for 4 s")),
        (replace(RUNNING, stopped=True), WELL, "", None, ("stopping", "hal vmm stop")),
        (GONE, WELL, "", None, ("starting", "")),
        (replace(GONE, start_at=1003.5), WELL, "", None, ("restarting", "crashed; next start in 4 s")),
        (replace(GONE, stopped=True), WELL, "", None, ("stopped", "hal vmm stop; start it again with: hal vmm start")),
        (GONE, WELL, "reboot", None, ("host reboot", "asked for by the product")),
        (RUNNING, HUNG, "power-off", GIVEN_UP, ("host power-off", "asked for by the product")),
        (GONE, WELL, "", GIVEN_UP, ("rescue", GIVEN_UP.splitlines()[0])),
        (replace(GONE, stopped=True), WELL, "", GIVEN_UP, ("rescue", GIVEN_UP.splitlines()[0])),
        (GONE, WELL, "", "", ("rescue", "too many crashes")),
    ],
)
def test_the_state_in_words(
    sight: Sight, health: Health, ending: str, rescue: Optional[str], expected: tuple[str, str]
) -> None:
    assert describe(sight, health, ending, rescue) == expected


def test_a_dump_is_shown_for_as_long_as_it_is_written() -> None:
    state, why = describe(replace(RUNNING, status="guest-panicked", dumping=True), WELL, "", None)
    assert state == "dumping"
    assert "panicked" in why


@given(
    st.sampled_from([RUNNING, GONE]),
    st.text(max_size=5),
    st.booleans(),
    st.booleans(),
    st.sampled_from([WELL, SILENT, HUNG]),
    st.sampled_from(["", "reboot", "power-off"]),
    st.sampled_from([None, "", GIVEN_UP]),
)
def test_running_is_said_only_of_a_product_that_runs(
    sight: Sight, status: str, stopped: bool, dumping: bool, health: Health, ending: str, rescue: Optional[str]
) -> None:
    seen = replace(sight, status=status if status else sight.status, stopped=stopped, dumping=dumping)
    state, why = describe(seen, health, ending, rescue)
    assert state
    assert "\n" not in why
    if state == "running":
        assert seen.alive
        assert seen.status == "running"
        assert (ending, stopped, dumping) == ("", False, False)
        assert rescue is None
        assert health is WELL


def test_the_rescue_text_says_what_happened_and_what_to_do() -> None:
    first, *others = GIVEN_UP.splitlines()
    assert first == "The product has crashed 5 times within 30 minutes; it is not started again."
    assert others[0] == "Last crash: qemu-died: out of memory"
    assert others[-1] == "Try again with: hal vmm start"


def test_a_silent_qemu_is_news_once_and_not_every_second() -> None:
    """The manager looks every second: without this, an hour of silence would be 3600 lines of the journal."""
    later = replace(SILENT, why="no answer for 59 s")
    running, silent, still = (describe(RUNNING, health, "", None) for health in (WELL, SILENT, later))
    assert is_news(running, silent)
    assert still != silent
    assert not is_news(silent, still)
    assert is_news(still, running)


def test_every_missed_heartbeat_is_news() -> None:
    first, second = (
        describe(RUNNING, Health(Verdict.MISSING, missed, f"{missed} of 3 heartbeats missed"), "", None)
        for missed in (1, 2)
    )
    assert is_news(first, second)
