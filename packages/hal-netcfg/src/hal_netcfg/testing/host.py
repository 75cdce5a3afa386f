"""A host for tests: a network namespace with veth pairs for NICs, and the real hal-netcfg in it. A "product" is whoever
has a tap open, as QEMU would have it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from hal_netcfg.testing.netns import PATIENCE, Namespace, received, wait_for

# linux/if_tun.h
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


class Host:
    """:param nics: name → permanent MAC address; each is one end of a veth pair whose other end is in ``lan``."""

    def __init__(self, directory: Path, nics: dict[str, str], lan: Namespace, prefix: str = "lan") -> None:
        self.nics = nics
        self.lan = lan
        self.namespace = Namespace()
        self.run_dir = directory / "run"
        self.config_dir = directory / "etc"
        self.run_dir.mkdir(parents=True)
        self.config_dir.mkdir()
        self._prefix = prefix
        # As a server has it: the noise that this makes is what hal-netcfg has to keep from the LAN.
        for which in ("all", "default"):
            self.namespace.sysctl(f"ipv6/conf/{which}/disable_ipv6", "0")
        for name in nics:
            self.plug_in(name)

    def peer(self, nic: str) -> str:
        """The other end of a NIC's cable, in the LAN's namespace."""
        return f"{self._prefix}-{nic}"

    def plug_in(self, nic: str) -> None:
        """Make the NIC, wearing its permanent address, and down, as a driver leaves it."""
        self.namespace.ip(
            f"link add {nic} address {self.nics[nic]} type veth peer name {self.peer(nic)} netns {self.lan.path}"
        )
        self.lan.ip(f"link set {self.peer(nic)} up")

    def cable(self, nic: str, plugged: bool) -> None:
        self.lan.ip(f"link set {self.peer(nic)} {'up' if plugged else 'down'}")

    def configure(self, text: str) -> None:
        (self.config_dir / "hal.toml").write_text(text)

    def plan_product(self, numbers: dict[int, str]) -> None:
        """As hal-vmm writes it: the product's NIC number → permanent MAC address."""
        nics = [
            {"host": "?", "mac": mac, "slot": number, "tap": f"haltap{number}", "model": "virtio-net-pci"}
            for number, mac in numbers.items()
        ]
        (self.run_dir / "plan.json").write_text(json.dumps({"nics": nics, "held_back": []}))

    def command(self, *verb: str) -> list[str]:
        return [sys.executable, "-m", "hal_netcfg.testing.runner", json.dumps(self.nics), *verb]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HAL_RUN_DIR": str(self.run_dir),
            "HAL_CONFIG_DIR": str(self.config_dir),
            "HAL_DEFAULTS_DIR": str(self.config_dir / "none"),
            "PYTHONPATH": ":".join(sys.path),
        }

    def run(self, *verb: str, status: int = 0, user: Optional[int] = None, nft_path: str = "") -> str:
        """A verb of ``hal netcfg``; its standard output, and standard error after it.

        :param user: whose process it is, if not the caller's. :param nft_path: where nft is looked for instead.
        """
        with self.namespace.inside():
            done = subprocess.run(
                self.command(*verb),
                env={**self.environment, "NFT_PATH": nft_path},
                user=user,
                group=user,
                extra_groups=None if user is None else (),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        if done.returncode != status:
            raise AssertionError(f"status {done.returncode}, not {status}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def damage(self, *commands: str) -> None:
        """ip(8) with each of the commands; what is not there to be damaged, or cannot be, is passed over."""
        with self.namespace.inside():
            text = "\n".join(commands)
            subprocess.run(
                ["ip", "-force", "-batch", "-"], input=text, text=True, stderr=subprocess.DEVNULL, check=False
            )

    @contextlib.contextmanager
    def resident(self) -> Iterator[Resident]:
        """``hal-netcfg run``, once it has said that it is ready."""
        resident = Resident(self)
        resident.start()
        try:
            yield resident
        finally:
            resident.end()

    def links(self) -> dict[str, dict[str, Any]]:
        listed = json.loads(self.namespace.run("ip", "-json", "-details", "link", "show"))
        return {link["ifname"]: link for link in listed}

    def master(self, name: str) -> str:
        return str(self.links().get(name, {}).get("master", ""))

    def _forwards(self, tap: str) -> bool:
        """Whether a tap is up, and everything else in its bridge that has a cable, too."""
        links = self.links()
        bridge = links[tap].get("master")
        ports = [link for link in links.values() if bridge and link.get("master") == bridge]
        states = [port["linkinfo"]["info_slave_data"]["state"] for port in ports if "LOWER_UP" in port["flags"]]
        return links[tap]["operstate"] in ("UP", "UNKNOWN") and set(states) <= {"forwarding"}

    @contextlib.contextmanager
    def product(self, tap: str) -> Iterator[Tap]:
        """Be the product on that tap: it has a carrier for as long."""
        attached = Tap(self.namespace, tap)
        try:
            # A bridge hears of its ports' carriers from the kernel's link watch, which takes its time.
            wait_for(lambda: self._forwards(tap), lambda: f"{tap} does not come up: {self.links()}")
            yield attached
        finally:
            attached.close()


class Tap:
    """The product's end of a tap that is there already."""

    def __init__(self, namespace: Namespace, name: str) -> None:
        with namespace.inside():
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(self.fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))

    def close(self) -> None:
        os.close(self.fd)

    def send(self, frame: bytes) -> None:
        os.write(self.fd, frame)

    def receive(self) -> Optional[bytes]:
        """What there is to be read now; None: nothing."""
        try:
            return os.read(self.fd, 65536)
        except BlockingIOError:
            return None

    def wait_for(self, frame: bytes, send: Callable[[], object]) -> None:
        """Have it sent until it comes: a bridge that has just got a port loses what it is sent at first.

        :raise AssertionError: it does not come.
        """
        seen: list[bytes] = []

        def arrived() -> bool:
            send()
            while (received := self.receive()) is not None:
                seen.append(received)
            return frame in seen

        wait_for(arrived, lambda: f"{frame[:20].hex(' ')}… has not come; what has: {[one[:20] for one in seen]}")


class Resident:
    def __init__(self, host: Host) -> None:
        self._host = host
        self._process: Optional[subprocess.Popen[str]] = None
        self._notified = contextlib.ExitStack()  # the socket that systemd would have
        self.log = host.run_dir / "resident.log"

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise AssertionError("it has not been started")
        return self._process

    def start(self) -> None:
        path = str(self._host.run_dir / "notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.ExitStack() as until_ready:
            sock = until_ready.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            sock.bind(path)
            sock.setblocking(False)
            with self.log.open("a") as log, self._host.namespace.inside():
                environment = {**self._host.environment, "NOTIFY_SOCKET": path}
                command = self._host.command("run", "--verbose")
                self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True)
            process = self._process
            wait_for(
                lambda: b"READY=1" in (received(sock) or b"") or process.poll() is not None,
                lambda: f"it is not ready:\n{self.log.read_text()}",
            )
            if process.poll() is not None:
                raise AssertionError(f"it has ended:\n{self.log.read_text()}")
            self._notified = until_ready.pop_all()

    def kill(self) -> None:
        self._running.send_signal(signal.SIGKILL)
        self._running.wait(PATIENCE)

    def end(self) -> None:
        self._notified.close()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"it does not end:\n{self.log.read_text()}") from None

    def told(self) -> str:
        """What hal netcfg status goes by."""
        return (self._host.run_dir / "netcfg/status.json").read_text()

    def said(self, text: str) -> None:
        """Wait for a line of its log.

        :raise AssertionError: it does not come.
        """
        wait_for(lambda: text in self.log.read_text(), lambda: f"{text!r} is not in its log:\n{self.log.read_text()}")


def frame(target: str, source: str, ether_type: int = 0x88B5, payload: bytes = b"", size: int = 60) -> bytes:
    """An Ethernet frame without its checksum; 0x88B5 is for experiments (IEEE 802-2014, 9.2.4)."""
    header = bytes.fromhex(target.replace(":", "") + source.replace(":", "")) + struct.pack("!H", ether_type)
    return (header + payload).ljust(size, b"\0")


def sources(frames: Sequence[bytes]) -> set[str]:
    return {frame[6:12].hex(":") for frame in frames}


def read_all(sock: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sock.recv(65535))
    return found
