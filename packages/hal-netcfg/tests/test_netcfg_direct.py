"""NICs that the product has as they are: what is in the way, and handing them over on a FAKE PCI bus."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hal_core import lent
from hal_core.errors import FileFormatError
from hal_core.lent import Lent
from hal_core.machine import Nic, Passthrough
from hal_core.testing import synthetic
from hal_netcfg import ability
from hal_netcfg.config import LanConfig, NetcfgConfig
from hal_netcfg.links import apply, difference, direct, kernelfile, wanted
from hal_netcfg.links.action import Action, Create, Delete
from hal_netcfg.links.difference import Postponed
from hal_netcfg.links.direct import Direct
from hal_netcfg.links.link import Group, Link, Wanted
from hal_netcfg.plan import direct as planning
from hal_netcfg.plan import lans, show
from hal_netcfg.plan.direct import Ability
from hal_netcfg.plan.network import ProductNic
from hal_netcfg.resident import mirror

MAC = "00:1b:21:00:00:01"
FREE = Passthrough(group=7, others=(), firmware_memory=False, interfaces=1, total_vfs=63, vfs=0)
NIC = synthetic.nic(0, name="eno1", mac=MAC, bus_path="0000:03:00.0", driver="ixgbe", passthrough=FREE)
FUNCTION = "0000:03:10.0"
ANY = Ability()
VFIO, SRIOV = LanConfig(mode="vfio"), LanConfig(mode="sriov")


# --- what is in the way -----------------------------------------------------------------------------------------------


def reasons(config: LanConfig, nic: Nic = NIC, can: Ability = ANY, **place: Any) -> list[str]:
    changed = dataclasses.replace(nic, passthrough=dataclasses.replace(FREE, **place)) if place else nic
    return list(planning.wrong("netcfg.lan.0", config, MAC, [changed], can))


@pytest.mark.parametrize("config", [VFIO, SRIOV, LanConfig(), LanConfig(mode="macvtap")])
def test_nothing(config: LanConfig) -> None:
    assert reasons(config) == []


@pytest.mark.parametrize("mode", ["vfio", "sriov"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"group": None}, "eno1 has no IOMMU in front of it: switch on VT-d or AMD-Vi in the firmware setup, and on "),
    ],
)
def test_in_the_way_of_both(mode: str, place: dict[str, Any], message: str) -> None:
    (reason,) = reasons(LanConfig(mode=mode), **place)
    assert reason.startswith(f'netcfg.lan.0.mode = "{mode}": {message}')


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            {"others": ("0000:00:1f.2 (ahci, disks)", "0000:03:00.1 (ixgbe, eno2)")},
            "eno1 cannot be parted from others in its IOMMU group 7: 0000:00:1f.2 (ahci, disks), 0000:03:00.1 "
            "(ixgbe, eno2); try another slot",
        ),
        ({"firmware_memory": True}, "the server's firmware keeps eno1 using memory of its own (RMRR), and Linux does "),
        ({"interfaces": 2}, "eno1 is one of 2 ports of a single PCI device, which would all go with it"),
    ],
)
def test_in_the_way_of_the_nic_itself(place: dict[str, Any], message: str) -> None:
    (reason,) = reasons(VFIO, **place)
    assert reason.startswith(f'netcfg.lan.0.mode = "vfio": {message}')
    assert reasons(SRIOV, **place) == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"total_vfs": 0}, "eno1 (driver ixgbe) has no virtual functions: no SR-IOV, or not switched on in the "),
        ({"vfs": 4}, "eno1 has 4 virtual functions already, which are none of HAL's"),
    ],
)
def test_in_the_way_of_a_virtual_function(place: dict[str, Any], message: str) -> None:
    (reason,) = reasons(SRIOV, **place)
    assert reason.startswith(f'netcfg.lan.0.mode = "sriov": {message}')
    assert reasons(VFIO, **place) == []


def test_hals_own_virtual_function_is_not_in_its_own_way() -> None:
    assert reasons(SRIOV, can=Ability(shared=frozenset({"eno1"})), vfs=1) == []


def test_what_is_no_pci_device() -> None:
    nic = dataclasses.replace(NIC, passthrough=None)
    assert reasons(VFIO, nic) == ['netcfg.lan.0.mode = "vfio": eno1 is no PCI device']
    assert reasons(SRIOV, nic) == ['netcfg.lan.0.mode = "sriov": eno1 is no PCI device']


def test_another_nics_address_cannot_be_given_to_it() -> None:
    other = dataclasses.replace(NIC, mac="00:1b:21:00:00:02")
    (reason,) = reasons(VFIO, other)
    assert reason.endswith(f"eno1 has the address 00:1b:21:00:00:02 and keeps it, and the product's NIC has {MAC}")
    assert reasons(SRIOV, other) == []


def test_a_qemu_that_cannot() -> None:
    assert reasons(VFIO, can=Ability("QEMU 7.2 has no vfio-pci")) == [
        'netcfg.lan.0.mode = "vfio": QEMU 7.2 has no vfio-pci'
    ]


def test_several_nics() -> None:
    (reason,) = reasons(LanConfig(("eno1", "eno2"), "sriov"))
    assert reason == 'netcfg.lan.0.mode = "sriov": takes one NIC, not 2; let the product bond them'


def test_an_mtu_is_the_products_own_business() -> None:
    (reason,) = reasons(LanConfig(mode="vfio", mtu=9000))
    assert reason.startswith('netcfg.lan.0.mtu = 9000: not with mode = "vfio"')
    assert reasons(LanConfig(mode="sriov", mtu=9000)) == []


def test_the_plan_in_words() -> None:
    config = NetcfgConfig(lan={0: VFIO})
    text = show.render(lans.plan([NIC], [ProductNic(0, MAC)], config))
    assert "PCI pass-through of 0000:03:00.0" in text
    text = show.render(lans.plan([NIC], [ProductNic(0, MAC)], NetcfgConfig(lan={0: SRIOV})))
    assert "PCI pass-through of a virtual function of 0000:03:00.0" in text
    assert "02:1b:21:00:00:01" in text  # the NIC stays the host's, and wears another address


# --- what does not depend on the NIC ----------------------------------------------------------------------------------


@pytest.fixture(name="selinux")
def fake_selinux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "selinux/booleans").mkdir(parents=True)
    monkeypatch.setattr(ability, "SELINUX", str(tmp_path / "selinux"))
    (tmp_path / "plan.json").write_text('{"nics": [], "handover": {"way": "path", "reason": ""}}')
    return tmp_path / "selinux"


def ability_of(run_dir: Path) -> Ability:
    return ability.read(str(run_dir), NetcfgConfig(lan={0: VFIO}))


@pytest.mark.parametrize(
    ("enforce", "boolean", "refused"), [("1", "0 0", True), ("1", "1 1", False), ("0", "0 0", False), ("1", "", False)]
)
def test_selinux_has_a_say_while_it_enforces(
    selinux: Path, tmp_path: Path, enforce: str, boolean: str, refused: bool
) -> None:
    (selinux / "enforce").write_text(enforce)
    (selinux / "booleans/hal_direct_nics").write_text(boolean)
    reason = ability_of(tmp_path).reason
    assert (reason == "SELinux keeps the product's QEMU off PCI devices: setsebool -P hal_direct_nics on") is refused


@pytest.mark.usefixtures("selinux")
def test_hal_vmm_has_a_say(tmp_path: Path) -> None:
    assert ability_of(tmp_path).reason == ""
    (tmp_path / "plan.json").write_text('{"handover": {"way": "", "reason": "no vfio-pci"}}')
    assert ability_of(tmp_path).reason == "no vfio-pci"


@pytest.mark.parametrize("plan", ["{}", "", '{"handover": 7}'])
@pytest.mark.usefixtures("selinux")
def test_a_plan_that_does_not_say(tmp_path: Path, plan: str) -> None:
    (tmp_path / "plan.json").write_text(plan)
    assert ability_of(tmp_path).reason.endswith("hal vmm apply")


def test_nobody_is_asked_where_no_lan_is_direct(tmp_path: Path) -> None:
    assert ability.read(str(tmp_path), NetcfgConfig()) == Ability()


# --- handing over -----------------------------------------------------------------------------------------------------


class FakePci:
    """A FAKE PCI bus in a directory: a NIC with its driver, 63 virtual functions to be had, a disk controller."""

    NIC, DISKS = "0000:03:00.0", "0000:00:1f.2"

    def __init__(self, root: Path) -> None:
        self.bus = root / "sys/bus/pci"
        self.log: list[str] = []
        self.has_vfio = True
        self.own_driver_fails = False
        for driver in ("ixgbe", "ahci", "vfio-pci"):
            (self.bus / "drivers" / driver).mkdir(parents=True)
        self._plug(self.NIC, 7, "020000")
        self._plug(self.DISKS, 8, "010601")
        self._bind(self.NIC, "ixgbe")
        self._bind(self.DISKS, "ahci")
        for name in ("sriov_numvfs", "sriov_drivers_autoprobe"):
            (self.device(self.NIC) / name).write_text("0" if name == "sriov_numvfs" else "1")
        (self.bus / "drivers_probe").touch()

    def device(self, address: str) -> Path:
        return self.bus / "devices" / address

    def driver(self, address: str) -> str:
        link = self.device(address) / "driver"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else ""

    def write(self, path: str, text: str) -> None:
        """As the kernel does on a write to one of its files."""
        name, directory = os.path.basename(path), Path(path).parent
        if not os.path.exists(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self.log.append(f"{name} {text.strip()}".strip())
        if name == "unbind":
            self._unbind(text)
        elif name == "drivers_probe":
            self._probe(text)
        elif name == "sriov_numvfs":
            self._functions(directory, int(text))
        if os.path.exists(path):
            Path(path).write_text(text)

    def _plug(self, address: str, group: int, class_id: str) -> None:
        device = self.device(address)
        device.mkdir(parents=True)
        (device / "class").write_text(f"0x{class_id}\n")
        (device / "driver_override").write_text("(null)\n")
        self.into_group(address, group)

    def into_group(self, address: str, group: int) -> None:
        members = self.bus.parents[1] / f"kernel/iommu_groups/{group}/devices"
        members.mkdir(parents=True, exist_ok=True)
        (members / address).symlink_to(self.device(address))
        link = self.device(address) / "iommu_group"
        if link.is_symlink():
            link.unlink()
        link.symlink_to(members.parent)

    def _bind(self, address: str, driver: str) -> None:
        (self.device(address) / "driver").symlink_to(f"../../drivers/{driver}")
        (self.bus / "drivers" / driver / "unbind").touch()

    def _unbind(self, address: str) -> None:
        (self.device(address) / "driver").unlink()

    def _probe(self, address: str) -> None:
        override = (self.device(address) / "driver_override").read_text().strip()
        if override == "vfio-pci":
            if self.has_vfio:
                self._bind(address, "vfio-pci")
        elif address == self.NIC and not self.own_driver_fails:
            self._bind(address, "ixgbe")

    def _functions(self, nic: Path, count: int) -> None:
        if count and not (nic / "virtfn0").exists():
            self._plug(FUNCTION, 9, "020000")
            (nic / "virtfn0").symlink_to(f"../{FUNCTION}")
        elif not count and (nic / "virtfn0").exists():
            (nic / "virtfn0").unlink()
            shutil.rmtree(self.device(FUNCTION))
            shutil.rmtree(self.bus.parents[1] / "kernel/iommu_groups/9", ignore_errors=True)


class Bus:
    """The bus, and what hands NICs over on it."""

    def __init__(self, root: Path) -> None:
        self.pci = FakePci(root)
        self.prepared: list[tuple[str, str]] = []
        self.direct = Direct(str(root), lambda nic, mac: self.prepared.append((nic, mac)), str(root))
        (root / "netcfg").mkdir()

    def links(self) -> dict[str, Link]:
        return {link.name: link for link in self.direct.links()}

    def perform(self, action: Action) -> None:
        if isinstance(action, Create):
            self.direct.make(action.name, action.settings)
        elif isinstance(action, Delete):
            self.direct.remove(action.name)


@pytest.fixture(name="bus")
def new_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bus:
    bus = Bus(tmp_path)
    monkeypatch.setattr(kernelfile, "write", bus.pci.write)
    return bus


def settings(mode: str) -> dict[str, object]:
    return direct.wanted(mode, "eno1", MAC, "ixgbe", FakePci.NIC)


def group(mode: str) -> Group:
    return Group("LAN 0", (Wanted("haldirect0", "vfio", settings=settings(mode)),))


GONE = Group("LAN 0", (), ("haldirect0",))


@pytest.mark.parametrize(("mode", "device"), [("vfio", FakePci.NIC), ("sriov", FUNCTION)])
def test_there_and_back(bus: Bus, tmp_path: Path, mode: str, device: str) -> None:
    (outcome,) = apply.apply([group(mode)], bus.links(), bus)
    assert outcome.problem == ""
    assert bus.pci.driver(device) == "vfio-pci"
    assert lent.read(str(tmp_path)) == {0: Lent("eno1", MAC, "ixgbe", mode, FakePci.NIC, device)}
    assert apply.apply([group(mode)], bus.links(), bus)[0].done == ()
    (outcome,) = apply.apply([GONE], bus.links(), bus)
    assert outcome.problem == ""
    assert bus.pci.driver(FakePci.NIC) == "ixgbe"
    assert (bus.pci.device(FakePci.NIC) / "sriov_drivers_autoprobe").read_text() == "1"
    assert not (bus.pci.device(FakePci.NIC) / "virtfn0").exists()
    assert lent.read(str(tmp_path)) == {}
    assert bus.links() == {}


def test_virtual_functions_are_written_down_before_they_are_there(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or they would be taken for somebody else's after a crash, and be in the way for ever."""
    functions = bus.pci._functions
    seen = []

    def look(nic: Path, count: int) -> None:
        seen.append([one.mode for one in lent.read(str(tmp_path)).values()])
        functions(nic, count)

    monkeypatch.setattr(bus.pci, "_functions", look)
    apply.apply([group("sriov")], {}, bus)
    assert seen == [["sriov"]]


def test_no_driver_of_the_hosts_sees_the_virtual_function(bus: Bus) -> None:
    apply.apply([group("sriov")], {}, bus)
    assert bus.pci.log == [
        "sriov_drivers_autoprobe 0",
        "sriov_numvfs 1",
        "driver_override vfio-pci",
        f"drivers_probe {FUNCTION}",
    ]
    assert bus.prepared == [("eno1", MAC)]
    assert bus.pci.driver(FakePci.NIC) == "ixgbe"


def test_from_the_one_to_the_other(bus: Bus) -> None:
    apply.apply([group("vfio")], {}, bus)
    (outcome,) = apply.apply([group("sriov")], bus.links(), bus)
    assert [str(action) for action in outcome.done] == [
        "remove haldirect0",
        "hand a virtual function of eno1 (0000:03:00.0) to the product: haldirect0",
    ]
    assert bus.pci.driver(FakePci.NIC) == "ixgbe"
    assert bus.pci.driver(FUNCTION) == "vfio-pci"


def test_without_the_module_the_nic_goes_back_to_its_driver(bus: Bus, tmp_path: Path) -> None:
    bus.pci.has_vfio = False
    (outcome,) = apply.apply([group("vfio")], {}, bus)
    assert outcome.problem == "vfio-pci does not take 0000:03:00.0 (modprobe vfio-pci; dmesg)"
    assert bus.pci.driver(FakePci.NIC) == "ixgbe"
    assert lent.read(str(tmp_path)) == {}


def test_a_virtual_function_that_shares_its_group(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only now it shows; the disks stay with their driver, and the virtual function goes."""
    plug = bus.pci._plug

    def into_disks_group(address: str, number: int, class_id: str) -> None:
        plug(address, 8, class_id)

    monkeypatch.setattr(bus.pci, "_plug", into_disks_group)
    (outcome,) = apply.apply([group("sriov")], {}, bus)
    assert outcome.problem == f"{FUNCTION} cannot be parted from others in its IOMMU group: 0000:00:1f.2 (ahci, disks)"
    assert bus.pci.driver(FakePci.DISKS) == "ahci"
    assert not (bus.pci.device(FakePci.NIC) / "virtfn0").exists()


def test_a_driver_without_virtual_functions(bus: Bus) -> None:
    os.unlink(bus.pci.device(FakePci.NIC) / "sriov_numvfs")
    (outcome,) = apply.apply([group("sriov")], {}, bus)
    assert outcome.problem.startswith("eno1 cannot be handed to the product: ")
    assert "sriov_numvfs: No such file or directory" in outcome.problem
    assert bus.pci.driver(FakePci.NIC) == "ixgbe"


@pytest.mark.parametrize("mode", ["vfio", "sriov"])
def test_killed_at_any_write_the_next_one_goes_on(bus: Bus, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, however far it was; each time from where the last one was killed."""

    class Killed(BaseException):
        pass

    def until_killed(what: Group, writes: int) -> bool:
        """Whether it got through."""
        left = iter(range(writes))

        def write(path: str, text: str) -> None:
            if next(left, None) is None:
                raise Killed
            bus.pci.write(path, text)

        monkeypatch.setattr(kernelfile, "write", write)
        try:
            return not apply.apply([what], bus.links(), bus)[0].problem
        except Killed:
            return False

    for what in (group(mode), GONE):
        for writes in range(12):
            if until_killed(what, writes):
                break
        else:
            pytest.fail(f"{what} is never done")
        assert until_killed(what, 0)  # nothing is left to do
    assert bus.links() == {}
    assert bus.pci.driver(FakePci.NIC) == "ixgbe"


def test_a_card_that_has_been_pulled_is_forgotten(bus: Bus, tmp_path: Path) -> None:
    apply.apply([group("vfio")], {}, bus)
    os.rename(bus.pci.device(FakePci.NIC), tmp_path / "pulled")
    (outcome,) = apply.apply([GONE], bus.links(), bus)
    assert outcome.problem == ""
    assert lent.read(str(tmp_path)) == {}


def test_a_driver_that_does_not_take_its_nic_back_is_told(bus: Bus) -> None:
    apply.apply([group("vfio")], {}, bus)
    bus.pci.own_driver_fails = True
    (outcome,) = apply.apply([GONE], bus.links(), bus)
    assert outcome.problem.startswith("eno1: its driver ixgbe does not take it back")


def test_damage_is_told(bus: Bus, tmp_path: Path) -> None:
    Path(lent.path(str(tmp_path))).write_text("{")
    with pytest.raises(FileFormatError, match=r"direct\.json"):
        bus.links()


# --- under a running product ------------------------------------------------------------------------------------------


@pytest.fixture(name="running")
def running_product(tmp_path: Path) -> Iterator[None]:
    """Somebody who holds QEMU's lock."""
    fd = os.open(tmp_path / "qemu.lock", os.O_RDWR | os.O_CREAT)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("=hhxxxxqqixxxx", fcntl.F_WRLCK, 0, 0, 0, 0))
    yield
    os.close(fd)


@pytest.mark.usefixtures("running")
def test_a_running_product_keeps_its_nic(bus: Bus) -> None:
    apply.apply([group("vfio")], {}, bus)
    (link,) = bus.links().values()
    assert link.carrier
    with pytest.raises(Postponed, match="haldirect0 is the running product's: at its next start"):
        difference.steps(GONE, bus.links())
    assert difference.is_product_running(bus.links())


def test_a_lock_that_nobody_holds_is_nobodys_product(bus: Bus, tmp_path: Path) -> None:
    (tmp_path / "qemu.lock").write_text("123\n")
    apply.apply([group("vfio")], {}, bus)
    assert not difference.is_product_running(bus.links())
    assert not direct.is_product_running(str(tmp_path / "nowhere"))


# --- what the product is shown ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [VFIO, SRIOV])
def test_a_direct_nic_shows_its_cable_by_itself(config: LanConfig) -> None:
    network = lans.plan([NIC], [ProductNic(0, MAC)], NetcfgConfig(lan={0: config}))
    assert mirror.carriers(network, {"eno1": Link("eno1", 1, up=True, carrier=True)}) == {}


def test_a_product_without_its_direct_nic_has_no_link() -> None:
    """The launcher had to make a tap."""
    network = lans.plan([NIC], [ProductNic(0, MAC)], NetcfgConfig(lan={0: VFIO}))
    assert mirror.carriers(network, {"haltap0": Link("haltap0", 1, "tun", up=True, carrier=True)}) == {0: False}


@pytest.mark.parametrize("config", [VFIO, SRIOV])
@pytest.mark.parametrize(
    ("nic", "tap"),
    [
        (Link("eno1", 1, master="hallan0", up=True, carrier=True), Link("haltap0", 2, "tun", master="hallan0")),
        (Link("eno1", 1, up=True, carrier=True), Link("haltap0", 2, "macvtap", lower="eno1")),
    ],
)
def test_a_running_product_keeps_its_link_until_its_next_start(config: LanConfig, nic: Link, tap: Link) -> None:
    network = lans.plan([NIC], [ProductNic(0, MAC)], NetcfgConfig(lan={0: config}))
    for carrier in (True, False):
        links = {"eno1": dataclasses.replace(nic, carrier=carrier), "haltap0": tap}
        assert mirror.carriers(network, links) == {0: carrier}


def test_a_shared_nic_is_not_shown_by_a_tap_that_leads_nowhere() -> None:
    network = lans.plan([NIC], [ProductNic(0, MAC)], NetcfgConfig(lan={0: SRIOV}))
    links = {"eno1": Link("eno1", 1, up=True, carrier=True), "haltap0": Link("haltap0", 2, "tun", carrier=True)}
    assert mirror.carriers(network, links) == {0: False}


def test_the_hosts_half_of_a_shared_nic() -> None:
    network = lans.plan([NIC], [ProductNic(0, MAC)], NetcfgConfig(lan={0: SRIOV}, mtu=9000))
    groups = wanted.groups(network, {"eno1": Link("eno1", 1, mtu=1500)})
    (lan,) = [one for one in groups if one.name == "LAN 0"]
    nic, handed = lan.wanted
    assert (nic.name, nic.mac, nic.mtu, nic.master, nic.up) == ("eno1", "02:1b:21:00:00:01", 9000, "", True)
    assert (nic.ipv6, nic.addresses, nic.noarp) == (False, (), True)
    assert handed.settings["mac"] == MAC
