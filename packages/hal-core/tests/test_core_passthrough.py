"""Whether a NIC can be handed over as it is, and which NICs have been: read from recorded trees."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hal_core import lent
from hal_core.anonymize import Recording
from hal_core.errors import FileFormatError
from hal_core.facts import nics, passthrough
from hal_core.facts.tree import Tree
from hal_core.lent import Lent
from hal_core.machine import Passthrough
from hal_core.testing import synthetic, sysfs

NIC, OTHER_PORT, DISKS, BRIDGE = "0000:03:00.0", "0000:03:00.1", "0000:00:1f.2", "0000:00:1c.0"
LENT = Lent("eno1", "00:1b:21:00:00:01", "ixgbe", "vfio", NIC, NIC)


def tree(members: tuple[str, ...] = (NIC,), regions: str = "0xfee00000 0xfeefffff msi\n", **files: str) -> Tree:
    """A server's files: the NIC eno1 in IOMMU group 7, with whom it shares that."""
    recorded = Recording({}, {}, ("/sys", "/proc"))
    for address, class_id, driver in (
        (NIC, "020000", "ixgbe"),
        (OTHER_PORT, "020000", "ixgbe"),
        (DISKS, "010601", "ahci"),
        (BRIDGE, "060400", "pcieport"),
    ):
        real = f"/sys/devices/pci0000:00/{address}"
        recorded.files[f"{real}/class"] = f"0x{class_id}\n".encode()
        recorded.links[f"/sys/bus/pci/devices/{address}"] = f"../../../devices/pci0000:00/{address}"
        recorded.links[f"{real}/driver"] = f"../../../bus/pci/drivers/{driver}"
        if address in members:
            recorded.links[f"{real}/iommu_group"] = "../../../kernel/iommu_groups/7"
            recorded.links[f"/sys/kernel/iommu_groups/7/devices/{address}"] = (
                f"../../../../devices/pci0000:00/{address}"
            )
    for address, interface in ((NIC, "eno1"), (OTHER_PORT, "eno2")):
        recorded.files[f"/sys/devices/pci0000:00/{address}/net/{interface}/type"] = b"1\n"
    recorded.files["/sys/kernel/iommu_groups/7/reserved_regions"] = regions.encode()
    for name, text in files.items():
        recorded.files[f"/sys/devices/pci0000:00/{NIC}/{name}"] = f"{text}\n".encode()
    return sysfs.tree(recorded)


def test_alone_in_its_group() -> None:
    assert passthrough.read(tree(), NIC) == Passthrough(7, (), False, 1, 0, 0)


def test_no_iommu() -> None:
    found = passthrough.read(tree(members=()), NIC)
    assert found is not None
    assert found.group is None


def test_neighbours_are_named_and_bridges_are_none() -> None:
    found = passthrough.read(tree(members=(NIC, OTHER_PORT, DISKS, BRIDGE)), NIC)
    assert found is not None
    assert found.others == (f"{DISKS} (ahci, disks)", f"{OTHER_PORT} (ixgbe, eno2)")


@pytest.mark.parametrize(("kind", "held"), [("direct", True), ("direct-relaxable", False), ("reserved", False)])
def test_memory_that_the_firmware_holds(kind: str, held: bool) -> None:
    found = passthrough.read(tree(regions=f"0xbdf6f000 0xbdf7efff {kind}\n"), NIC)
    assert found is not None
    assert found.firmware_memory is held


def test_virtual_functions() -> None:
    found = passthrough.read(tree(sriov_totalvfs="63", sriov_numvfs="2"), NIC)
    assert found is not None
    assert (found.total_vfs, found.vfs) == (63, 2)


@pytest.mark.parametrize("address", ["0000:99:00.0", "virtio0", "../.."])
def test_no_such_device(address: str) -> None:
    assert passthrough.read(tree(), address) is None


def test_a_nic_that_has_been_handed_over_is_a_nic_still() -> None:
    """In its own place among the others, though it is no interface any more; and a recording remembers it."""
    machine = synthetic.machine(nics=4)
    gone = machine.nics[1]
    rest = dataclasses.replace(machine, nics=tuple(nic for nic in machine.nics if nic != gone))
    rest = dataclasses.replace(
        rest,
        pci=tuple(
            dataclasses.replace(pci, driver="vfio-pci") if pci.address == gone.bus_path else pci for pci in rest.pci
        ),
    )
    recorded = synthetic.layout(rest)
    one = Lent(gone.name, gone.mac, "igb", "vfio", gone.bus_path, gone.bus_path)
    recorded.files[nics.LENT] = lent.text({1: one}).encode()
    read = nics.read(sysfs.tree(recorded))
    assert [nic.name for nic in read] == [nic.name for nic in machine.nics]
    assert (read[1].mac, read[1].driver, read[1].lent) == (gone.mac, "igb", True)
    assert not any(nic.lent for nic in read if nic.name != gone.name)


def test_a_nic_whose_driver_has_it_back_is_not_lent() -> None:
    """What is written down is a claim; the driver is the fact."""
    recorded = synthetic.layout(synthetic.machine(nics=1))
    first = synthetic.nic(0)
    one = Lent("elsewhere", first.mac, "igb", "vfio", first.bus_path, first.bus_path)
    recorded.files[nics.LENT] = lent.text({0: one}).encode()
    assert [nic.name for nic in nics.read(sysfs.tree(recorded))] == [first.name]


def test_what_is_written_down_is_read_back(tmp_path: Path) -> None:
    assert lent.read(str(tmp_path)) == {}
    path = Path(lent.path(str(tmp_path)))
    path.parent.mkdir()
    path.write_text(lent.text({3: LENT}))
    assert lent.read(str(tmp_path)) == {3: LENT}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": {}}', '{"0": {"nic": "eno1"}}', '{"0": 7}'])
def test_damage_is_told(tmp_path: Path, text: str) -> None:
    path = Path(lent.path(str(tmp_path)))
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(FileFormatError, match=r"direct\.json"):
        lent.read(str(tmp_path))


def test_no_way_out_of_sysfs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no PCI address"):
        lent.parsed(lent.text({0: dataclasses.replace(LENT, device="../../etc")}))
