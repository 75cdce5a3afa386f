"""Reason → outcome: a server is rebooted or powered off only when the product itself has asked for that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_vmm.manager import exitreason
from hal_vmm.manager.exitreason import Outcome, is_clean, outcome

# Every value of QEMU's ShutdownCause (qapi/run-state.json of QEMU 10), and what HAL does about it.
QEMU_CAUSES = {
    "none": Outcome.CRASH_RESTART,
    "host-error": Outcome.CRASH_RESTART,
    "host-qmp-quit": Outcome.CRASH_RESTART,
    "host-qmp-system-reset": Outcome.RESTART,
    "host-signal": Outcome.CRASH_RESTART,
    "host-ui": Outcome.CRASH_RESTART,
    "guest-shutdown": Outcome.HOST_POWEROFF,
    "guest-reset": Outcome.HOST_REBOOT,
    "guest-panic": Outcome.DUMP_AND_RESTART,
    "subsystem-reset": Outcome.CRASH_RESTART,
    "snapshot-load": Outcome.CRASH_RESTART,
}
HAL_REASONS = {
    "qemu-died": Outcome.CRASH_RESTART,
    "not-started": Outcome.CRASH_RESTART,
    "qemu-hung": Outcome.CRASH_RESTART,
    "heartbeats-missed": Outcome.CRASH_RESTART,
    "guest-panic": Outcome.DUMP_AND_RESTART,
    "watchdog": Outcome.CRASH_RESTART,
    "stopped": Outcome.STAY_STOPPED,
}
KNOWN = {**QEMU_CAUSES, **HAL_REASONS}
TO_THE_HOST = (Outcome.HOST_REBOOT, Outcome.HOST_POWEROFF)


@pytest.mark.parametrize(("reason", "expected"), KNOWN.items())
def test_every_reason_has_its_outcome(reason: str, expected: Outcome) -> None:
    assert outcome(reason) is expected


def test_hals_own_reasons_are_the_ones_in_the_table_above() -> None:
    names = ("DIED", "NOT_STARTED", "HUNG", "SILENT", "PANIC", "WATCHDOG", "STOPPED")
    assert {getattr(exitreason, name) for name in names} == set(HAL_REASONS)


def test_the_host_follows_only_the_products_own_request() -> None:
    assert [reason for reason in KNOWN if outcome(reason) in TO_THE_HOST] == ["guest-shutdown", "guest-reset"]


@given(st.text().filter(lambda text: text not in KNOWN))
def test_an_unknown_reason_is_a_crash_and_counts_as_one(reason: str) -> None:
    assert outcome(reason) is Outcome.CRASH_RESTART
    assert not is_clean(reason)


@pytest.mark.parametrize("almost", ["Guest-Reset", "guest-reset ", "guest_reset", "", "guest", "reset"])
def test_what_only_resembles_a_request_is_none(almost: str) -> None:
    assert outcome(almost) not in TO_THE_HOST


@given(st.sampled_from(sorted(KNOWN)) | st.text())
def test_a_wanted_stop_wins_over_every_reason(reason: str) -> None:
    assert outcome(reason, stop_wanted=True) is Outcome.STAY_STOPPED


def test_only_an_end_that_the_product_prepared_is_clean() -> None:
    assert {reason for reason in KNOWN if is_clean(reason)} == {"guest-shutdown", "guest-reset", "stopped"}
