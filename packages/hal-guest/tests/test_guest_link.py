"""hal-link, in every shell that is here: on made-up machines with a fake ip or ifconfig, and on a real NIC."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestmachine import PACKAGE, PATIENCE, PRESENT, SLOW, add_fake
from hal_core.testing.systemdhost import SystemdHost, systemd_host, why_not

LINK = PACKAGE / "sbin/hal-link"
SYSV = PACKAGE / "init/hal-link"
UNIT = PACKAGE / "init/hal-link.service"

MAC, ADDRESS = "02:48:41:4c:00:02", "169.254.72.2"  # hal-netcfg's, on the host: a package imports no other
OTHER = "52:54:00:00:00:01"
# What no machine has: a shell with tools of its own, as busybox is, would do it to this one.
NIC = "hal-made-up"
UP_LINE = f"hal-link: {NIC} is up and has {ADDRESS}/30"
DOWN_LINE = f"hal-link: {NIC} is down or lacks {ADDRESS}/30"
NO_NIC = f"hal-link: no NIC {MAC}: no HAL here, or no link to its host"

# busybox finds its own ip first.
FAKEABLE = [shell for shell in PRESENT if shell[0] not in SLOW]

# Fakes. Each knows one NIC, whose state is two files, "up" and "addresses" (a line each, as ip writes them), notes in
# "calls" what is changed, and fails at everything that it does not know.
IP = """#!/bin/sh
here={here}
case "$*" in
"-o link") cat "$here/links"; exit ;;
"addr show dev {nic}") ;;
"addr add "*" dev {nic} scope link")
    if grep -q "inet $3 " "$here/addresses"; then echo "RTNETLINK answers: File exists" >&2; exit 2; fi
    echo "    inet $3 scope link {nic}" >>"$here/addresses" ;;
"addr del "*" dev {nic}") sed -i "\\\\|inet $3 |d" "$here/addresses" ;;
"link set dev {nic} up") : >"$here/up" ;;
"link set dev {nic} down") rm "$here/up" ;;
*) echo "a fake ip has no: $*" >&2; exit 1 ;;
esac
if [ "$2" != show ]; then echo "ip $*" >>"$here/calls"; exit; fi
if [ -e "$here/up" ]; then
    echo "7: {nic}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc pfifo_fast state UP group default qlen 1000"
else
    echo "7: {nic}: <BROADCAST,MULTICAST> mtu 1500 qdisc noop master BACKUP state DOWN group default qlen 1000"
fi
echo "    link/ether {mac} brd ff:ff:ff:ff:ff:ff"
cat "$here/addresses"
"""
# As net-tools 1 (RHEL 3 to 6) and busybox speak; Debian's is net-tools 2, and used for real below.
IFCONFIG = """#!/bin/sh
here={here}
case "$*" in
-a) cat "$here/links"; exit ;;
"{nic}") ;;
"{nic} {address} netmask 255.255.255.252")
    : >"$here/up"
    [ "${{LC_ALL-}}" = C ] && words="inet addr" || words="inet Adresse"
    echo "          $words:$2  Bcast:169.254.72.3  Mask:$4" >"$here/addresses" ;;
"{nic} 0.0.0.0") : >"$here/addresses" ;;
"{nic} up") : >"$here/up" ;;
"{nic} down") rm "$here/up" ;;
*) echo "a fake ifconfig has no: $*" >&2; exit 1 ;;
esac
if [ $# != 1 ]; then echo "ifconfig $*" >>"$here/calls"; exit; fi
echo "{nic} Link encap:Ethernet  HWaddr 02:48:41:4C:00:02  "
cat "$here/addresses"
if [ -e "$here/up" ]; then
    echo "          UP BROADCAST RUNNING MULTICAST  MTU:1500  Metric:1"
else
    echo "          BROADCAST MULTICAST  MTU:1500  Metric:1"
fi
"""
FAKES = {"ip": IP, "ifconfig": IFCONFIG}
# What hal-link needs besides, found where no other ip is.
TOOLS = ("cat", "grep", "head", "rm", "sed", "sh")

IP_START = [f"ip addr add {ADDRESS}/30 dev {NIC} scope link", f"ip link set dev {NIC} up"]
IP_STOP = [f"ip addr del {ADDRESS}/30 dev {NIC}", f"ip link set dev {NIC} down"]
START_CALLS = {"ip": IP_START, "ifconfig": [f"ifconfig {NIC} {ADDRESS} netmask 255.255.255.252"]}
STOP_CALLS = {"ip": IP_STOP, "ifconfig": [f"ifconfig {NIC} 0.0.0.0", f"ifconfig {NIC} down"]}


def link_tools(directory: Path, *names: str) -> None:
    """A directory of programs with these of the system, and no others."""
    directory.mkdir(exist_ok=True)
    for name in (*TOOLS, *names):
        found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
        assert found, name
        (directory / name).symlink_to(found)


class Product:
    """A made-up machine without any NIC, with the fakes of these tools."""

    def __init__(self, base: Path, shell: list[str], *tools: str) -> None:
        self._shell, self._base, self.root, self._fakes = shell, base, base / "root", base / "fakes"
        for directory in ("sys/class/net", "proc/sys/net/ipv4/conf", "proc/sys/net/ipv6/conf"):
            (self.root / directory).mkdir(parents=True)
        (self.root / "sys/class/net/bonding_masters").write_text("")  # no interface
        self.addresses = base / "addresses"
        for file in ("links", "calls", "addresses"):
            (base / file).write_text("")
        link_tools(self._fakes, shell[0])
        for tool in tools:
            add_fake(self._fakes, tool, FAKES[tool].format(here=base, nic=NIC, mac=MAC, address=ADDRESS))

    def add_nic(self, name: str, index: int, mac: str) -> None:
        nic = self.root / "sys/class/net" / name
        nic.mkdir()
        (nic / "address").write_text(f"{mac}\n")
        (nic / "ifindex").write_text(f"{index}\n")
        for setting in ("ipv6/conf/{}/disable_ipv6", "ipv4/conf/{}/rp_filter"):
            path = self.root / "proc/sys/net" / setting.format(name)
            path.parent.mkdir()
            path.write_text("0\n")

    def setting(self, name: str) -> str:
        return (self.root / "proc/sys/net" / name).read_text().strip()

    def make_linux_24(self, links: str) -> None:
        """:param links: what the tools list there, without sysfs."""
        shutil.rmtree(self.root / "sys")
        (self._base / "links").write_text(links)

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit status, what it says."""
        done = subprocess.run(
            [*self._shell, str(LINK), "--root", str(self.root), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": str(self._fakes)},
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout.strip()

    def calls(self) -> list[str]:
        """What was changed since this was asked last."""
        calls = (self._base / "calls").read_text().splitlines()
        (self._base / "calls").write_text("")
        return calls


@pytest.fixture(params=FAKEABLE, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> list[str]:
    chosen: list[str] = request.param
    return chosen


@pytest.fixture
def product(tmp_path: Path, shell: list[str]) -> Product:
    """With ip, and the NIC among others."""
    made = Product(tmp_path, shell, "ip")
    made.add_nic("eth0", 2, OTHER)
    made.add_nic(NIC, 7, MAC)
    return made


# --- what it does -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", FAKES)
def test_start_status_stop(tmp_path: Path, shell: list[str], tool: str) -> None:
    product = Product(tmp_path, shell, tool)
    product.add_nic("eth0", 2, OTHER)
    product.add_nic(NIC, 7, MAC)
    assert product("status") == (3, DOWN_LINE)
    assert product("start") == (0, UP_LINE)
    assert product.calls() == START_CALLS[tool]
    assert product("status") == (0, UP_LINE)
    assert product("start") == (0, UP_LINE)
    assert product.calls() == [], "what is as it ought to be is left alone"
    assert product("stop") == (0, "")
    assert product.calls() == STOP_CALLS[tool]
    assert product("status") == (3, DOWN_LINE)
    assert product("stop") == (0, "")
    assert product.calls() == []


def test_where_there_are_both_it_is_ip(tmp_path: Path, shell: list[str]) -> None:
    product = Product(tmp_path, shell, "ip", "ifconfig")
    product.add_nic(NIC, 7, MAC)
    assert product("start") == (0, UP_LINE)
    assert product.calls() == IP_START


@pytest.mark.parametrize("tool", FAKES)
def test_without_hal_nothing_is_said_and_nothing_changed(tmp_path: Path, shell: list[str], tool: str) -> None:
    product = Product(tmp_path, shell, tool)
    product.add_nic("eth0", 2, OTHER)
    assert product("start") == (0, "")
    assert product("stop") == (0, "")
    assert product("status") == (4, NO_NIC)
    assert product.calls() == []
    assert product.setting("ipv6/conf/eth0/disable_ipv6") == "0"


def test_the_nic_gets_no_ipv6_and_hears_the_host_alone_and_no_other_nic_is_touched(product: Product) -> None:
    assert product("start") == (0, UP_LINE)
    for nic, expected in ((NIC, "1"), ("eth0", "0")):
        assert product.setting(f"ipv6/conf/{nic}/disable_ipv6") == expected
        assert product.setting(f"ipv4/conf/{nic}/rp_filter") == expected


def test_an_old_kernel_may_lack_the_settings(product: Product) -> None:
    shutil.rmtree(product.root / "proc/sys/net")
    assert product("start") == (0, UP_LINE)


def test_a_setting_that_cannot_be_changed_is_named_and_the_link_is_there(product: Product) -> None:
    path = product.root / f"proc/sys/net/ipv6/conf/{NIC}/disable_ipv6"
    path.unlink()
    path.mkdir()  # not even root can write to it
    status, said = product("start")
    assert (status, said.splitlines()) == (0, [f"hal-link: cannot set {path}", UP_LINE])
    assert product.calls() == IP_START


@pytest.mark.parametrize(
    ("up", "address", "missing"),
    [
        (True, f"{ADDRESS}/30", []),
        (False, f"{ADDRESS}/30", IP_START[1:]),
        (True, "169.254.7.7/16", IP_START[:1]),
        (True, f"{ADDRESS}/16", IP_START[:1]),
        (True, f"{ADDRESS}0/30", IP_START[:1]),
    ],
)
def test_only_what_is_missing_is_done(product: Product, up: bool, address: str, missing: list[str]) -> None:
    if up:
        (product.addresses.parent / "up").touch()
    product.addresses.write_text(f"    inet {address} scope link {NIC}\n")
    assert product("status") == ((3, DOWN_LINE) if missing else (0, UP_LINE))
    assert product("start") == (0, UP_LINE)
    assert product.calls() == missing


def test_what_others_have_given_the_nic_stays(product: Product) -> None:
    theirs = f"    inet 10.9.8.7/24 scope global {NIC}\n"
    product.addresses.write_text(theirs)
    assert product("start") == (0, UP_LINE)
    assert product("stop") == (0, "")
    assert product.addresses.read_text() == theirs


def test_what_is_stacked_on_the_nic_wears_its_address_but_is_not_it(product: Product) -> None:
    product.add_nic("a-bridge", 12, MAC)
    product.add_nic(f"{NIC}.5", 11, MAC)
    assert product("start") == (0, UP_LINE)
    assert product.setting("ipv6/conf/a-bridge/disable_ipv6") == "0"


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_tool_that_fails_is_heard_and_the_exit_status_is_1(product: Product, tmp_path: Path, verb: str) -> None:
    if verb == "stop":
        assert product("start")[0] == 0
    fake = tmp_path / "fakes/ip"
    text = fake.read_text()
    assert "addr show" in text
    fake.write_text(text.replace("here=", "[ $2 = show ] || { echo RTNETLINK answers: no >&2; exit 2; }\nhere="))
    status, said = product(verb)
    assert status == 1
    last = DOWN_LINE if verb == "start" else f"hal-link: {NIC} still is up, or has {ADDRESS}/30"
    assert said.splitlines() == ["RTNETLINK answers: no", "RTNETLINK answers: no", last]


# --- Linux 2.4, without sysfs -----------------------------------------------------------------------------------------

IP_24 = f"""1: lo: <LOOPBACK,UP> mtu 16436 qdisc noqueue \\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
2: eth0: <BROADCAST,MULTICAST,UP> mtu 1500 qdisc pfifo_fast qlen 100\\    link/ether {OTHER} brd ff:ff:ff:ff:ff:ff
7: {NIC}: <BROADCAST,MULTICAST> mtu 1500 qdisc noop qlen 100\\    link/ether {MAC} brd ff:ff:ff:ff:ff:ff
8: {NIC}.5@{NIC}: <BROADCAST> mtu 1500 qdisc noop \\    link/ether {MAC} brd ff:ff:ff:ff:ff:ff
"""
IFCONFIG_24 = f"""eth0      Link encap:Ethernet  HWaddr {OTHER}
          inet addr:10.0.0.1  Bcast:10.0.0.255  Mask:255.255.255.0
          UP BROADCAST RUNNING MULTICAST  MTU:1500  Metric:1

{NIC} Link encap:Ethernet  HWaddr {MAC.upper()}
          BROADCAST MULTICAST  MTU:1500  Metric:1

{NIC}:1 Link encap:Ethernet  HWaddr {MAC.upper()}
          UP BROADCAST MULTICAST  MTU:1500  Metric:1

lo        Link encap:Local Loopback
          inet addr:127.0.0.1  Mask:255.0.0.0
          UP LOOPBACK RUNNING  MTU:16436  Metric:1
"""
LISTS = {"ip": IP_24, "ifconfig": IFCONFIG_24}


@pytest.mark.parametrize("tool", FAKES)
def test_without_sysfs_the_tools_know_the_nic(tmp_path: Path, shell: list[str], tool: str) -> None:
    product = Product(tmp_path, shell, tool)
    product.make_linux_24(LISTS[tool])
    assert product("start") == (0, UP_LINE)
    assert product.calls() == START_CALLS[tool]
    (tmp_path / "links").write_text(LISTS[tool].replace(MAC, OTHER).replace(MAC.upper(), OTHER))
    assert product("status") == (4, NO_NIC)
    assert product("start") == (0, "")


# --- the command line -------------------------------------------------------------------------------------------------


def test_help_is_the_scripts_own_head(product: Product) -> None:
    status, said = product("--help")
    assert status == 0
    assert said.startswith("Usage: hal-link [--root DIR] start|stop|status\n")
    assert said.endswith("(for tests)")
    page = (PACKAGE / "man/hal-link.8").read_text()
    for verb in re.findall(r"^  (\w+) ", said, re.MULTILINE):
        assert f"\n.B {verb}\n" in page


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "start, stop or status is needed"),
        (["restart"], "no verb or option restart"),
        (["start", "stop"], "one of start, stop and status, not two"),
        (["--root"], "--root needs a directory"),
        (["--root", "/nonexistent", "start"], "--root needs a directory"),
    ],
)
def test_a_wrong_command_line(product: Product, arguments: list[str], complaint: str) -> None:
    assert product(*arguments) == (2, f"hal-link: {complaint}; see hal-link --help")
    assert product.calls() == []


# --- what starts it, and what is kept off -----------------------------------------------------------------------------


class Service:
    """The SysV script, with every path of the system below a directory, and a fake of hal-link."""

    def __init__(self, base: Path, shell: list[str]) -> None:
        self._shell = shell
        self.lock = base / "lock"
        self.program = base / "hal-link-fake"
        self._calls = base / "calls"
        self.let_it_answer(start=0, stop=0, status=0)
        text = SYSV.read_text()
        for path, ours in (("/usr/sbin/hal-link", self.program), ("/var/lock/subsys/hal-link", self.lock)):
            assert f"={path}" in text
            text = text.replace(f"={path}", f"={ours}")
        self._script = base / "script"
        self._script.write_text(text)

    def let_it_answer(self, **answers: int) -> None:
        cases = "".join(f"{verb}) exit {answer} ;;\n" for verb, answer in answers.items())
        self.program.write_text(f'#!/bin/sh\necho "$*" >>{self._calls}\ncase $1 in\n{cases}esac\n')
        self.program.chmod(0o755)

    def __call__(self, *arguments: str) -> tuple[int, list[str]]:
        """Exit status, what hal-link was called for."""
        self._calls.write_text("")
        done = subprocess.run(
            [*self._shell, str(self._script), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={"PATH": "/nonexistent"},
            timeout=PATIENCE,
            check=False,
        )
        self.said = done.stdout + done.stderr
        return done.returncode, self._calls.read_text().split()


@pytest.fixture(params=PRESENT, ids=lambda shell: shell[0])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    return Service(tmp_path, [shutil.which(request.param[0]) or "", *request.param[1:]])


def test_the_sysv_script_hands_on_what_it_is_told(service: Service) -> None:
    assert service("start") == (0, ["start"])
    assert service.lock.exists()
    assert service("restart") == service("force-reload") == (0, ["stop", "start"])
    assert service.lock.exists()
    assert service("stop") == (0, ["stop"])
    assert not service.lock.exists()
    for status in (0, 3, 4):
        service.let_it_answer(status=status, start=0, stop=0)
        assert service("status") == (status, ["status"])
        expected = ["status"] if status else ["status", "stop", "start"]
        assert service("condrestart") == service("try-restart") == (0, expected)


def test_a_start_that_fails_a_program_that_is_not_there_and_a_wrong_command_line(service: Service) -> None:
    service.let_it_answer(start=1)
    assert service("start") == (1, ["start"])
    service.program.unlink()
    assert service("start") == (5, [])
    assert not service.lock.exists()
    for arguments in ([], ["bogus"]):
        assert service(*arguments) == (2, [])
        assert service.said.startswith("Usage: ")


def test_chkconfig_and_lsb_say_the_same() -> None:
    text = SYSV.read_text()
    header = re.search(r"^# chkconfig: (\d+) (\d+) (\d+)$", text, re.MULTILINE)
    assert header
    levels, begin, end = header.groups()
    lsb = dict(re.findall(r"^# ([A-Z][\w-]+): +(.*)$", text, re.MULTILINE))
    assert lsb["Default-Start"].split() == list(levels)
    assert set(levels) | set(lsb["Default-Stop"].split()) == set("0123456")
    assert lsb["Provides"] == "hal-link"
    # Between the network's S10 and syslog's S12, syslog's K88 and the network's K90: so they are in RHEL 3 to 6.
    assert 10 < int(begin) < 12
    assert 88 < int(end) < 90


def test_udev_starts_the_unit_that_is_shipped_and_nothing_else_does() -> None:
    rules = (PACKAGE / "udev/90-hal-link.rules").read_text().splitlines()
    (rule,) = [line for line in rules if line and not line.startswith("#")]
    parts = re.findall(r'([A-Z]+(?:\{\w+\})?)(==|!=|\+=)"([^"]*)"(?:, |$)', rule)
    assert ", ".join(f'{key}{operator}"{value}"' for key, operator, value in parts) == rule
    assert {key: (operator, value) for key, operator, value in parts} == {
        "ACTION": ("!=", "remove"),
        "SUBSYSTEM": ("==", "net"),
        "ATTR{address}": ("==", MAC),
        "TAG": ("+=", "systemd"),
        "ENV{SYSTEMD_WANTS}": ("+=", UNIT.name),
    }
    text = UNIT.read_text()
    assert "\n[Install]\n" not in text
    settings = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert settings["ExecStart"] == "/usr/sbin/hal-link start"
    assert settings["ExecStop"] == "/usr/sbin/hal-link stop"
    assert settings["Documentation"] == "man:hal-link(8)"
    assert settings["IgnoreOnIsolate"] == "yes"


def test_networkmanager_and_networkd_are_told_the_same_nic() -> None:
    def content(name: str) -> list[str]:
        return [line for line in (PACKAGE / name).read_text().splitlines() if line and not line.startswith("#")]

    # "+=": what others have said stays (NetworkManager.conf(5)).
    assert content("NetworkManager/90-hal-link.conf") == ["[keyfile]", f"unmanaged-devices+=mac:{MAC}"]
    assert content("networkd/10-hal-link.network") == ["[Match]", f"MACAddress={MAC}", "[Link]", "Unmanaged=yes"]


# --- for real ---------------------------------------------------------------------------------------------------------

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Namespace:
    """A network namespace with a /sys of its own. It ends with the process that it was made for."""

    def __init__(self) -> None:
        # Says when it is ready, and waits for the end of its input.
        script = "mount -t sysfs sysfs /sys && ip link set lo up && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"
        self.pid = self._holder.pid

    def popen(self, *command: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["nsenter", f"--target={self.pid}", "--net", "--mount", "env", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )

    def run(self, *command: object) -> tuple[int, str]:
        """Exit status, what it says."""
        with self.popen(*command) as process:
            said, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, said.strip()

    def ask(self, *command: object) -> str:
        status, said = self.run(*command)
        assert status == 0, said
        return said

    def end(self) -> None:
        self._holder.communicate(timeout=PATIENCE)


@pytest.fixture
def host_and_product() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces and a cable; the host's end is configured, as hal-netcfg does it."""
    host, product = Namespace(), Namespace()
    try:
        host.ask("ip", "link", "add", "end", "type", "veth", "peer", "name", NIC, "address", MAC, "mtu", "1400")
        host.ask("ip", "link", "set", NIC, "netns", product.pid)
        host.ask("ip", "addr", "add", "169.254.72.1/30", "dev", "end")
        host.ask("ip", "link", "set", "end", "up")
        yield host, product
    finally:
        product.end()
        host.end()


LISTEN = """
import socket
listener = socket.create_server(("169.254.72.1", 7272))
print("listens", flush=True)
print(listener.accept()[1][0])
"""
CONNECT = 'import socket; socket.create_connection(("169.254.72.1", 7272), timeout=10)'


@needs_root
@pytest.mark.component
@pytest.mark.parametrize(
    ("shell", "tool"),
    [
        *(pytest.param(shell, "ip", id=f"{shell[0]}-ip") for shell in PRESENT),
        *(
            pytest.param(
                shell,
                "ifconfig",
                id=f"{shell[0]}-ifconfig",
                marks=pytest.mark.skipif(not shutil.which("ifconfig"), reason="no ifconfig here"),
            )
            for shell in FAKEABLE
        ),
    ],
)
def test_a_real_nic_and_a_host_at_its_other_end(
    host_and_product: tuple[Namespace, Namespace], tmp_path: Path, shell: list[str], tool: str
) -> None:
    host, product = host_and_product
    link_tools(tmp_path / "tools", tool, shell[0])

    def hal_link(verb: str) -> tuple[int, str]:
        return product.run(f"PATH={tmp_path}/tools", *shell, LINK, verb)

    def addresses() -> set[str]:
        (nic,) = json.loads(product.ask("ip", "-json", "addr", "show", "dev", NIC))
        assert (nic["address"], nic["mtu"]) == (MAC, 1400)
        return {f"{each['local']}/{each['prefixlen']}" for each in nic["addr_info"]}

    assert hal_link("status") == (3, DOWN_LINE)
    for _ in range(2):
        assert hal_link("start") == (0, UP_LINE)
        assert addresses() == {f"{ADDRESS}/30"}, "and no IPv6"
    assert hal_link("status") == (0, UP_LINE)
    (route,) = json.loads(product.ask("ip", "-json", "route", "show", "table", "main"))
    assert (route["dst"], route["dev"]) == ("169.254.72.0/30", NIC)
    assert product.ask("cat", f"/proc/sys/net/ipv4/conf/{NIC}/rp_filter") == "1"

    with host.popen("python3", "-c", LISTEN) as listener:
        assert listener.stdout
        assert listener.stdout.readline() == "listens\n"
        product.ask("python3", "-c", CONNECT)
        assert listener.communicate(timeout=PATIENCE)[0] == f"{ADDRESS}\n"

    assert hal_link("stop") == (0, "")
    assert addresses() == set()
    assert hal_link("status") == (3, DOWN_LINE)


@needs_root
@pytest.mark.component
def test_a_real_machine_without_hal() -> None:
    product = Namespace()
    try:
        for verb in ("start", "stop"):
            assert product.run(LINK, verb) == (0, "")
        assert product.run(LINK, "status") == (4, NO_NIC)
    finally:
        product.end()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[SystemdHost]:
    """A real systemd with the unit as it is shipped, and the NIC. There is no udev: systemctl is what starts it."""
    with systemd_host(tmp_path) as host:
        host.install(LINK, "/usr/sbin/hal-link")
        host.install(UNIT, f"/usr/lib/hal-test/units/{UNIT.name}")
        host.write("/usr/lib/hal-test/units/rescue.target", "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n")
        host.boot()
        host.run("mount", "-o", "remount,rw,bind", "/proc/sys")
        host.run("ip", "link", "add", "end", "type", "veth", "peer", "name", NIC, "address", MAC)
        yield host


@pytest.mark.component
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_under_systemd_it_outlives_a_rescue_shell_but_not_the_shutdown(systemd: SystemdHost) -> None:
    def has_address() -> bool:
        return f" {ADDRESS}/30 " in systemd.run("ip", "addr", "show", "dev", NIC)

    systemd.run("systemctl", "start", UNIT.name)
    assert has_address()
    systemd.run("systemctl", "isolate", "rescue.target")
    assert systemd.show(UNIT.name, "ActiveState") == "active"
    assert has_address()
    systemd.run("systemctl", "--no-block", "isolate", "reboot.target")
    systemd.wait(lambda: systemd.show(UNIT.name, "ActiveState") == "inactive", "the shutdown ends it")
    assert systemd.show(UNIT.name, "Result") == "success"
    assert not has_address()


@pytest.mark.component
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_under_systemd_a_server_without_hal_has_no_failed_unit(systemd: SystemdHost) -> None:
    systemd.run("ip", "link", "del", NIC)
    systemd.run("systemctl", "start", UNIT.name)
    systemd.run("systemctl", "stop", UNIT.name)
    assert systemd.show(UNIT.name, "Result") == "success"
