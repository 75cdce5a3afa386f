"""Running nft: what it is given, and one clear line for everything that may go wrong. nft itself is a fake here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Callable

import pytest

from hal_core.errors import HostError
from hal_netcfg.firewall import nft

Fake = Callable[[str], None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Makes a fake nft of a few lines of sh."""

    def make(script: str) -> None:
        program = tmp_path / "nft"
        program.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        program.chmod(0o755)

    monkeypatch.setattr(nft, "PATH", f"{tmp_path}:/usr/bin:/bin")
    return make


def test_commands_go_to_its_standard_input(fake: Fake, tmp_path: Path) -> None:
    fake('echo "$@" > arguments; cat > input; env > environment')
    nft.load([{"add": {"table": {"family": "inet", "name": "hal"}}}])
    assert (tmp_path / "arguments").read_text() == "-j -f -\n"
    assert json.loads((tmp_path / "input").read_text()) == {
        "nftables": [{"add": {"table": {"family": "inet", "name": "hal"}}}]
    }
    environment = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines())
    assert environment["LC_ALL"] == "C"
    assert not set(environment) & (set(os.environ) - {"LC_ALL", "PATH", "PWD", "OLDPWD", "SHLVL", "_"})


def test_a_listing_is_both_tables_without_nfts_version(fake: Fake) -> None:
    fake(
        'echo "{\\"nftables\\": [{\\"metainfo\\": {\\"version\\": \\"1\\"}}, {\\"table\\": {\\"family\\": \\"$4\\"}}]}"'
    )
    assert nft.listing() == [{"table": {"family": "inet"}}, {"table": {"family": "bridge"}}]


def test_a_table_that_is_missing_adds_nothing(fake: Fake) -> None:
    fake(
        'if [ "$4" = inet ]; then echo "Error: No such file or directory" >&2; exit 1; fi\n'
        'echo \'{"nftables": [{"table": {}}]}\''
    )
    assert nft.listing() == [{"table": {}}]


def test_removing_deletes_both_tables(fake: Fake, tmp_path: Path) -> None:
    fake("cat > input")
    nft.remove()
    commands = json.loads((tmp_path / "input").read_text())["nftables"]
    deleted = [command["delete"]["table"] for command in commands if "delete" in command]
    assert deleted == [{"family": "inet", "name": "hal"}, {"family": "bridge", "name": "hal"}]


@pytest.mark.parametrize(
    ("script", "message", "hint"),
    [
        (
            "echo 'Operation not permitted (you must be root)' >&2\n"
            "echo 'netlink: Error: cache initialization failed: Operation not permitted' >&2; exit 1",
            "nft: not permitted to change or list firewall rules",
            "run this as root",
        ),
        (
            "echo 'netlink: Error: cache initialization failed: Invalid argument' >&2; exit 1",
            "nft: the kernel has no nf_tables, or does not let this service use it",
            "try `modprobe nf_tables`, and `nft list tables` in a shell",
        ),
        (
            "echo 'mnl.c:60: Unable to initialize Netlink socket: Protocol not supported' >&2; exit 3",
            "nft: the kernel has no nf_tables, or does not let this service use it",
            "try `modprobe nf_tables`, and `nft list tables` in a shell",
        ),
        (
            "echo >&2; echo 'internal:0:0-0: Error: Could not process rule: Device or resource busy' >&2\n"
            "echo 'something else' >&2; exit 1",
            "nft: Could not process rule: Device or resource busy",
            "",
        ),
        ("exit 7", "nft: ended with status 7, and said nothing", ""),
        ("kill -ABRT $$", "nft: ended with status -6, and said nothing", ""),
    ],
)
def test_what_goes_wrong_is_one_line(fake: Fake, script: str, message: str, hint: str) -> None:
    fake(script)
    for action in (lambda: nft.load([]), nft.remove, nft.listing):
        with pytest.raises(HostError) as raised:
            action()
        assert (raised.value.message, raised.value.hint) == (message, hint)


def test_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "PATH", "/nonexistent")
    with pytest.raises(HostError) as raised:
        nft.listing()
    assert raised.value.message == "nft is in none of /nonexistent: there is no firewall without it"
    assert raised.value.hint == "install nftables"


def test_it_cannot_be_run(fake: Fake, tmp_path: Path) -> None:
    fake("")
    (tmp_path / "nft").write_text("#!/nonexistent\n")
    with pytest.raises(HostError, match=r"^cannot run .*/nft: No such file or directory"):
        nft.listing()


def test_it_does_not_end(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nft, "DEADLINE_S", 0.2)
    fake("echo $$ > pid; exec sleep 60")
    with pytest.raises(HostError, match=r"/nft: did not end within 0\.2 s$"):
        nft.load([])
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists(), "it has been ended"


@pytest.mark.parametrize("output", ["", "no JSON", "[]", "{}", "null"])
def test_its_listing_is_no_listing(fake: Fake, output: str) -> None:
    fake(f"echo '{output}'")
    with pytest.raises(HostError, match=r"^nft: its list of table inet hal is not JSON$"):
        nft.listing()
