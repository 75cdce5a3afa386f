"""What the product sees is the server that it is in."""

from __future__ import annotations

from ipaddress import IPv4Address

from lab.plugin import on
from lab.simulator.server import Server
from lab.site import Site

# What the host itself, and QEMU for it, may keep of the server's memory, in MiB.
_HOST_MEMORY = 1280


@on("one-u", "old-box", "numa", "direct")
def test_hardware(running: Site, description: Server) -> None:
    """The product sees the server's cores, memory, disks, NICs and SMBIOS texts, and nothing of HAL's key."""
    seen = running.product.hardware()

    assert int(seen["vcpus"]) == description.cpu.sockets * description.cpu.cores, "a core each, no hyper-threads"
    assert description.memory_mib - _HOST_MEMORY < int(seen["memory-kib"]) // 1024 < description.memory_mib

    # Linux may name disks in another order than it finds them in: their addresses tell the server's own order.
    names = {key.split(".")[1] for key in seen if key.startswith("disk.")}
    names_in_order = sorted(names, key=lambda name: [int(part) for part in seen[f"disk.{name}.address"].split(":")])
    assert [seen[f"disk.{name}.serial"] for name in names_in_order] == [disk.serial for disk in description.disks]
    for name, disk in zip(names_in_order, description.disks):
        assert int(seen[f"disk.{name}.bytes"]) == disk.size_mib << 20

    nics = sorted(key.split(".")[1] for key in seen if key.startswith("nic.") and key.endswith(".mac"))
    host_link = "02:48:41:4c:00:02"  # behind all others
    assert [seen[f"nic.{name}.mac"] for name in nics] == [*(nic.mac for nic in description.nics), host_link]

    smbios = description.smbios
    assert {key: seen[f"smbios.{key}"] for key in ("sys_vendor", "product_name", "product_serial", "product_uuid")} == {
        "sys_vendor": smbios.manufacturer,
        "product_name": smbios.product,
        "product_serial": smbios.serial,
        "product_uuid": smbios.uuid,
    }
    assert description.key_serial not in running.product.ask("cat /sys/block/*/device/* /sys/bus/usb/devices/*/serial")


@on("one-u", "old-box", "numa", "direct")
def test_lan(running: Site, description: Server) -> None:
    """The LAN sees the product, with the server's own MAC addresses, and nobody else."""
    for number, nic in enumerate(description.nics):
        peer = running.lan[number]
        product = str(IPv4Address(f"10.77.{number}.2"))
        assert peer.ping(product, count=3, seconds=60), "the product does not answer on the LAN"
        release = running.product.ask("cat /etc/product/release")
        assert release.encode() in peer.fetch(product, 80, b"GET /release HTTP/1.0\r\n\r\n")
        assert set(peer.seen()) == {nic.mac}
