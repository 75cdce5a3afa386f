"""hal-netcfg on a host of its own: real bridges, taps and firewall, in namespaces; NICs are veth pairs."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_netcfg.testing import netns
from hal_netcfg.testing.host import Host, frame, read_all, sources
from hal_netcfg.testing.netns import Namespace, wait_for

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(bool(netns.why_not()), reason=netns.why_not() or "namespaces can be made"),
]

ENO1, ENO2, ENO3 = "00:1b:21:00:00:01", "00:1b:21:00:00:02", "00:1b:21:00:00:03"
NICS = {"eno1": ENO1, "eno2": ENO2, "eno3": ENO3}
PEER = "00:aa:00:00:00:01"
BROADCAST = "ff:ff:ff:ff:ff:ff"


NOBODY = 65534


def can_be_run_by_everybody() -> bool:
    """Whether somebody else can even start this hal-netcfg."""
    command = [sys.executable, "-c", "import hal_netcfg.testing.runner"]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    try:
        done = subprocess.run(
            command, env=environment, user=NOBODY, group=NOBODY, extra_groups=(), stderr=subprocess.DEVNULL, check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0


@pytest.fixture(name="lan")
def new_lan() -> Iterator[Namespace]:
    with Namespace() as lan:
        yield lan


@pytest.fixture(name="host")
def new_host(tmp_path: Path, lan: Namespace) -> Iterator[Host]:
    host = Host(tmp_path, dict(NICS), lan)
    host.plan_product(dict(enumerate(NICS.values())))
    with host.namespace:
        yield host


def is_up(host: Host, *nics: str) -> bool:
    """Switched on and in a bridge. Whether it has a carrier by now is the kernel's link watch's affair."""
    links = host.links()
    return all(nic in links and "UP" in links[nic]["flags"] and "master" in links[nic] for nic in nics)


def test_the_product_wears_the_nics_addresses_and_the_host_is_silent(host: Host, lan: Namespace) -> None:
    captured = [lan.packet_socket(host.peer(nic)) for nic in NICS]
    with contextlib.ExitStack() as stack:
        for sock in captured:
            stack.callback(sock.close)
        host.run("apply")
        links = host.links()
        for number, (nic, mac) in enumerate(NICS.items()):
            assert links[nic]["master"] == links[f"haltap{number}"]["master"] == f"hallan{number}"
            assert links[nic]["address"] == f"02{mac[2:]}"
            bridge = links[f"hallan{number}"]["linkinfo"]["info_data"]
            wanted = {"stp_state": 0, "forward_delay": 0, "mcast_snooping": 0, "group_fwd_mask": "0xfff8"}
            assert {key: bridge[key] for key in wanted} == wanted
        product = [stack.enter_context(host.product(f"haltap{number}")) for number in range(3)]
        for number, mac in enumerate(NICS.values()):
            alone = frame(mac, PEER, payload=b"to you alone")

            def both(number: int = number, mac: str = mac, alone: bytes = alone) -> None:
                product[number].send(frame(BROADCAST, mac, payload=b"hello"))
                captured[number].send(alone)

            product[number].wait_for(alone, both)
        seen = [read_all(sock) for sock in captured]
    assert [sources(frames) for frames in seen] == [{mac} for mac in NICS.values()]
    addresses = host.namespace.run("ip", "-brief", "address", "show").splitlines()
    assert [line.split()[2:] for line in addresses if not line.startswith(("lo ", "halint "))] == [[]] * 10
    assert [line.split()[2:] for line in addresses if line.startswith("halint ")] == [["169.254.72.1/30"]]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(frame("01:80:c2:00:00:0e", PEER, 0x88CC, b"\x02\x07"), id="LLDP"),
        pytest.param(frame("01:80:c2:00:00:03", PEER, 0x888E, b"\x01"), id="802.1X"),
        pytest.param(frame("01:80:c2:00:00:00", PEER, 0x0026, b"\x42\x42\x03"), id="STP"),
        pytest.param(frame("01:00:5e:00:00:12", PEER, 0x0800, b"\x45"), id="VRRP"),
        pytest.param(frame(ENO1, PEER, 0x8100, b"\x00\x05\x08\x00"), id="VLAN"),
        pytest.param(frame(ENO1, PEER, 0x88A8, b"\x00\x05\x81\x00\x00\x06\x08\x06"), id="QinQ"),
        pytest.param(frame("00:00:5e:00:01:07", PEER), id="another MAC address of the product's"),
        pytest.param(frame(ENO1, PEER, size=9014), id="jumbo"),
    ],
)
def test_frames_pass_both_ways(host: Host, lan: Namespace, sent: bytes) -> None:
    host.configure("[netcfg]\nmtu = 9000\n")
    host.run("apply")
    lan.ip(f"link set {host.peer('eno1')} mtu 9000")
    sock = lan.packet_socket(host.peer("eno1"))
    is_group = sent[0] & 1
    back = (sent[:6] if is_group else sent[6:12]) + bytes.fromhex(ENO1.replace(":", "")) + sent[12:]
    with sock, host.product("haltap0") as product:
        product.wait_for(sent, lambda: sock.send(sent))
        seen: list[bytes] = []

        def has_come_back() -> bool:
            product.send(back)
            seen.extend(read_all(sock))
            return any(same(one, back) for one in seen)

        wait_for(has_come_back, lambda: f"it does not come back; what does: {seen}")


def test_an_address_that_the_lan_had_may_be_the_products_next(host: Host, lan: Namespace) -> None:
    """VRRP, clusters, bridges in the product: as on a cable, nobody in between remembers where it was."""
    virtual = "00:00:5e:00:01:07"
    was_theirs = frame(BROADCAST, virtual, payload=b"it is mine")
    to_it = frame(virtual, PEER, payload=b"to whoever has it")
    host.run("apply")
    with lan.packet_socket(host.peer("eno1")) as sock, host.product("haltap0") as product:
        product.wait_for(was_theirs, lambda: sock.send(was_theirs))
        product.wait_for(to_it, lambda: sock.send(to_it))


def test_a_port_that_has_learned_forgets(host: Host, lan: Namespace) -> None:
    """A bridge that an earlier version has made, or that somebody has let learn: the kernel remembers for 300 s."""
    virtual = "00:00:5e:00:01:07"
    was_theirs = frame(BROADCAST, virtual, payload=b"it is mine")
    to_it = frame(virtual, PEER, payload=b"to whoever has it")

    def known() -> str:
        return host.namespace.run("bridge", "fdb", "show", "dev", "eno1")

    host.run("apply")
    with lan.packet_socket(host.peer("eno1")) as sock, host.product("haltap0") as product:
        host.namespace.run("bridge", "link", "set", "dev", "eno1", "learning", "on")
        product.wait_for(was_theirs, lambda: sock.send(was_theirs))
        assert virtual in known()
        assert host.run("apply") == "LAN 0: eno1: no learning\n"
        assert virtual not in known()
        product.wait_for(to_it, lambda: sock.send(to_it))


def same(received: bytes, sent: bytes) -> bool:
    """A packet socket gets a frame without its outermost tag, which is in the packet's metadata (packet(7))."""
    return received == sent or (sent[12:14] in (b"\x81\x00", b"\x88\xa8") and received == sent[:12] + sent[16:])


def test_nothing_differs_afterwards(host: Host) -> None:
    wanted = host.run("apply", "--dry-run")
    assert "LAN 2: eno3: " in wanted
    assert host.links().keys() == {"lo", *NICS}, "a dry run changes nothing"
    host.run("apply")
    assert host.run("apply", "--dry-run") == "nothing to change\n"
    assert host.run("apply") == "nothing to change\n"


def test_what_fails_is_as_it_was_and_stops_no_other(host: Host) -> None:
    # A macvtap has the NIC: no bridge can have it, which comes out only after half of the LAN is made.
    host.namespace.ip("link add link eno2 name mine type macvtap mode passthru")
    before = host.links()
    said = host.run("apply", status=1)
    after = host.links()
    assert "LAN 1: eno2: " in said
    assert "another program or bridge has it" in said
    assert "hallan1" not in after
    assert "haltap1" not in after
    assert after["eno2"]["address"] == before["eno2"]["address"]
    assert is_up(host, "eno1", "eno3")
    host.namespace.ip("link del mine")
    host.run("apply")
    assert is_up(host, *NICS)


def test_what_is_removed_or_changed_comes_back(host: Host) -> None:
    with host.resident() as resident:
        assert is_up(host, *NICS)
        host.namespace.ip("link del hallan0", "link set eno2 nomaster", "link set eno3 address 00:00:00:00:00:33")
        host.namespace.run("nft", "flush", "ruleset")
        wait_for(lambda: is_up(host, *NICS), lambda: f"{host.links()}\n{resident.log.read_text()}")
        wait_for(lambda: host.links()["eno3"]["address"] == f"02{ENO3[2:]}", resident.log.read_text)
        wait_for(lambda: "table inet hal" in host.namespace.run("nft", "list", "tables"), resident.log.read_text)
    assert host.run("apply") == "nothing to change\n"


def test_a_nic_goes_and_comes_back(host: Host, lan: Namespace) -> None:
    with host.resident() as resident, host.product("haltap0") as product:
        for _ in range(3):
            host.namespace.ip("link del eno1")
            wait_for(lambda: "the product's NIC 0 has no link" in resident.told(), resident.log.read_text)
            host.plug_in("eno1")
            wait_for(lambda: is_up(host, "eno1"), resident.log.read_text)
            with lan.packet_socket(host.peer("eno1")) as sock:
                wait_for(lambda: host.links()["eno1"]["address"] == f"02{ENO1[2:]}", resident.log.read_text)
                product.wait_for(frame(ENO1, PEER), functools.partial(sock.send, frame(ENO1, PEER)))


def test_a_nic_comes_that_nobody_has_planned(host: Host, lan: Namespace) -> None:
    """It leads nowhere until hal-vmm, which is asked at once, has planned it."""
    new = "00:1b:21:00:00:04"
    host.nics["eno4"] = new
    host.plan_product(dict(enumerate([ENO1, ENO2, ENO3])))
    asked = host.run_dir / "netcfg/replan"
    with host.resident() as resident:
        assert not asked.exists()
        host.plug_in("eno4")
        wait_for(asked.exists, lambda: f"nobody asks for a plan:\n{resident.log.read_text()}")
        assert asked.read_text() == "new NICs: eno4\n"
        assert host.master("eno4") == ""
        host.plan_product(dict(enumerate([ENO1, ENO2, ENO3, new])))
        wait_for(lambda: is_up(host, "eno4"), resident.log.read_text)
        assert host.master("eno4") == host.master("haltap3") == "hallan3"
        assert '"problems": []' in resident.told()


def test_killed_anywhere_it_goes_on_from_there(host: Host) -> None:
    """Two hundred times, at random moments, each time after some damage."""
    dice = random.Random(72)
    damage = ["link del hallan0", "link del haltap1", "link set eno3 nomaster", "link del halint", "link set eno2 down"]
    host.run("apply")
    killed, whole = 0, 0.1  # seconds that one takes which nobody kills, as far as is known
    with host.namespace.inside():
        server = subprocess.Popen(
            host.command("children", "200"),
            env=host.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    with server:
        assert server.stdin is not None
        assert server.stdout is not None
        for _ in range(200):
            host.damage(*dice.sample(damage, 3))
            server.stdin.write("go\n")
            server.stdin.flush()
            pid, begun = int(server.stdout.readline()), time.monotonic()
            # It has ended when its pipe is readable. The moment is drawn from about the time that it takes here.
            if select.select([server.stdout], [], [], dice.uniform(0, 1.2 * whole))[0]:
                whole = time.monotonic() - begun
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed += server.stdout.readline().strip() == f"{-signal.SIGKILL}"
    assert server.returncode == 0
    assert killed > 50, "hardly any was killed before it was done"
    host.run("apply")
    assert host.run("apply") == "nothing to change\n"
    assert is_up(host, *NICS)


def test_two_hal_hosts_on_one_lan(tmp_path: Path, lan: Namespace) -> None:
    lan.ip("link add switch type bridge mcast_snooping 0", "link set switch up")
    with contextlib.ExitStack() as stack:
        hosts = []
        for number, mac in enumerate((ENO1, ENO2)):
            host = Host(tmp_path / str(number), {"eno1": mac}, lan, f"server{number}")
            stack.enter_context(host.namespace)
            host.plan_product({0: mac})
            lan.ip(f"link set {host.peer('eno1')} master switch")
            hosts.append(host)
        lan.ip("link add tapped type veth peer name mirror", "link set tapped master switch up", "link set mirror up")
        sock = stack.enter_context(lan.packet_socket("mirror"))
        for host in hosts:
            host.run("apply")
        one, other = (stack.enter_context(host.product("haltap0")) for host in hosts)
        other.wait_for(frame(BROADCAST, ENO1), lambda: one.send(frame(BROADCAST, ENO1)))
        one.wait_for(frame(ENO1, ENO2), lambda: other.send(frame(ENO1, ENO2)))
        assert len({host.links()["eno1"]["address"] for host in hosts}) == 2
        seen = read_all(sock)
        assert sources(seen) <= {ENO1, ENO2}, [one.hex(" ") for one in seen]


def test_a_macvtap_in_place_of_a_bridge(host: Host, lan: Namespace) -> None:
    host.run("apply")
    host.configure('[netcfg.lan.1]\nmode = "macvtap"\n')
    host.run("apply")
    links = host.links()
    assert links["haltap1"]["linkinfo"] == {**links["haltap1"]["linkinfo"], "info_kind": "macvtap"}
    assert links["haltap1"]["address"] == links["eno2"]["address"] == ENO2
    assert "ALLMULTI" in links["haltap1"]["flags"], "LLDP and LACP would not get in"
    assert "hallan1" not in links
    assert host.run("apply") == "nothing to change\n"
    host.configure("")
    host.run("apply")
    assert is_up(host, "eno2")
    assert host.links()["eno2"]["address"] == f"02{ENO2[2:]}"


def test_a_running_products_tap_is_not_made_anew(host: Host) -> None:
    host.run("apply")
    host.configure('[netcfg.lan.1]\nmode = "macvtap"\n')
    with host.product("haltap1"):
        assert "haltap1 is the running product's: at its next start" in host.run("apply", status=1)
        assert is_up(host, "eno2")
    host.run("apply")
    assert host.links()["haltap1"]["linkinfo"]["info_kind"] == "macvtap"


def test_lans_have_the_products_numbers(host: Host) -> None:
    host.plan_product({4: ENO1, 0: ENO3})
    host.run("apply")
    assert {nic: host.master(nic) for nic in NICS} == {"eno1": "hallan4", "eno2": "", "eno3": "hallan0"}
    assert host.links()["eno2"]["address"] == ENO2, "it stays with the host"
    host.plan_product({0: ENO1})
    host.run("apply")
    assert {nic: host.master(nic) for nic in NICS} == {"eno1": "hallan0", "eno2": "", "eno3": ""}
    assert host.links()["eno3"]["address"] == ENO3, "nobody else wears it any more"
    assert "hallan4" not in host.links()
    assert host.run("apply") == "nothing to change\n"


def test_no_plan_no_lans(host: Host) -> None:
    (host.run_dir / "plan.json").unlink()
    host.run("apply")
    assert host.links().keys() == {"lo", "halint", "haltapint", *NICS}
    host.plan_product({0: ENO1})
    host.run("apply")
    (host.run_dir / "plan.json").unlink()
    host.run("apply")
    assert is_up(host, "eno1"), "what a plan has made is not undone because the plan is lost"


def test_nics_are_down_while_there_is_no_product(host: Host) -> None:
    host.configure("[netcfg]\ndown_with_product = true\n")
    with host.resident() as resident:
        assert not is_up(host, "eno1")
        with host.product("haltap0"):
            wait_for(lambda: is_up(host, "eno1"), resident.log.read_text)
            assert not is_up(host, "eno2")
        wait_for(lambda: not is_up(host, "eno1"), resident.log.read_text)


def test_what_cannot_be_changes_nothing(host: Host) -> None:
    host.run("apply")
    before = masters(host)
    host.configure('[netcfg.lan.0]\nnics = ["eno9"]\n')
    said = host.run("apply", status=78)
    assert "netcfg.lan.0.nics = eno9: not here; the product's NICs are: eno1, eno2, eno3" in said
    assert masters(host) == before


@pytest.fixture(name="readable")
def new_readable_host(lan: Namespace) -> Iterator[Host]:
    """One whose directories may be read by everybody, as a server's are, and whose network could be changed."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        host = Host(Path(directory), NICS, lan)
        host.plan_product(dict(enumerate(NICS.values())))
        with host.namespace:
            host.run("apply")
            host.configure('[netcfg.lan.1]\nmode = "macvtap"\n')
            yield host


@pytest.mark.parametrize(
    ("owner", "said"),
    [(0, "{run_dir}/netcfg: Permission denied"), (NOBODY, "nft: not permitted to change or list firewall rules")],
    ids=["HAL's files", "the kernel"],
)
def test_who_is_not_root_changes_nothing(readable: Host, owner: int, said: str) -> None:
    """Nor would it help to be given the files: it is the kernel that says no then."""
    if not can_be_run_by_everybody():
        pytest.skip("this checkout, or its Python, is not for everybody to read")
    for path in (readable.run_dir, *readable.run_dir.rglob("*")):
        os.chown(path, owner, owner)
    before = masters(readable), readable.namespace.run("nft", "list", "ruleset")
    told = readable.run("apply", status=1, user=NOBODY)
    assert told == f"hal-netcfg: {said.format(run_dir=readable.run_dir)}\nhal-netcfg: hint: run this as root\n"
    assert (masters(readable), readable.namespace.run("nft", "list", "ruleset")) == before
    assert "LAN 1: make haltap1 (macvtap on eno2)" in readable.run("apply"), "there was something to change"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("", "nft is in none of {path}: there is no firewall without it\nhal-netcfg: hint: install nftables"),
        (
            "echo 'nft: error while loading shared libraries: libnftables.so.1: cannot open shared object file: "
            "No such file or directory' >&2; exit 127",
            "nft: nft: error while loading shared libraries: libnftables.so.1: cannot open shared object file: "
            "No such file or directory",
        ),
        (
            "echo 'netlink: Error: cache initialization failed: Invalid argument' >&2; exit 1",
            "nft: the kernel has no nf_tables, or does not let this service use it\n"
            "hal-netcfg: hint: try `modprobe nf_tables`, and `nft list tables` in a shell",
        ),
    ],
    ids=["not installed", "broken", "not in the kernel"],
)
def test_without_nftables_the_network_that_there_is_stays(
    readable: Host, tmp_path: Path, script: str, said: str
) -> None:
    if script:
        (tmp_path / "nft").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nft").chmod(0o755)
    before = masters(readable)
    told = readable.run("apply", status=1, nft_path=str(tmp_path))
    assert told == f"hal-netcfg: {said.format(path=tmp_path)}\n"
    assert masters(readable) == before
    assert is_up(readable, *NICS)


def masters(host: Host) -> dict[str, tuple[str, str]]:
    """The address and the bridge of every interface."""
    return {name: (link["address"], link.get("master", "")) for name, link in host.links().items()}


def test_an_address_in_the_links_way(host: Host) -> None:
    host.plan_product({0: ENO1})
    host.namespace.ip("address add 169.254.72.3/16 dev eno3", "link set eno3 up")
    said = host.run("apply", status=78)
    assert "eno3 has 169.254.72.3/16, which is in 169.254.72.0/30" in said
    assert "hallan0" not in host.links()
    with host.resident() as resident:
        assert is_up(host, "eno1"), "the LANs do not depend on the private link"
        assert "halint" not in host.links()
        # A management controller's network around the link's is in nobody's way.
        host.namespace.ip("address add 169.254.3.4/16 dev eno3", "address del 169.254.72.3/16 dev eno3")
        wait_for(lambda: "halint" in host.links(), resident.log.read_text)
        resident.said("the private link: is as it ought to be again")


def test_a_changed_configuration_is_applied_by_hand(host: Host) -> None:
    with host.resident() as resident:
        host.configure("[netcfg.lan.1]\nmtu = 5000\n")
        host.namespace.ip("link set eno1 nomaster")
        wait_for(lambda: is_up(host, "eno1"), resident.log.read_text)
        assert host.links()["eno2"]["mtu"] == 1500, "a file that is being edited is not acted upon"
        assert "LAN 1: eno2: MTU 5000" in host.run("apply")
        resident.said("hal.toml: read again")
        host.namespace.ip("link set eno1 nomaster")
        wait_for(lambda: is_up(host, "eno1"), resident.log.read_text)
        assert host.links()["eno2"]["mtu"] == 5000
        host.configure("[netcfg]\nmtu = -1\n")
        host.run("apply", status=78)
        host.configure('[netcfg]\nlink_network = "169.254.72.2/30"\n')
        assert "allowed is an IPv4 network of four addresses" in host.run("apply", status=78)
        assert is_up(host, *NICS)


@pytest.mark.parametrize(
    "wrong", ["[netcfg\n", '[netcfg]\nlink_network = "169.254.72.2/30"\n', "[netcfg.lan.1]\nmtu = 67\n"]
)
def test_a_mistake_in_hal_toml_stops_no_repair(host: Host, wrong: str) -> None:
    held = "what was configured before holds"
    host.configure("[netcfg.lan.2]\nmtu = 5000\n")
    with host.resident() as resident:
        host.configure(wrong)
        os.kill(resident.pid, signal.SIGHUP)
        wait_for(lambda: held in resident.told(), resident.log.read_text)
        host.namespace.ip("link del hallan0", "link set eno3 mtu 1500")
        wait_for(lambda: is_up(host, *NICS) and host.links()["eno3"]["mtu"] == 5000, resident.log.read_text)
        assert held in resident.told()
        host.configure("")
        host.namespace.ip("link del hallan1")
        wait_for(lambda: is_up(host, *NICS) and held not in resident.told(), resident.log.read_text)
        resident.said("hal.toml: is as it ought to be again")


def test_mtu(host: Host) -> None:
    host.configure("[netcfg]\nmtu = 4000\n[netcfg.lan.2]\nmtu = 9000\n")
    with host.resident() as resident:
        wanted = {"eno1": 4000, "haltap1": 4000, "hallan1": 4000, "eno3": 9000, "haltap2": 9000, "hallan2": 9000}
        assert {name: host.links()[name]["mtu"] for name in wanted} == wanted
    host.configure("")
    with host.resident() as resident:
        host.namespace.ip("link set eno2 mtu 2000")
        wait_for(
            lambda: {host.links()[name]["mtu"] for name in ("eno2", "haltap1", "hallan1")} == {2000},
            resident.log.read_text,
        )
