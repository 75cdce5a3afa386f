"""A server with everything around it, here switched off: its LAN, and what is gathered of it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lab.display.screen import Screen
from lab.errors import LabError
from lab.simulator import files, server
from lab.simulator.machine import Machine
from lab.simulator.shell import HostShell
from lab.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    place = tmp_path / "server"
    place.mkdir()
    return Site(Machine(place, server.load(server.shipped()["one-u"])))


def test_a_peer_at_the_end_of_each_cable_as_long_as_it_is_entered(site: Site) -> None:
    cables = [site.server.lan(number) for number in range(2)]
    assert site.lan == []
    with site as entered:
        assert entered is site
        assert [peer.address for peer in site.lan] == ["10.77.0.1", "10.77.1.1"]
        for number, ((_, theirs), peer) in enumerate(zip(cables, site.lan)):
            frame = bytes.fromhex("ffffffffffff001b210a000188b5") + bytes([number] * 46)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as qemu:
                qemu.sendto(frame, str(theirs))
            assert peer.wait_for(lambda _: True, 10).frame.pack() == frame
            assert peer.seen() == {"00:1b:21:0a:00:01": 1}
    assert not any(theirs.exists() for _, theirs in cables)
    assert (site.server.directory / "lan1.pcap").stat().st_size > 60


def test_a_lan_that_cannot_be_leaves_nothing_behind(site: Site) -> None:
    (site.server.directory / "lan1.pcap").mkdir()
    with pytest.raises((LabError, OSError), match=r"lan1\.pcap"), site:
        pass
    assert not site.server.lan(0)[1].exists()


def test_a_blank_image(site: Site) -> None:
    image = site.blank("stick", 2)
    assert (image.parent, image.stat().st_size) == (site.server.directory, 2 << 20)


class SlowTerminal(Site):
    """FAKE: what is typed is on the screen one look later; what is typed before that is lost."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.line, self.waiting = "product#", ""

    def screen(self) -> Screen:
        shown = Screen(["Linux", self.line, ""], "linux", [])
        self.line, self.waiting = self.line + self.waiting, ""
        return shown

    def press(self, text: str) -> None:
        if self.waiting:
            raise LabError(f"{text!r} is lost")
        self.waiting = text if self.line != "product#" else f" {text}"


def test_somebody_types_no_faster_than_it_comes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = SlowTerminal(site.server)
    monkeypatch.setattr(terminal.server, "type", terminal.press)
    terminal.type("echo A+B *\n")
    terminal.screen()
    assert terminal.line == "product# echo A+B *\n"


def test_all_that_a_server_that_is_off_has_left(site: Site, tmp_path: Path) -> None:
    place = site.server.directory
    left = {files.DESCRIPTION: "a\n", files.QEMU_LOG: "b\n", files.HOST_CONSOLE: "c\n", files.HAL_TOML: "d\n"}
    left |= {files.serial_log(0): "e\n", "lan0.pcap": "f\n"}
    for name, text in left.items():
        (place / name).write_text(text)
    site.server.record.add("RESET", {"guest": True, "reason": "guest-reset"})
    evidence = tmp_path / "results" / "story"
    evidence.mkdir(parents=True)
    (evidence / "of-the-last-time").touch()

    site.gather(evidence)

    found = {path.name: path.read_text() for path in evidence.iterdir()}
    missing, events = found.pop("missing.txt").splitlines(), found.pop("events.txt")
    assert found == left
    assert [line.partition(": ")[0] for line in missing] == ["picture", "journal", "status"]
    assert missing[0] == "picture: one-u is off: no screendump"
    assert all(line.endswith("is the server on?") for line in missing[1:])
    assert events.split(maxsplit=1)[1] == "RESET  {'guest': True, 'reason': 'guest-reset'}\n"


def test_what_a_host_that_answers_says(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(self: HostShell, *argv: str, **options: object) -> tuple[int, str, str]:
        return 0, '{"state": "running"}' if argv[0] == "hal" else f"{argv[0]} says\n", ""

    monkeypatch.setattr(HostShell, "wait_until_up", lambda *_: None)
    monkeypatch.setattr(HostShell, "ask", ask)
    site.gather(tmp_path / "evidence")
    assert (tmp_path / "evidence/journal.txt").read_text() == "journalctl says\n"
    status = (tmp_path / "evidence/status.txt").read_text()
    assert status == "{'state': 'running'}\n\n\n\nps says\n\n\nsystemctl says\n"
    assert (tmp_path / "evidence/missing.txt").read_text() == "picture: one-u is off: no screendump\n"


def test_a_server_that_is_off_shows_nothing(site: Site) -> None:
    with pytest.raises(LabError, match="one-u is off"):
        site.screen()
