"""What happens to discs and trays: a model of both drives, and of two people who move them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core import paths
from hal_core.errors import FileFormatError
from hal_udev.dvd import decision, drives
from hal_udev.dvd.decision import BUSY, DISC, EMPTY, GONE, OPEN, Seen, Virtual, decide
from hal_udev.plan import planfile


@dataclass
class World:
    """The real drive and the product's; ``disc`` is which one is in the real one."""

    host: str = EMPTY
    disc: int = 0
    medium: int = 0  # the disc that the product has; 0: none
    tray_open: bool = False
    before: Optional[Seen] = None

    def step(self) -> str:
        now = Seen(self.host, Virtual(self.medium != 0, self.tray_open))
        what = decide(self.before, now, self.medium in (0, self.disc))
        self.before = decision.after(what, now)
        if what == decision.INSERT:
            self.medium, self.tray_open = self.disc, False
        elif what == decision.TAKE:
            self.medium, self.tray_open = 0, True
        elif what in (decision.EJECT, decision.OPEN_HOST):
            self.medium = 0 if what == decision.EJECT else self.medium
            self.host = OPEN
        elif what == decision.CLOSE_HOST:
            self.host = DISC if self.disc else EMPTY
        elif what == decision.OPEN_VIRTUAL:
            self.tray_open = True
        elif what == decision.CLOSE_VIRTUAL:
            self.tray_open = False
        return what

    def settle(self) -> list[str]:
        done: list[str] = []
        for _ in range(8):
            what = self.step()
            if what == decision.NOTHING:
                return done
            done.append(what)
        raise AssertionError(f"it does not come to rest: {done} {self}")

    # what people do

    def put_in(self, disc: int) -> None:
        """Into the open tray, and close it."""
        if self.host == OPEN:
            self.disc, self.host = disc, DISC

    def push_the_button(self) -> None:
        """Of a drive that nobody has locked."""
        if self.host in (EMPTY, DISC):
            self.host = OPEN
        elif self.host == OPEN:
            self.host = DISC if self.disc else EMPTY

    def take_the_disc(self) -> None:
        if self.host == OPEN:
            self.disc = 0

    def guest_opens(self) -> None:
        self.tray_open = True

    def guest_closes(self) -> None:
        self.tray_open = False


def test_a_disc_that_is_put_in_is_the_products() -> None:
    world = World(host=OPEN, tray_open=True)
    assert world.settle() == []
    world.put_in(7)
    assert world.settle() == [decision.INSERT]
    assert (world.medium, world.tray_open) == (7, False)


def test_a_disc_that_is_there_when_the_product_starts() -> None:
    world = World(host=DISC, disc=3)
    assert world.settle() == [decision.INSERT]


def test_the_product_ejects_and_later_loads_the_same_disc_again() -> None:
    world = World(host=DISC, disc=3)
    world.settle()
    world.guest_opens()
    assert world.settle() == [decision.EJECT]
    assert (world.host, world.medium) == (OPEN, 0)
    world.guest_closes()
    assert world.settle() == [decision.CLOSE_HOST, decision.INSERT]
    assert world.medium == 3


def test_somebody_takes_the_disc_with_a_paper_clip() -> None:
    world = World(host=DISC, disc=3)
    world.settle()
    world.push_the_button()
    world.take_the_disc()
    assert world.settle() == [decision.TAKE]
    world.push_the_button()
    assert world.settle() == [decision.CLOSE_VIRTUAL]
    assert (world.host, world.medium, world.tray_open) == (EMPTY, 0, False)


def test_another_disc_that_nobody_has_seen_coming_is_exchanged() -> None:
    world = World(host=DISC, disc=3)
    world.settle()
    world.disc = 4
    assert world.settle() == [decision.TAKE, decision.INSERT]
    assert world.medium == 4


def test_empty_trays_follow_each_other() -> None:
    world = World()
    world.settle()
    world.guest_opens()
    assert world.settle() == [decision.OPEN_HOST]
    world.push_the_button()
    assert world.settle() == [decision.CLOSE_VIRTUAL]
    world.push_the_button()
    assert world.settle() == [decision.OPEN_VIRTUAL]
    world.guest_closes()
    assert world.settle() == [decision.CLOSE_HOST]


def test_a_disc_that_does_not_come_out_is_not_put_back_in() -> None:
    inside = Seen(DISC, Virtual(True, True))
    assert decide(None, inside) == decision.EJECT
    assert decide(inside, Seen(DISC, Virtual(False, True))) == decision.OPEN_HOST


def test_a_disc_that_could_not_be_put_in_is_put_in_again_and_not_ejected() -> None:
    before = decision.after(decision.INSERT, Seen(DISC, Virtual(False, False)))
    assert decide(before, Seen(DISC, Virtual(False, True))) == decision.INSERT


def test_while_a_disc_is_being_read_nothing_is_done() -> None:
    for virtual in (Virtual(True, True), Virtual(True, False), Virtual(False, True), Virtual(False, False)):
        assert decide(None, Seen(BUSY, virtual)) == decision.NOTHING


def test_a_drive_that_is_gone_takes_its_disc_with_it() -> None:
    assert decide(None, Seen(GONE, Virtual(True, False))) == decision.TAKE
    assert decide(None, Seen(GONE, Virtual(False, False))) == decision.NOTHING


moves = st.lists(
    st.sampled_from(["put 1", "put 2", "push", "take", "opens", "closes", "restart", "settle"]), max_size=30
)


@given(moves, st.sampled_from([EMPTY, OPEN]))
def test_whatever_people_do_both_drives_end_alike(what: list[str], host: str) -> None:
    world = World(host=host)
    for move in what:
        if move.startswith("put"):
            world.put_in(int(move[4:]))
        elif move == "restart":
            world.before = None  # the resident
        elif move == "settle":
            world.settle()
        else:
            {
                "push": world.push_the_button,
                "take": world.take_the_disc,
                "opens": world.guest_opens,
                "closes": world.guest_closes,
            }[move]()
    world.settle()
    assert world.tray_open == (world.host == OPEN)
    assert world.medium == (world.disc if world.host == DISC else 0)
    assert world.settle() == []


def entry(**changes: Any) -> dict[str, Any]:
    return {"id": "dvd0", "host": "/dev/sr0", "medium": None, **changes}


def test_a_plan_is_read() -> None:
    path = Path(planfile.path(paths.run_dir()))
    assert drives.read(paths.run_dir()) == ()
    path.write_text(json.dumps({"hotplug": {"drives": [entry()]}}))
    assert drives.read(paths.run_dir()) == (drives.Drive("dvd0", "/dev/sr0", None),)
    path.write_text("{}")
    assert drives.read(paths.run_dir()) == ()
    for wrong in (entry(host=""), entry(medium={"node-name": "x"}), {"id": "dvd0"}, 3):
        path.write_text(json.dumps({"hotplug": {"drives": [wrong]}}))
        with pytest.raises(FileFormatError, match="not a plan of hal-vmm's"):
            drives.read(paths.run_dir())


def test_a_plan_is_parsed_again_only_when_it_is_another_one() -> None:
    parsed: list[Any] = []

    def parse(planned: Any) -> int:
        parsed.append(planned)
        return len(planned["disks"])

    path, reader = Path(planfile.path(paths.run_dir())), planfile.Reader(paths.run_dir(), parse)
    assert reader.read() is None
    for disks in ([], [1, 2]):
        new = path.with_name("new")
        new.write_text(json.dumps({"disks": disks}))
        new.rename(path)
        assert [reader.read() for _ in range(3)] == [len(disks)] * 3
    assert parsed == [{"disks": []}, {"disks": [1, 2]}]
    path.write_text("{}")
    for _ in range(2):
        with pytest.raises(FileFormatError, match="not a plan of hal-vmm's"):
            reader.read()
    path.unlink()
    assert reader.read() is None
