"""What the resident decides between two looks: which cable to show, what to try again and when, and what to tell."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal_core import atomic
from hal_core.patience import FIRST_SECONDS, LONGEST_SECONDS, Patience
from hal_netcfg.engine import Sight
from hal_netcfg.links.action import Create
from hal_netcfg.links.apply import Outcome
from hal_netcfg.links.link import Link
from hal_netcfg.plan.network import Bond, HostLink, Lan, Network, Port, Problem
from hal_netcfg.resident import mirror
from hal_netcfg.resident.mirror import GAP_SECONDS, Shown
from hal_netcfg.resident.report import FIREWALL, NETWORK, Report

# --- cables -----------------------------------------------------------------------------------------------------------

PORT = Port("eno1", "00:1b:21:00:00:01", "02:1b:21:00:00:01")
LAN = Lan(0, PORT.mac, "bridge", (PORT,))
NIC = Link("eno1", 1, master="hallan0", up=True, carrier=True)


@pytest.mark.parametrize(
    ("lan", "links", "carrier"),
    [
        (LAN, [NIC], True),
        (LAN, [replace(NIC, carrier=False)], False),
        (LAN, [replace(NIC, master="")], False),
        (LAN, [replace(NIC, master="hallan1")], False),
        (LAN, [], False),
        (replace(LAN, ports=()), [NIC], False),
        (replace(LAN, mode="macvtap"), [replace(NIC, master="")], False),
        (replace(LAN, mode="macvtap"), [replace(NIC, master=""), Link("haltap0", 2, lower="eno1")], True),
        (
            replace(LAN, mode="macvtap"),
            [replace(NIC, master="", carrier=False), Link("haltap0", 2, lower="eno1")],
            False,
        ),
        (replace(LAN, bond=Bond("802.3ad", "slow", 100, 0, ())), [replace(NIC, master="halbond0")], False),
        (
            replace(LAN, bond=Bond("802.3ad", "slow", 100, 0, ())),
            [replace(NIC, master="halbond0"), Link("halbond0", 2, master="hallan0", carrier=True)],
            True,
        ),
    ],
)
def test_a_cable_is_plugged_in_when_a_frame_gets_to_it(lan: Lan, links: list[Link], carrier: bool) -> None:
    assert mirror.carriers(Network((lan,), HostLink()), {link.name: link for link in links}) == {0: carrier}


def test_what_a_new_qemu_is_told_and_what_it_knows_already() -> None:
    assert mirror.decide({0: True, 1: False}, {}, 5.0) == mirror.Decision({0: True, 1: False}, math.inf)
    assert mirror.decide({0: True}, {0: Shown(True, 0.0)}, 5.0) == mirror.Decision({}, math.inf)
    assert mirror.decide({0: False}, {0: Shown(True, 0.0)}, 5.0) == mirror.Decision({0: False}, math.inf)


def test_what_comes_too_soon_is_shown_later() -> None:
    assert mirror.decide({0: False, 1: False}, {0: Shown(True, 5.0), 1: Shown(True, 4.9)}, 5.05) == mirror.Decision(
        {}, 4.9 + GAP_SECONDS
    )


# The pauses between two changes of a cable, in seconds: flapping, and resting in between.
PAUSES = st.lists(st.sampled_from((0.001, 0.03, 0.1, 0.19, 0.2, 0.21, 1.0)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(0, 2), PAUSES, min_size=1))
def test_a_flapping_cable_is_shown_in_the_end_and_not_too_often(history: dict[int, list[float]]) -> None:
    """Time passes as the loop has it pass: until a cable changes, or until the decision wants to look again."""
    changes = sorted(
        (sum(pauses[:index]), number) for number, pauses in history.items() for index in range(1, len(pauses) + 1)
    )
    cables = dict.fromkeys(history, True)
    shown: dict[int, Shown] = {}
    told: list[tuple[float, int, bool]] = []
    now, quiet = 0.0, (changes[-1][0] if changes else 0.0)
    while True:
        decision = mirror.decide(cables, shown, now)
        for number, up in decision.changes.items():
            shown[number] = Shown(up, now)
            told.append((now, number, up))
        assert now < decision.again
        if not changes and decision.again == math.inf:
            break
        now = min(decision.again, changes[0][0] if changes else math.inf)
        while changes and changes[0][0] <= now:
            _, number = changes.pop(0)
            cables[number] = not cables[number]
    assert {number: one.up for number, one in shown.items()} == cables, "its final state is always shown"
    assert now <= quiet + GAP_SECONDS
    for number, pauses in history.items():
        mine = [(moment, up) for moment, which, up in told if which == number]
        assert [up for _, up in mine] == [index % 2 == 0 for index in range(len(mine))], "nothing is told twice"
        assert all(later >= earlier + GAP_SECONDS for (earlier, _), (later, _) in zip(mine, mine[1:]))
        if pauses and pauses[0] >= GAP_SECONDS:
            assert mine[1][0] == pauses[0], "the first change is shown at once"


# --- patience ---------------------------------------------------------------------------------------------------------


def test_each_failure_is_waited_out_twice_as_long_as_the_one_before() -> None:
    patience, now, pauses = Patience(), 100.0, []
    for _ in range(9):
        patience.tried("LAN 0", True, now)
        assert patience.waiting(now) == {"LAN 0"}
        due = patience.next_time(now)
        assert patience.waiting(math.nextafter(due, 0.0)) == {"LAN 0"}
        assert patience.waiting(due) == frozenset()
        pauses.append(due - now)
        now = due
    assert pauses[:4] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS, 8 * FIRST_SECONDS]
    assert pauses[-2:] == [LONGEST_SECONDS, LONGEST_SECONDS]
    patience.tried("LAN 0", False, now)
    assert patience.next_time(now) == math.inf
    patience.tried("LAN 0", True, now)
    assert patience.next_time(now) == now + FIRST_SECONDS, "what has worked begins anew"


def test_the_next_time_is_that_of_the_first_one() -> None:
    patience = Patience()
    patience.tried("LAN 0", True, 10.0)
    patience.tried("LAN 1", True, 10.2)
    patience.tried("LAN 2", False, 10.2)
    assert patience.next_time(10.2) == 10.0 + FIRST_SECONDS
    assert patience.waiting(10.6) == {"LAN 1"}
    assert patience.next_time(10.6) == 10.2 + FIRST_SECONDS


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 5)), max_size=30))
def test_it_never_wants_to_be_woken_in_the_past(attempts: list[tuple[str, bool, float]]) -> None:
    """Not even by what is not tried any more, because there is no such LAN now: the loop would not rest."""
    patience, now = Patience(), 0.0
    for name, failed, pause in attempts:
        now += pause
        patience.tried(name, failed, now)
        assert patience.next_time(now) > now
        assert (name in patience.waiting(now)) == failed
        assert (patience.next_time(now) < math.inf) == bool(patience.waiting(now))
    assert patience.next_time(now + LONGEST_SECONDS) == math.inf


# --- what is told -----------------------------------------------------------------------------------------------------

NETWORK_SEEN = Network(
    (LAN,), HostLink(), notes=("a note",), problems=(Problem(3, "netcfg.lan.3: wrong"),), untouched=frozenset({3})
)
SIGHT = Sight({}, NETWORK_SEEN)
GROUPS = ("the private link", "LAN 0", "LAN 1")


@pytest.fixture
def report(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Report:
    caplog.set_level(logging.INFO)
    return Report(str(tmp_path / "netcfg/status.json"))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log since the last time."""
    lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return lines


def test_notes_and_problems_of_the_plan_are_said_once(report: Report, caplog: pytest.LogCaptureFixture) -> None:
    report.seen(SIGHT, GROUPS)
    assert said(caplog) == ["WARNING a note", "WARNING netcfg.lan.3: wrong"]
    report.seen(SIGHT, GROUPS)
    assert said(caplog) == []
    report.seen(Sight({}, replace(NETWORK_SEEN, notes=("another", "a note"), problems=())), GROUPS)
    assert said(caplog) == ["WARNING another"]
    report.seen(SIGHT, GROUPS)
    assert said(caplog) == ["WARNING netcfg.lan.3: wrong"]


@pytest.mark.parametrize("what", [NETWORK, FIREWALL, "the private link", "LAN 1"])
def test_a_problem_is_said_once_and_so_is_its_end(report: Report, caplog: pytest.LogCaptureFixture, what: str) -> None:
    report.seen(SIGHT, GROUPS)
    caplog.clear()
    wrong = f"ERROR {what}: eno1 is busy; what was before stays, and it is tried again"
    for expected in ([wrong], [], []):
        report.seen(SIGHT, GROUPS)
        report.outcomes([Outcome("LAN 0"), Outcome(what, problem="eno1 is busy")])
        assert said(caplog) == expected
    report.outcomes([Outcome(what, problem="eno1 has gone")])
    assert said(caplog) == [f"ERROR {what}: eno1 has gone; what was before stays, and it is tried again"]
    for expected in ([f"INFO {what}: is as it ought to be again"], []):
        report.seen(SIGHT, GROUPS)
        report.outcomes([Outcome("LAN 0"), Outcome(what)])
        assert said(caplog) == expected


def problems(directory: Path) -> list[str]:
    found = json.loads((directory / "netcfg/status.json").read_text())["problems"]
    return [f"{one['what']}: {one['message']}" for one in found]


def test_a_problem_lasts_while_it_is_not_tried_again(report: Report, tmp_path: Path) -> None:
    report.outcomes([Outcome("LAN 1", problem="busy"), Outcome(FIREWALL, problem="nft: no")])
    report.seen(SIGHT, GROUPS)
    report.outcomes([Outcome("LAN 0")])
    report.write(SIGHT, {})
    assert problems(tmp_path) == ["LAN 1: busy", "the firewall: nft: no"]


def test_nothing_is_wrong_with_a_lan_that_is_no_more(
    report: Report, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report.outcomes([Outcome("LAN 1", problem="busy"), Outcome("LAN 0", problem="busy, too")])
    caplog.clear()
    report.seen(Sight({}, replace(NETWORK_SEEN, notes=(), problems=())), ("the private link", "LAN 0"))
    assert said(caplog) == [], "nor is it as it ought to be"
    report.write(SIGHT, {})
    assert problems(tmp_path) == ["LAN 0: busy, too"]


def test_what_is_done_is_said(report: Report, caplog: pytest.LogCaptureFixture) -> None:
    report.outcomes([Outcome("LAN 0", (Create("hallan0", "bridge"), Create("haltap0", "tun")))])
    assert said(caplog) == ["INFO LAN 0: make hallan0 (bridge)", "INFO LAN 0: make haltap0 (tun)"]


def test_the_status_file_is_replaced_when_something_has_changed(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "netcfg/status.json"
    seen = []
    for links in ({}, {}, {0: True}, {0: True}, {0: False}):
        report.write(SIGHT, links)
        seen.append(file.stat().st_ino)
    assert [seen[0] == seen[1], seen[1] == seen[2], seen[2] == seen[3], seen[3] == seen[4]] == [
        True,
        False,
        True,
        False,
    ]
    content = json.loads(file.read_text())
    assert content["product_links"] == {"0": False}
    assert content["network"] == json.loads(json.dumps(NETWORK_SEEN.to_json()))
    assert file.stat().st_mode & 0o777 == 0o644, "hal netcfg status is for everybody"


def test_a_status_file_that_cannot_be_written_is_said_and_tried_again(
    report: Report, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "write", full)
        report.write(SIGHT, {})
        assert "No space left on device" in said(caplog)[0]
    report.write(SIGHT, {})
    assert (tmp_path / "netcfg/status.json").exists()
