"""The resident with a FAKE server and a model of a QEMU: whatever happens, the product ends with what is plugged in."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench_of_fakes import BUSES, PATIENCE, Bench, bench, open_files
from hal_core import paths, tokens
from hal_core.errors import QmpRefused
from hal_core.machine import UsbDevice, UsbInterface
from hal_core.testing import synthetic
from hal_udev import pins
from hal_udev.config import KeepConfig, UdevConfig
from hal_udev.plan import planfile
from hal_udev.resident import loop as loop_module
from hal_udev.testing.server import FakeServer


def with_bench(story: Callable[[Bench], Awaitable[None]], running: bool = True) -> None:
    async def tell() -> None:
        async with bench(running) as one:
            await story(one)

    asyncio.run(tell())


def wait_for(condition: Callable[[], bool]) -> None:
    """In a thread that is not the event loop's.

    :raise AssertionError: it does not come true.
    """
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "what this thread waits for does not come"
        time.sleep(0.001)


def stick(port: str, **more: Any) -> UsbDevice:
    return synthetic.usb_plugged(port, **more)


def test_plugged_in_and_pulled_out() -> None:
    async def story(one: Bench) -> None:
        async with one.resident():
            one.server.plug(stick("1-1"))
            one.ring()
            await one.until_the_product_has_what_is_plugged()
            await one.until(lambda: one.states() == {"1-1": "attached"})
            one.server.pull("1-1")
            one.ring()
            await one.until_the_product_has_what_is_plugged()
            await one.until(lambda: one.states() == {})

    with_bench(story)


def test_pulled_out_and_plugged_in_again_unnoticed() -> None:
    """Both events come late, or get lost: QEMU still has the device of before, and says that all is well."""

    async def story(one: Bench) -> None:
        async with one.resident():
            one.server.plug(stick("1-1"))
            one.ring()
            await one.until_the_product_has_what_is_plugged()
            place = one.qemu.devices["usb-1-1"]["port"]
            one.server.pull("1-1")
            one.server.plug(stick("1-1"))
            one.ring()
            await one.until_the_product_has_what_is_plugged()
            assert one.qemu.devices["usb-1-1"]["port"] == place, "a port of the server's is always the same one"

    with_bench(story)


def test_a_product_that_starts_anew_gets_everything_again_and_the_resident_leaves_a_running_one_alone() -> None:
    async def story(one: Bench) -> None:
        for number in range(1, 33):
            one.server.plug(stick(f"1-{number}"))
        async with one.resident():
            await one.until_the_product_has_what_is_plugged()
            before = {id_: device["port"] for id_, device in one.qemu.devices.items()}
            one.qemu.die()
            await one.until(lambda: set(one.states().values()) == {"no product"})
            one.qemu.start()
            await one.until_the_product_has_what_is_plugged()
            assert {id_: device["port"] for id_, device in one.qemu.devices.items()} == before
        one.qemu.commands.clear()
        async with one.resident():
            await one.until(lambda: set(one.states().values()) == {"attached"})
            assert {"device_add", "device_del"}.isdisjoint(one.qemu.commands)

    with_bench(story)


def test_thirty_two_devices_within_a_second_besides_what_qemu_takes() -> None:
    """Of its own it takes a fraction of that; the bound is for a machine that does other things, too."""

    async def story(one: Bench) -> None:
        for number in range(1, 33):
            one.server.plug(stick(f"1-{number}"))
        begun = time.process_time()
        async with one.resident():
            await one.until_the_product_has_what_is_plugged()
        assert time.process_time() - begun < 1.0

    with_bench(story)


def test_what_the_last_resident_has_left_with_qemu_is_tidied() -> None:
    async def story(one: Bench) -> None:
        one.server.plug(stick("1-1"))
        one.qemu.fdsets[7_001_002] = [5]
        one.qemu.fdsets[3] = [6]  # the launcher's
        async with one.resident():
            await one.until(lambda: list(one.qemu.fdsets) == [3] and "usb-1-1" in one.qemu.devices)

    with_bench(story)


def test_no_descriptor_stays_open() -> None:
    async def story(one: Bench) -> None:
        async with one.resident():
            one.server.plug(stick("1-1"))
            one.ring()
            await one.until_the_product_has_what_is_plugged()
            before = open_files()
            for _ in range(20):
                one.server.pull("1-1")
                one.server.plug(stick("1-1"))
                one.ring()
                await one.until_the_product_has_what_is_plugged()
            await one.until(lambda: open_files() <= before)  # what was just done may just be being closed

    with_bench(story)


# --- what fails


def test_one_that_qemu_refuses_is_told_and_tried_again_and_no_other_waits_for_it() -> None:
    async def story(one: Bench) -> None:
        one.qemu.refuse["usb-1-1"] = "failed to open host usb device"
        one.server.plug(stick("1-1"))
        one.server.plug(stick("1-2"))
        async with one.resident():
            await one.until(lambda: one.states() == {"1-1": "retrying", "1-2": "attached"})
            assert "failed to open host usb device; failed " in one.reason("1-1")
            del one.qemu.refuse["usb-1-1"]
            await one.until_the_product_has_what_is_plugged()
            await one.until(lambda: one.states() == {"1-1": "attached", "1-2": "attached"})

    with_bench(story)


def test_one_that_does_not_answer_holds_up_no_other() -> None:
    async def story(one: Bench) -> None:
        one.qemu.hang.add("usb-1-1")
        for port in ("1-1", "1-2", "1-3"):
            one.server.plug(stick(port))
        async with one.resident():
            await one.until(lambda: one.states() == {"1-1": "retrying", "1-2": "attached", "1-3": "attached"})
            assert "no answer to device_add" in one.reason("1-1")

    with_bench(story)


def test_another_device_in_the_port_has_not_failed_yet() -> None:
    async def story(one: Bench) -> None:
        one.server.unopenable["1-1"] = "Input/output error"
        one.server.plug(stick("1-1"))
        async with one.resident():
            await one.until(lambda: "Input/output error; failed 3 times, again after 2 s" in one.reason("1-1"))
            one.server.unopenable.clear()
            one.server.pull("1-1")
            one.server.plug(stick("1-1"))
            begun = time.monotonic()
            one.ring()
            await one.until_the_product_has_what_is_plugged()
            assert time.monotonic() - begun < 1.5, "it has waited for what the other one had failed"

    with_bench(story)


def test_pulled_out_while_it_is_being_plugged_in() -> None:
    async def story(one: Bench) -> None:
        one.server.on_open = lambda device: one.server.pull(device.port)
        one.server.plug(stick("1-1"))
        async with one.resident():
            one.ring()
            await one.until(lambda: one.states() == {})
            assert not one.qemu.devices

    with_bench(story)


def test_qemu_says_that_it_has_it_but_has_not() -> None:
    """What QEMU does to a device whose fd has failed: the object stays, the product sees nothing."""

    async def story(one: Bench) -> None:
        one.server.plug(stick("1-1"))
        async with one.resident() as loop:
            await one.until(lambda: one.states() == {"1-1": "attached"})
            one.qemu.devices["usb-1-1"]["attached"] = False
            loop._plugger.forget()  # as it does by itself after a while
            one.ring()
            await one.until_the_product_has_what_is_plugged()

    with_bench(story)


def test_a_driver_of_the_hosts_that_takes_the_device_back_is_noticed() -> None:
    async def story(one: Bench) -> None:
        one.server.plug(stick("1-1"))
        async with one.resident():
            await one.until(lambda: one.states() == {"1-1": "attached"})
            one.server.plugged["1-1"] = one.server._with_driver(one.server.plugged["1-1"], "usb-storage")
            one.ring()
            await one.until(lambda: one.states() == {"1-1": "retrying"})
            assert one.reason("1-1").startswith("the host's driver usb-storage has it, too; failed once")
            await one.until(lambda: one.states() == {"1-1": "attached"})
            assert one.server.plugged["1-1"].interfaces[0].driver == ""

    with_bench(story)


def test_a_look_from_before_does_not_tell_that_the_host_has_it_still(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was plugged in while somebody was looking: what was seen has the host's driver."""

    async def story(one: Bench) -> None:
        opened: list[UsbDevice] = []
        late: list[UsbDevice] = []
        looked = threading.Event()
        look = one.server.look

        def slow_look() -> tuple[UsbDevice, ...]:
            devices = look()
            if opened and not late:
                late.extend(devices)
                looked.set()
                wait_for(lambda: bool(one.qemu.devices) and not (one.loop and one.loop._plugger._tasks))
            return devices

        def on_open(device: UsbDevice) -> None:
            opened.append(device)
            one.ring()
            assert looked.wait(PATIENCE), "a driver that is slow to let go"

        monkeypatch.setattr(one.server, "look", slow_look)
        one.server.on_open = on_open
        one.server.plug(stick("1-1"))
        async with one.resident():
            await one.until(lambda: bool(late) and one.states() == {"1-1": "attached"})
        assert late[0].interfaces[0].driver == "usb-storage", "the test has not made what it wants to see"
        assert "has it, too" not in caplog.text

    with_bench(story)


def test_udev_that_says_nothing_is_waited_for_and_then_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "UDEV_SECONDS", 0.3)

    async def story(one: Bench) -> None:
        one.server.settled = False
        one.server.plug(stick("1-1"))
        async with one.resident():
            await one.until(lambda: one.states() == {"1-1": "waiting"})
            assert not one.qemu.devices
            await one.until_the_product_has_what_is_plugged()

    with_bench(story)


def test_what_the_product_has_stays_its_own_whatever_udev_and_the_kernel_say_then() -> None:
    """A product that chooses another configuration, and a udev whose database is gone when the resident restarts."""

    async def story(one: Bench) -> None:
        one.server.plug(stick("1-1"))
        async with one.resident():
            await one.until(lambda: one.states() == {"1-1": "attached"})
        one.server.settled = False
        one.server.plugged["1-1"] = replace(one.server.plugged["1-1"], configured=False, interfaces=())
        one.qemu.commands.clear()
        async with one.resident():
            one.ring()
            await one.until(lambda: "qom-list" in one.qemu.commands and one.states() == {"1-1": "attached"})
        assert {"device_add", "device_del"}.isdisjoint(one.qemu.commands)

    with_bench(story)


def test_what_the_kernel_cannot_read_is_told_when_it_has_had_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "UDEV_SECONDS", 0.3)

    async def story(one: Bench) -> None:
        one.server.plug(stick("1-1", configured=False, interfaces=()))
        async with one.resident():
            await one.until(lambda: one.states() == {"1-1": "waiting"})
            await one.until(lambda: one.states() == {"1-1": "no place"})
            assert "could not read what it is" in one.reason("1-1")
            one.server.plug(stick("1-1"))
            one.ring()
            await one.until_the_product_has_what_is_plugged()

    with_bench(story)


def test_a_qemu_that_does_not_tell_what_it_has_is_a_problem_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "UDEV_SECONDS", 0.1)

    async def story(one: Bench) -> None:
        def refuse(path: str) -> None:
            raise QmpRefused("qom-list: not today")

        listed = one.qemu._qom_list
        monkeypatch.setattr(one.qemu, "_qom_list", refuse)
        one.server.plug(stick("1-1"))
        async with one.resident():
            await one.until(lambda: one.status()["problems"] == ["QEMU: qom-list: not today"])
            monkeypatch.setattr(one.qemu, "_qom_list", listed)
            await one.until_the_product_has_what_is_plugged()
            await one.until(lambda: one.status()["problems"] == [])

    with_bench(story)


# --- rules, ports and files


def test_rules_that_are_read_again_take_a_device_away_and_give_it_back(directories: Path) -> None:
    async def story(one: Bench) -> None:
        one.server.plug(stick("1-1", serial="S1"))
        one.server.plug(stick("1-2", serial="S2"))
        async with one.resident() as loop:
            await one.until_the_product_has_what_is_plugged()
            (directories / "etc/hal.toml").write_text('[[udev.keep]]\nserial = "S1"\n')
            loop.reload()
            await one.until_the_product_has_what_is_plugged("1-1")
            await one.until(lambda: one.server.given_back == ["1-1"])
            await one.until(lambda: one.states() == {"1-1": "kept", "1-2": "attached"})
            (directories / "etc/hal.toml").write_text("")
            loop.reload()
            await one.until_the_product_has_what_is_plugged()
            await one.until(lambda: one.status()["problems"] == [])

    with_bench(story)


@pytest.mark.parametrize(("mistake", "told"), [("serail = 1", "no such key"), ("give = true", "says of no device")])
def test_a_mistake_in_rules_leaves_those_of_before_and_all_goes_on(directories: Path, mistake: str, told: str) -> None:
    async def story(one: Bench) -> None:
        one.server.plug(stick("1-1", serial="S1"))
        (directories / "etc/hal.toml").write_text('[[udev.keep]]\nserial = "S1"\n')
        async with one.resident() as loop:
            await one.until(lambda: one.states() == {"1-1": "kept"})
            (directories / "etc/hal.toml").write_text(f"[[udev.keep]]\n{mistake}\n")
            loop.reload()
            await one.until(lambda: told in str(one.status()["problems"]))
            assert "the rules of before hold" in str(one.status()["problems"])
            one.server.plug(stick("1-2", serial="S2"))
            await one.until(lambda: one.states() == {"1-1": "kept", "1-2": "attached"})
            (directories / "etc/hal.toml").write_text("")
            loop.reload()
            await one.until_the_product_has_what_is_plugged()
            await one.until(lambda: one.status()["problems"] == [])

    with_bench(story)


def test_hals_own_device_and_hubs_are_never_touched() -> None:
    async def story(one: Bench) -> None:
        one.server.plug(synthetic.usb_device(port="1-9"))
        one.server.plug(synthetic.usb_hub("1-1"))
        one.server.plug(stick("1-1.4"))
        async with one.resident(UdevConfig((KeepConfig(id="*", give=True),))):
            await one.until(lambda: one.states() == {"1-9": "kept", "1-1": "kept", "1-1.4": "attached"})
            assert list(one.qemu.devices) == ["usb-1-1.4"]

    with_bench(story)


def test_the_consoles_keyboard_goes_and_comes_with_hal_console(directories: Path) -> None:
    marker = directories / "run/console/keyboard"
    marker.parent.mkdir()
    keyboard = stick("1-1", interfaces=(UsbInterface(0, "03", "01", "01", "usbhid"),))

    async def story(one: Bench) -> None:
        marker.touch()
        one.server.plug(keyboard)
        async with one.resident():
            await one.until(lambda: one.states() == {"1-1": "kept"})
            marker.unlink()
            one.ring()
            await one.until_the_product_has_what_is_plugged()
            marker.touch()
            one.ring()
            await one.until(lambda: one.states() == {"1-1": "kept"} and not one.qemu.devices)

    with_bench(story)


def needed_keyboard(directories: Path) -> None:
    (directories / "run/console").mkdir()
    (directories / "run/console/keyboard").touch()


def test_a_token_of_which_nobody_knows_any_more_is_asked_once(directories: Path) -> None:
    """The product has it, and what was written down is lost: the host's driver tells again, and the product gets it."""
    needed_keyboard(directories)

    class Server(FakeServer):
        def give_back(self, device: UsbDevice) -> None:
            super().give_back(device)
            self.plugged[device.port] = replace(self.plugged[device.port], token=True)

    async def story() -> None:
        async with bench(server=Server()) as one:
            one.server.plug(synthetic.usb_token("1-1"))
            async with one.resident():
                await one.until_the_product_has_what_is_plugged()
            one.server.plugged["1-1"] = replace(one.server.plugged["1-1"], token=None)
            one.qemu.commands.clear()
            async with one.resident():
                await one.until(lambda: one.server.given_back == ["1-1"], "it is not asked")
                await one.until_the_product_has_what_is_plugged()
                await one.until(lambda: one.states() == {"1-1": "attached"})
                assert one.qemu.commands.count("device_del") == 1

    asyncio.run(story())


def test_tokens_are_written_down_before_the_product_has_them(directories: Path) -> None:
    token = synthetic.usb_token("1-1")
    seen = []

    async def story(one: Bench) -> None:
        one.server.on_open = lambda device: seen.append(tokens.read(paths.run_dir()))
        one.server.plug(token)
        async with one.resident():
            await one.until_the_product_has_what_is_plugged()
            assert seen == [{tokens.of(one.server.plugged["1-1"])}]
            one.server.pull("1-1")
            one.ring()
            await one.until(lambda: tokens.read(paths.run_dir()) == frozenset(), "it is gone")

    with_bench(story)


def test_tokens_that_cannot_be_written_down_go_to_the_product_all_the_same(directories: Path) -> None:
    needed_keyboard(directories)
    path = Path(tokens.path(paths.run_dir()))
    path.mkdir()  # in the way

    async def story(one: Bench) -> None:
        one.server.plug(synthetic.usb_token("1-1"))
        async with one.resident():
            await one.until(lambda: one.states() == {"1-1": "attached"})
            await one.until(lambda: "tokens.json is not written: Is a directory" in str(one.status()["problems"]))
            path.rmdir()
            one.ring()
            await one.until(lambda: one.status()["problems"] == [])
            assert len(tokens.read(paths.run_dir())) == 1

    with_bench(story)


def test_a_damaged_file_of_ports_is_kept_aside_and_the_product_gets_its_devices(directories: Path) -> None:
    pins.write(())
    Path(pins.path()).write_text("damaged")

    async def story(one: Bench) -> None:
        one.server.plug(stick("1-1"))
        async with one.resident():
            await one.until_the_product_has_what_is_plugged()
        assert Path(f"{pins.path()}.damaged").read_text() == "damaged"
        assert [pin.path for pin in pins.read()] == [stick("1-1").path]

    with_bench(story)


def test_ports_that_cannot_be_written_down_do_not_keep_a_device_from_the_product(directories: Path) -> None:
    (directories / "state").write_text("not a directory")

    async def story(one: Bench) -> None:
        one.server.plug(stick("1-1"))
        async with one.resident():
            await one.until_the_product_has_what_is_plugged()
            assert "ports.json" in str(one.status()["problems"])

    with_bench(story)


def test_a_product_with_fewer_ports_than_devices_is_told() -> None:
    async def story(one: Bench) -> None:
        with open(planfile.path(paths.run_dir()), "w", encoding="utf-8") as file:
            json.dump({"usb_buses": [{"bus": "xhci.0", "ports": 2}], "serial": []}, file)
        for number in (1, 2, 3):
            one.server.plug(stick(f"1-{number}"))
        async with one.resident():
            await one.until(lambda: one.states() == {"1-1": "attached", "1-2": "attached", "1-3": "no place"})
            assert one.reason("1-3") == "the product has 2 USB ports, and all of them are taken"
            one.server.pull("1-1")
            one.ring()
            await one.until(lambda: one.states() == {"1-2": "attached", "1-3": "attached"})

    with_bench(story)


def test_a_damaged_plan_is_a_problem_until_there_is_another() -> None:
    async def story(one: Bench) -> None:
        good = Path(planfile.path(paths.run_dir())).read_text()
        Path(planfile.path(paths.run_dir())).write_text('{"usb_buses": [{"bus": "", "ports": 1}], "serial": []}')
        one.server.plug(stick("1-1"))
        async with one.resident():
            await one.until(lambda: os.path.exists(f"{paths.run_dir()}/udev/status.json"))
            assert "not a plan of hal-vmm's: '' is not a text" in str(one.status()["problems"])
            Path(planfile.path(paths.run_dir())).write_text(good)
            one.ring()
            await one.until_the_product_has_what_is_plugged()

    with_bench(story)


# --- whatever happens


PORTS = ("1-1", "1-2", "1-3.1", "1-3.2", "2-1")
event = st.one_of(
    st.tuples(st.sampled_from(["plug or pull", "replug"]), st.sampled_from(PORTS), st.booleans()),
    st.tuples(
        st.sampled_from(["restart resident", "restart product", "let it settle", "udev is slow", "udev is quick"]),
        st.just(""),
        st.just(True),
    ),
)


@settings(max_examples=25)
@given(st.lists(event, max_size=14))
def test_any_order_of_plugging_pulling_and_restarting_ends_with_what_is_plugged_in(
    happens: list[tuple[str, str, bool]],
) -> None:
    """Each event is heard, or gets lost; nobody waits for anything before the next."""

    async def story(one: Bench) -> None:
        left = list(happens)
        while True:
            async with one.resident():
                while left:
                    what, port, heard = left.pop(0)
                    if what == "restart resident":
                        break
                    if what == "restart product":
                        one.qemu.die()
                        one.qemu.start()
                    elif what.startswith("udev is"):
                        one.server.settled = what == "udev is quick"
                    elif what == "let it settle":
                        one.server.settled = True
                        one.ring()
                        await one.until_the_product_has_what_is_plugged()
                    else:
                        if port in one.server.plugged:
                            one.server.pull(port)
                        elif what == "plug or pull":
                            one.server.plug(stick(port))
                        if what == "replug":
                            one.server.plug(stick(port))
                        if heard:
                            one.ring()
                    await asyncio.sleep(0)
                else:
                    one.server.settled = True
                    one.ring()
                    await one.until_the_product_has_what_is_plugged()
                    used = {(device["bus"], int(device["port"])) for device in one.qemu.devices.values()}
                    assert len(used) == len(one.server.plugged)
                    assert all(port <= BUSES[bus] for bus, port in used)
                    return

    with_bench(story)
