"""QEMU's command line for a server: pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.simulator import commandline, server


def _argv(name: str, accel: str = "tcg", change: tuple[str, str] = ("", "")) -> list[str]:
    text = server.shipped()[name].read_text("utf-8").replace(*change)
    described = server.parse(text, Path(f"{name}.toml"))
    return commandline.argv(described, "qemu", accel, (7, 8), Path("/code,4M.fd"))


def _values(argv: list[str], option: str) -> list[str]:
    return [value for word, value in zip(argv, argv[1:]) if word == option]


def test_a_uefi_server() -> None:
    argv = _argv("one-u")
    assert argv[:4] == ["qemu", "-nodefaults", "-no-user-config", "-S"]
    assert _values(argv, "-machine") == ["q35,pflash0=code,pflash1=variables"]
    assert "file,node-name=code,filename=/code,,4M.fd,read-only=on" in _values(argv, "-blockdev")
    assert _values(argv, "-smp") == ["1,sockets=1,cores=1,threads=1"]
    devices = _values(argv, "-device")
    assert "usb-storage,id=key,bus=xhci.0,port=1,drive=key,serial=HALKEY0001,removable=on" in devices
    assert "ide-hd,bus=ide.1,drive=disk-WD-ONEU-A2,serial=WD-ONEU-A2" in devices
    assert any(device.startswith("e1000,id=nic1,netdev=lan1,mac=") for device in devices)
    assert "ide-cd,id=dvd,bus=ide.5" in devices
    assert "bootindex" not in " ".join(argv)  # it would overwrite what UEFI remembers
    assert "-no-reboot" not in argv


def test_a_bios_server_boots_in_the_order_of_its_setup() -> None:
    devices = _values(_argv("old-box"), "-device")
    order = sorted(device.partition("bootindex=")[::2][::-1] for device in devices if "bootindex=" in device)
    assert [device.partition(",")[0] for _, device in order] == ["ide-cd", "usb-storage", "ide-hd"]


def test_its_name_plate_may_have_commas() -> None:
    system = _values(_argv("old-box"), "-smbios")[0]
    assert system.startswith("type=1,manufacturer=Olde Servers,, Inc.,product=Box 300,serial=OB-0300-77,uuid=")


def test_every_path_is_a_bare_name() -> None:
    words = ",".join(_argv("numa")).split(",")
    paths = [word for word in words if word.startswith(("path=", "local.path=", "remote.path=", "logfile="))]
    assert len(paths) == 9
    assert not any("/" in path for path in paths)


def test_threads_and_numa() -> None:
    argv = _argv("numa")
    assert "topoext=on" in _values(argv, "-cpu")[0]
    assert _values(argv, "-numa") == [
        "node,nodeid=0,memdev=memory0",
        "cpu,node-id=0,socket-id=0",
        "node,nodeid=1,memdev=memory1",
        "cpu,node-id=1,socket-id=1",
    ]
    assert "scsi-hd,bus=scsi.0,scsi-id=0,drive=disk-SAS-TWIN-1,serial=SAS-TWIN-1" in _values(argv, "-device")


def test_the_accelerators() -> None:
    assert _values(_argv("one-u"), "-accel") == ["tcg,thread=multi"]
    assert "svm=on" in _values(_argv("one-u"), "-cpu")[0]
    assert _values(_argv("one-u", "kvm"), "-accel") == ["kvm"]
    assert _values(_argv("one-u", "kvm"), "-cpu") == ["host,arch-capabilities=off"]


@pytest.mark.parametrize(("watchdog", "noreboot"), [("i6300esb", "on"), ("itco", "off"), ("none", "on")])
def test_the_watchdogs(watchdog: str, noreboot: str) -> None:
    argv = _argv("one-u", change=('"i6300esb"\n', f'"{watchdog}"\n'))
    assert _values(argv, "-global") == [f"ICH9-LPC.noreboot={noreboot}"]
    assert ("i6300esb" in _values(argv, "-device")) == (watchdog == "i6300esb")
    assert "watchdog=reset" in _values(argv, "-action")[0]
