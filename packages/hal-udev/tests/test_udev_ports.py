"""A port of the server's is always the same one of the product's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.errors import FileFormatError
from hal_core.testing import synthetic
from hal_udev import pins
from hal_udev.config import UdevConfig
from hal_udev.plan import usbplan
from hal_udev.plan.ports import Bus, Pin, Place, assign
from hal_udev.plan.product import USUAL
from hal_udev.plan.rules import Surroundings

TWO = (Bus("xhci.0", 2),)
PLAIN = Surroundings(console=False)


def test_the_first_free_place_in_the_order_of_the_buses() -> None:
    found = assign(["a", "b", "c"], (), (Bus("xhci.0", 2), Bus("xhci2.0", 1)))
    assert found.places == {"a": Place("xhci.0", 1), "b": Place("xhci.0", 2), "c": Place("xhci2.0", 1)}
    assert found.without == ()


def test_a_port_keeps_its_place_when_nothing_is_in_it() -> None:
    first = assign(["a", "b"], (), TWO)
    second = assign(["b"], first.pins, TWO)
    assert second.places["b"] == first.places["b"]
    assert second.pins == first.pins
    assert assign(["a"], second.pins, TWO).places["a"] == first.places["a"]


def test_when_all_are_given_away_the_oldest_empty_one_makes_room() -> None:
    first = assign(["a", "b"], (), TWO)
    second = assign(["b", "c"], first.pins, TWO)
    assert second.places == {"b": Place("xhci.0", 2), "c": Place("xhci.0", 1)}
    assert [pin.path for pin in second.pins] == ["b", "c"]
    assert assign(["b", "c", "a"], second.pins, TWO).without == ("a",)


def test_a_bus_that_the_product_does_not_have_any_more() -> None:
    old = (Pin("a", Place("ehci.0", 1)),)
    found = assign(["a"], old, TWO)
    assert found.places == {"a": Place("xhci.0", 1)}
    assert found.pins == (Pin("a", Place("xhci.0", 1)),)


@given(st.lists(st.sets(st.sampled_from("abcdefgh")), max_size=12), st.integers(0, 4), st.integers(0, 4))
def test_whatever_is_plugged_in_no_two_share_a_place_and_none_moves(
    history: list[set[str]], first: int, second: int
) -> None:
    buses = tuple(Bus(name, ports) for name, ports in (("x.0", first), ("y.0", second)) if ports)
    kept: tuple[Pin, ...] = ()
    before: dict[str, Place] = {}
    for plugged in history:
        found = assign(sorted(plugged), kept, buses)
        assert len(set(found.places.values())) == len(found.places)
        assert {*found.places, *found.without} == plugged
        assert len(found.places) == min(len(plugged), first + second), "none is left out while there is a place"
        for path in found.places.keys() & before.keys():
            assert found.places[path] == before[path], "it is plugged in, and was moved"
        assert len({pin.place for pin in found.pins}) == len(found.pins)
        kept, before = found.pins, dict(found.places)


def test_thirty_two_devices_fit_and_behind_a_hub_with_forty_ports_the_last_ones_are_told() -> None:
    hub = synthetic.usb_hub("1-1")
    plugged = [synthetic.usb_plugged(f"1-1.{port}") for port in range(1, 41)]
    planned = usbplan.plan((hub, *plugged[:32]), UdevConfig(), PLAIN, USUAL.buses)
    assert [one.problem for one in planned.devices] == [""] * 33
    planned = usbplan.plan((hub, *plugged), UdevConfig(), PLAIN, (Bus("ehci.0", 6),) * 1)
    assert len([one for one in planned.devices if one.place]) == 6
    assert {one.problem for one in planned.devices if not one.place and not one.keep} == {
        "the product has 6 USB ports, and all of them are taken"
    }
    assert "the product has no USB port" in str(usbplan.plan(plugged, UdevConfig(), PLAIN, ()).devices)


def test_two_devices_that_are_alike_are_told_apart_by_their_ports() -> None:
    twins = [synthetic.usb_plugged(port, serial="", product="Token") for port in ("1-1", "1-2")]
    first, second = usbplan.plan(twins, UdevConfig(), PLAIN, USUAL.buses).devices
    assert first.id != second.id
    assert first.place != second.place


def test_a_port_stays_the_same_when_the_kernel_numbers_the_buses_otherwise() -> None:
    before = usbplan.plan([synthetic.usb_plugged("1-2"), synthetic.usb_plugged("1-1")], UdevConfig(), PLAIN, TWO)
    after = usbplan.plan(
        [synthetic.usb_plugged("3-1"), synthetic.usb_plugged("3-2")], UdevConfig(), PLAIN, TWO, before.pins
    )
    assert {one.device.path: one.place for one in before.devices} == {
        one.device.path: one.place for one in after.devices
    }


def test_what_the_kernel_could_not_read_is_told() -> None:
    broken = synthetic.usb_plugged("1-1", configured=False, interfaces=())
    (one,) = usbplan.plan([broken], UdevConfig(), PLAIN, TWO).devices
    assert one.place is not None, "for when it can be read"
    assert "could not read what it is" in one.problem


# --- the file


def test_what_is_written_is_read_again(directories: Path) -> None:
    assert pins.read() == ()
    known = (Pin("0000:00:14.0/usb2/1.4", Place("xhci.0", 3)), Pin("a", Place("xhci2.0", 3)))
    pins.write(known)
    assert pins.read() == known


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "[]",
        "{",
        '{"version": 2, "ports": []}',
        '{"version": 1}',
        '{"version": 1, "ports": [{"path": "a", "bus": "x", "port": 0}]}',
        '{"version": 1, "ports": [{"path": "a", "bus": "x", "port": true}]}',
        '{"version": 1, "ports": [{"path": "", "bus": "x", "port": 1}]}',
        '{"version": 1, "ports": 3}',
        json.dumps({"version": 1, "ports": [{"path": "a", "bus": "x", "port": 1}] * 2}),
        "[" * 100000,
    ],
)
def test_a_damaged_file_is_refused(directories: Path, damaged: str) -> None:
    pins.write(())
    Path(pins.path()).write_text(damaged)
    with pytest.raises(FileFormatError, match=r"ports\.json is damaged: "):
        pins.read()
