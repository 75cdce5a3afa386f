"""Which devices the product gets: the order of the rules, and hal.toml's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core import config
from hal_core.errors import ConfigError
from hal_core.machine import UsbDevice, UsbInterface
from hal_core.testing import synthetic
from hal_udev.config import CLASSES, KeepConfig, UdevConfig
from hal_udev.plan import rules, udevrules
from hal_udev.plan.rules import Surroundings, Verdict

STICK = synthetic.usb_plugged("1-1.4", serial="S1", vendor_id="0781", product_id="5571")
KEYBOARD = synthetic.usb_plugged("1-2", interfaces=(UsbInterface(0, "03", "01", "01", "usbhid"),))
ADAPTER = synthetic.usb_plugged("1-3", interfaces=(UsbInterface(0, "ff", "00", "00", "ftdi_sio", ("ttyUSB0",)),))
PLAIN = Surroundings(console=False)


def keeps(device: UsbDevice, *given: KeepConfig, around: Surroundings = PLAIN) -> bool:
    return rules.decide(device, given, around).keep


def test_everything_goes_to_the_product_with_no_hal_toml_at_all() -> None:
    for device in (STICK, ADAPTER, KEYBOARD):
        assert rules.decide(device, (), PLAIN) == Verdict(False, "every device")


def test_hubs_and_hals_own_device_stay_whatever_hal_toml_says() -> None:
    give = KeepConfig(id="*", give=True)
    assert rules.decide(synthetic.usb_hub("1-1"), (give,), PLAIN).rule.startswith("built in: a hub")
    assert rules.decide(synthetic.usb_device(), (give,), PLAIN).rule == (
        "built in: the host has a file system of it mounted"
    )


def test_the_consoles_keyboard_stays_while_it_is_needed() -> None:
    needed = Surroundings(console=True)
    assert rules.decide(KEYBOARD, (), needed) == Verdict(True, "built in: the keyboard of hal-console")
    assert not keeps(KEYBOARD)
    assert not keeps(KEYBOARD, KeepConfig(class_="hid", give=True), around=needed), "hal.toml comes first"
    keys, pointer = KEYBOARD.interfaces[0], UsbInterface(1, "03", "01", "02", "usbhid")
    assert not keeps(synthetic.usb_plugged("1-2", interfaces=(pointer,)), around=needed)
    assert keeps(synthetic.usb_plugged("1-2", interfaces=(keys, pointer)), around=needed), "a receiver"
    card = UsbInterface(2, "0b", "00", "00", "")
    assert not keeps(synthetic.usb_plugged("1-2", interfaces=(keys, card)), around=needed), "a token that types"


def test_a_token_that_looks_like_a_keyboard_goes_to_the_product() -> None:
    needed = Surroundings(console=True)
    token = synthetic.usb_token("1-2")
    assert rules.decide(token, (), needed) == Verdict(
        False, "built in: a security token (FIDO), no keyboard though it types"
    )
    assert rules.decide(token, (), PLAIN) == Verdict(False, "every device")
    for doubtful in (None, False):
        assert keeps(synthetic.usb_token("1-2", token=doubtful), around=needed), "the console has its keyboard"
    assert keeps(token, KeepConfig(class_="hid"), around=needed), "hal.toml comes first"


def test_an_adapter_that_is_a_com_port_of_the_products_stays() -> None:
    around = Surroundings(console=False, com_ports=frozenset({"/dev/ttyUSB0"}))
    assert "/dev/ttyUSB0 is one of the product's COM ports" in rules.decide(ADAPTER, (), around).rule
    assert not keeps(synthetic.usb_plugged("1-9"), around=around)


def test_nothing_that_may_be_hals_own_is_given_away_by_accident() -> None:
    unknown = Surroundings(console=False, own_known=False)
    assert "not known what HAL runs from" in rules.decide(STICK, (), unknown).rule
    assert not keeps(ADAPTER, around=unknown)
    assert not keeps(STICK, KeepConfig(serial="S1", give=True), around=unknown), "somebody knows better"


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"class_": "storage"}, True),
        ({"class_": "08"}, True),
        ({"class_": "hid"}, False),
        ({"id": "0781:5571"}, True),
        ({"id": "0781:*"}, True),
        ({"id": "*"}, True),
        ({"id": "0781:5570"}, False),
        ({"id": "0782:*"}, False),
        ({"serial": "S1"}, True),
        ({"serial": "S"}, False),
        ({"port": "1-1.4"}, True),
        ({"port": "1-1"}, True),  # the hub that it is behind
        ({"port": "1-1.40"}, False),
        ({"port": "1-1.4.1"}, False),
        ({"port": f"{synthetic.USB_CONTROLLER}/usb2/1.4"}, True),
        ({"port": f"{synthetic.USB_CONTROLLER}/usb2/1"}, True),
        ({"port": f"{synthetic.USB_CONTROLLER}/usb3/1.4"}, False),
        ({"class_": "storage", "serial": "S2"}, False),
        ({"class_": "storage", "serial": "S1", "port": "1-1", "id": "0781:*"}, True),
    ],
)
def test_a_rule_fits_when_all_that_it_says_is_true(rule: dict[str, Any], fits: bool) -> None:
    assert keeps(STICK, KeepConfig(**rule)) == fits


def test_a_composite_device_is_of_every_class_that_it_has() -> None:
    both = synthetic.usb_plugged(
        "1-2", interfaces=(UsbInterface(0, "01", "", "", ""), UsbInterface(1, "03", "", "", ""))
    )
    assert keeps(both, KeepConfig(class_="hid"))
    assert keeps(both, KeepConfig(class_="audio"))
    assert not keeps(both, KeepConfig(class_="storage"))


some_rule = st.builds(
    KeepConfig,
    class_=st.sampled_from(["", "storage", "hid"]),
    id=st.sampled_from(["", "*", "0781:*", "0000:0000"]),
    serial=st.sampled_from(["", "S1", "S2"]),
    port=st.sampled_from(["", "1-1", "1-2"]),
    give=st.booleans(),
)


@given(st.lists(some_rule, max_size=5))
def test_the_first_rule_that_fits_decides(given_rules: list[KeepConfig]) -> None:
    fitting = [(index, rule) for index, rule in enumerate(given_rules) if rules.fits(STICK, rule)]
    verdict = rules.decide(STICK, given_rules, PLAIN)
    if fitting:
        assert verdict == Verdict(not fitting[0][1].give, rules.describe(*fitting[0]))
    else:
        assert verdict == Verdict(False, rules.EVERYTHING_ELSE)


def test_a_rule_that_says_nothing_is_refused() -> None:
    (problem,) = UdevConfig((KeepConfig(class_="hid"), KeepConfig(give=True))).wrong()
    assert "udev.keep[1]: says of no device that it stays; class, id, serial" in str(problem)


def test_rules_that_fit_nothing_or_everything_are_told() -> None:
    given_rules = (KeepConfig(serial="X"), KeepConfig(id="*"), KeepConfig(class_="storage"))
    assert rules.notes((STICK, synthetic.usb_hub("1-1")), given_rules) == (
        "udev.keep[0]: serial X: fits nothing that is plugged in now",
        "udev.keep[1]: id *: fits every device: no rule after it is ever looked at",
    )


# --- hal.toml


def test_hal_toml(directories: Path) -> None:
    (directories / "etc/hal.toml").write_text(
        '[[udev.keep]]\nclass = "hid"\nserial = "A 1"\n[[udev.keep]]\nport = "0000:00:14.0/usb2/1.4"\ngive = true\n'
    )
    assert config.load(UdevConfig, "udev").keep == (
        KeepConfig(class_="hid", serial="A 1"),
        KeepConfig(port="0000:00:14.0/usb2/1.4", give=True),
    )


@pytest.mark.parametrize(
    "line", ['class = "hide"', 'class = "8"', 'id = "46d:c31c"', 'id = "046D:C31C"', 'port = "usb1"', 'port = "1.4"']
)
def test_what_cannot_be_is_refused(directories: Path, line: str) -> None:
    (directories / "etc/hal.toml").write_text(f"[[udev.keep]]\n{line}\n")
    with pytest.raises(ConfigError, match=rf"udev\.keep\[0\]\.{line.split()[0]} = .*: allowed is a text that matches"):
        config.load(UdevConfig, "udev")


def test_every_class_that_has_a_name_is_allowed(directories: Path) -> None:
    (directories / "etc/hal.toml").write_text("".join(f'[[udev.keep]]\nclass = "{name}"\n' for name in CLASSES))
    assert [rule.class_ for rule in config.load(UdevConfig, "udev").keep] == list(CLASSES)


# --- the same in udev's words


def test_udev_has_no_rules_where_nothing_stays() -> None:
    assert udevrules.render(()) == ""
    assert udevrules.render((KeepConfig(id="*", give=True),)) == ""


def test_a_kept_disk_is_the_hosts_own_to_udev() -> None:
    text = udevrules.render(
        (
            KeepConfig(serial='A*"1'),
            KeepConfig(id="0781:*", give=True),
            KeepConfig(class_="hid"),
            KeepConfig(port="1-1.4", class_="storage"),
            KeepConfig(port="0000:00:14.0/usb2/1"),
        )
    )
    assert text.splitlines()[-6:] == [
        'SUBSYSTEMS=="usb", ATTRS{serial}=="A??1", ENV{HAL_OWN_DISK}="1", GOTO="hal_udev_end"',
        'SUBSYSTEMS=="usb", ATTRS{idVendor}=="0781", GOTO="hal_udev_end"',
        "# not about disks: class hid",
        'DEVPATH=="*/1-1.4/*|*/1-1.4.*/*", ENV{HAL_OWN_DISK}="1", GOTO="hal_udev_end"',
        'DEVPATH=="*/0000:00:14.0/usb*/*-1/*|*/0000:00:14.0/usb*/*-1.*/*", ENV{HAL_OWN_DISK}="1", GOTO="hal_udev_end"',
        'LABEL="hal_udev_end"',
    ]


@given(st.text(st.characters(blacklist_categories=["C"]), min_size=1).filter(str.strip))
def test_no_serial_number_ends_a_rule_of_udevs(serial: str) -> None:
    line = udevrules.render((KeepConfig(serial=serial),)).splitlines()[-2]
    assert re.fullmatch(r'SUBSYSTEMS=="usb", ATTRS\{serial\}=="[^"\\]+", ENV.*', line), line
