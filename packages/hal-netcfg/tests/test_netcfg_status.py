"""``hal netcfg status``: from the resident's status file and a FAKE /sys/class/net, for people and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from a_resident import a_resident
from hal_core.errors import FileFormatError, HostError, UsageError
from hal_netcfg import names
from hal_netcfg.commands import status_command
from hal_netcfg.engine import Sight
from hal_netcfg.links.apply import Outcome
from hal_netcfg.plan.network import Bond, HostLink, Kept, Lan, Network, Port, Problem
from hal_netcfg.resident.report import Report
from hal_netcfg.statusfile import STATUS

GONE = 1 << 22  # PID_MAX_LIMIT on 64-bit kernels (proc(5)): no process has it


def port(number: int) -> Port:
    return Port(f"eno{number}", f"00:1b:21:00:00:0{number}", f"02:1b:21:00:00:0{number}")


LACP = Bond("802.3ad", "slow", 100, 0, ())
NETWORK = Network(
    lans=(
        Lan(0, port(1).mac, "bridge", (port(1),)),
        Lan(1, port(2).mac, "bridge", (port(2), port(3)), LACP),
        Lan(2, port(4).mac, "macvtap", (port(4),)),
        Lan(3, port(5).mac, "bridge", ()),
    ),
    link=HostLink(),
    kept=(Kept("eno9", "not planned for the product (hal vmm plan says why)"),),
    notes=("the product's NIC 3 has no link: eno5 is not here",),
)
PLANNED = Network((), HostLink(), problems=(Problem(7, "netcfg.lan.7: the product has no NIC 7"),))


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """And nothing asked of nft, which root could."""
    monkeypatch.setenv("HAL_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(status_command, "_NET", str(tmp_path / "net"))
    monkeypatch.setattr(status_command, "_counts", lambda: ([], "its counters are for root"))
    return tmp_path


@pytest.fixture(scope="module")
def resident() -> Iterator[int]:
    """A process that looks like ``hal-netcfg run``; its number."""
    with a_resident() as pid:
        yield pid


def save(directory: Path, pid: int, network: Network = NETWORK, *outcomes: Outcome, **shown: Optional[bool]) -> str:
    """What the resident writes."""
    path = STATUS.path(str(directory))
    report = Report(path)
    report.outcomes(outcomes)
    report.write(Sight({}, network), {int(name[1:]): up for name, up in shown.items()})
    content = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({**content, "pid": pid}))
    return path


def nic(directory: Path, name: str, driver: str = "igb", **files: object) -> None:
    """A NIC in sysfs; what is None reads as a file whose value the kernel does not tell."""
    values = {"carrier": 1, "speed": 1000, "duplex": "full", "mtu": 1500, **files}
    base = directory / "net" / name
    (base / "device").mkdir(parents=True)
    (base / "device/driver").symlink_to(f"../drivers/{driver}")
    for file, value in values.items():
        path = base / file.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        if value is not None:
            path.write_text(f"{value}\n")


def server(directory: Path) -> None:
    nic(directory, "eno1", statistics__rx_errors=3, statistics__tx_errors=4, statistics__rx_dropped=50)
    nic(directory, "eno2", bonding_slave__state="active", bonding_slave__mii_status="up", speed=10000)
    nic(directory, "eno3", carrier=0, speed=-1, duplex="unknown")
    nic(directory, "eno4", "virtio_net", carrier=1, speed=-1, duplex="unknown", mtu=9000)
    nic(directory, "haltapint", "tun")


def test_everything_on_one_screen(directories: Path, resident: int, capsys: pytest.CaptureFixture[str]) -> None:
    server(directories)
    save(directories, resident, NETWORK, _0=True, _1=False, _2=None)
    assert status_command.main([]) == 0
    assert capsys.readouterr().out == (
        "LAN  NIC   DRIVER      LINK               PRODUCT SEES  MTU   ERRORS\n"
        "0    eno1  igb         1000 Mbit/s full   link          1500  7\n"
        "1    eno2  igb         10000 Mbit/s full  no link       1500  0       halbond1: active, MII up\n"
        "     eno3  igb         no link                          1500  0       not in halbond1\n"
        "2    eno4  virtio_net  up                 next start    9000  0\n"
        "3    -     -           no NIC             no product    -     -\n"
        "\n"
        "private link: host 169.254.72.1, product 169.254.72.2: the product is on it\n"
        "\n"
        "stays with the host:\n"
        "  eno9: not planned for the product (hal vmm plan says why)\n"
        "\n"
        "notes:\n"
        "  the product's NIC 3 has no link: eno5 is not here\n"
        "\n"
        "firewall: its counters are for root\n"
    )


def test_the_same_as_json(directories: Path, resident: int, capsys: pytest.CaptureFixture[str]) -> None:
    server(directories)
    save(directories, resident, NETWORK, _0=True, _2=None)
    assert status_command.main(["--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["running"] is True
    assert [lan["carrier"] for lan in status["lans"]] == [True, True, True, False]
    assert [lan["product_sees"] for lan in status["lans"]] == [True, None, None, None]
    assert [lan["next_start"] for lan in status["lans"]] == [False, False, True, False]
    assert status["lans"][0]["nics"] == [
        {
            "name": "eno1",
            "mac": "00:1b:21:00:00:01",
            "present": True,
            "lent": False,
            "driver": "igb",
            "carrier": True,
            "speed_mbps": 1000,
            "duplex": "full",
            "mtu": 1500,
            "errors": 7,
            "counters": {"rx_errors": 3, "tx_errors": 4, "rx_dropped": 50, "tx_dropped": 0},
            "bond": "",
        }
    ]
    assert status["lans"][1]["bond"]["mode"] == "802.3ad"
    assert status["link"]["carrier"] is True


def test_a_nic_that_has_gone_since_is_said(directories: Path, resident: int) -> None:
    path = save(directories, resident)
    status = status_command.collect(path)
    assert [nic["present"] for lan in status["lans"] for nic in lan["nics"]] == [False] * 4
    text = status_command.render(status)
    assert "0    eno1  -       not here  no product" in text
    assert "no product on it" in text


@pytest.mark.parametrize(
    ("network", "outcomes", "problems"),
    [
        (NETWORK, [Outcome("LAN 0", problem="eno1: busy")], ["LAN 0: eno1: busy"]),
        (PLANNED, [], ["netcfg.lan.7: the product has no NIC 7"]),
    ],
)
def test_what_is_wrong_is_said_and_is_exit_status_1(
    directories: Path,
    resident: int,
    capsys: pytest.CaptureFixture[str],
    network: Network,
    outcomes: list[Outcome],
    problems: list[str],
) -> None:
    save(directories, resident, network, *outcomes)
    assert status_command.main([]) == 1
    assert f"\nwrong:\n  {problems[0]}\n" in capsys.readouterr().out
    assert status_command.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == problems


@pytest.mark.parametrize("other", [GONE, os.getpid()], ids=["gone", "another"])
def test_a_resident_that_has_ended_is_exit_status_3(
    directories: Path, capsys: pytest.CaptureFixture[str], other: int
) -> None:
    """Whatever is wrong besides, and whoever has its number now."""
    save(directories, other, PLANNED)
    assert status_command.main([]) == 3
    assert capsys.readouterr().out.startswith("hal-netcfg is not running: nothing is mirrored or repaired\n")
    assert status_command.main(["--json"]) == 3
    assert json.loads(capsys.readouterr().out)["running"] is False


def test_without_lans(directories: Path, resident: int) -> None:
    assert "no LANs\n" in status_command.render(status_command.collect(save(directories, resident, PLANNED)))


def test_what_the_firewall_has_counted(
    directories: Path, resident: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = [{"what": "dropped: other", "packets": 12, "bytes": 999}, {"what": "unused", "packets": 0, "bytes": 0}]
    monkeypatch.setattr(status_command, "_counts", lambda: (counted, ""))
    save(directories, resident)
    assert status_command.main([]) == 0
    assert capsys.readouterr().out.endswith("\nFIREWALL        PACKETS  BYTES\ndropped: other       12    999\n")
    monkeypatch.setattr(status_command, "_counts", lambda: ([], ""))
    assert status_command.main([]) == 0
    assert capsys.readouterr().out.endswith("\nfirewall: nothing counted since it was loaded\n")


def test_a_lan_that_uses_the_private_links_addresses_is_told_in_one_line(
    directories: Path, resident: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = [{"what": names.LINK_ON_LAN, "packets": 3, "bytes": 180}]
    monkeypatch.setattr(status_command, "_counts", lambda: (counted, ""))
    save(directories, resident)
    assert status_command.main([]) == 0, "the product's network is as it ought to be"
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "private link (169.254.72.1" in line)
    assert line.endswith("in 3 frames, which were dropped: if they are a neighbour's, move netcfg.link_network")


def test_before_the_first_resident_of_a_boot() -> None:
    with pytest.raises(HostError, match="hal-netcfg has not run since this host booted") as caught:
        status_command.main([])
    assert caught.value.hint == "systemctl start hal-netcfg"


@pytest.mark.parametrize("arguments", [["--xml"], ["now"], ["--json=yes"]])
def test_unknown_arguments(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="status: unknown argument "):
        status_command.main(arguments)


# --- damaged files ----------------------------------------------------------------------------------------------------


def put(directory: Path, data: bytes) -> str:
    path = STATUS.path(str(directory))
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_bytes(data)
    return path


@pytest.mark.parametrize(
    "content", ["", "{", "\xff", "[]", "null", "{}", '{"pid": "1"}', '{"pid": true}', '{"pid": 1}', "[" * 100_000]
)
def test_a_damaged_file_is_one_line_that_names_it(directories: Path, content: str) -> None:
    path = put(directories, content.encode("latin-1"))
    with pytest.raises(FileFormatError) as caught:
        status_command.collect(path)
    assert caught.value.message.startswith(f"{path} is damaged: ")
    assert "\n" not in str(caught.value)
    assert caught.value.hint == "systemctl restart hal-netcfg"


@pytest.mark.parametrize(
    "where", [(), ("network",), ("network", "lans", 1), ("network", "lans", 1, "nics", 0), ("problems", 0)]
)
def test_a_file_of_another_version_lacks_something(directories: Path, where: tuple[str | int, ...]) -> None:
    path = save(directories, GONE, NETWORK, Outcome("LAN 0", problem="busy"), _0=True)
    written = Path(path).read_text()
    unused = {"mtu", "host_mac", "driver", "unplanned"}
    inside: Any = json.loads(written)
    for step in where:
        inside = inside[step]
    for key in set(inside) - unused:
        content = part = json.loads(written)
        for step in where:
            part = part[step]
        del part[key]
        put(directories, json.dumps(content).encode())
        with pytest.raises(FileFormatError, match=f"is damaged: no .*{key}.* in it"):
            status_command.collect(path)


# --- NICs that the product has as they are ----------------------------------------------------------------------------


def direct(mode: str) -> Network:
    port = Port("eno9", "00:1b:21:00:00:09", "02:1b:21:00:00:09", "0000:03:00.0", "ixgbe")
    return Network((Lan(0, port.mac, mode, (port,)),), HostLink())


def seen(directory: Path, network: Network, **shown: bool) -> tuple[dict[str, Any], str]:
    status = status_command.collect(save(directory, GONE, network, **shown))
    return status["lans"][0]["nics"][0], status_command.render(status)


def test_a_nic_that_has_been_handed_over_has_nothing_to_tell(
    directories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_command, "_PCI", str(directories / "pci"))
    (directories / "pci/0000:03:00.0").mkdir(parents=True)
    (directories / "pci/0000:03:00.0/driver").symlink_to("../../drivers/vfio-pci")
    found, text = seen(directories, direct("vfio"))
    assert (found["lent"], found["present"], found["driver"], found["speed_mbps"]) == (True, True, "vfio-pci", None)
    assert "the product's: ask there  the NIC itself" in text


def test_one_that_is_shared_tells_as_before(directories: Path) -> None:
    nic(directories, "eno9", "ixgbe")
    found, text = seen(directories, direct("sriov"))
    assert (found["lent"], found["driver"], found["speed_mbps"]) == (False, "ixgbe", 1000)
    assert "1000 Mbit/s full  a virtual function" in text


def test_a_product_that_had_to_do_without_it_has_no_link(directories: Path) -> None:
    assert "not here  no link" in seen(directories, direct("vfio"), _0=False)[1]
