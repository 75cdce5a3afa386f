"""The root shell in the host, with the real agent of QEMU on this machine: only harmless commands."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.simulator import sockets
from lab.simulator.shell import HostShell

pytestmark = pytest.mark.component


# Standard input is handed over as the first socket.
_WITH_SOCKET = ("/bin/sh", "-c", 'exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[HostShell]:
    path = tmp_path / "agent.sock"
    program = shutil.which("qemu-ga", path="/usr/sbin:/usr/bin")
    assert program is not None, "qemu-ga is missing: install qemu-guest-agent"
    # Its socket is made here, so that it listens at once: the agent takes one that is handed over (sd_listen_fds(3)).
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with sockets.address(path) as name:
        listener.bind(name)
    listener.listen()
    agent = subprocess.Popen(
        [*_WITH_SOCKET, program, "-m", "unix-listen", "-p", str(path), "-t", str(tmp_path)],
        stdin=listener.fileno(),
    )
    shell = HostShell(path)
    shell.wait_until_up(30)
    yield shell
    shell.close()
    agent.kill()
    agent.wait()
    listener.close()


def test_commands(shell: HostShell) -> None:
    assert shell.run("echo", "hello") == "hello\n"
    assert shell.run("cat", input="öffne dich") == "öffne dich"
    assert shell.ask("sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    assert shell.ask("sh", "-c", "kill -9 $$")[0] == -9
    assert len(shell.run("head", "-c", "300000", "/dev/zero")) == 300000


def test_what_fails_is_told_in_one_line(shell: HostShell) -> None:
    with pytest.raises(LabError) as failed:
        shell.run("sh", "-c", "echo one >&2; echo two >&2; false")
    assert str(failed.value).endswith("failed with status 1: one | two")
    with pytest.raises(LabError, match=r"guest-exec /no/such: .*No such file"):
        shell.run("/no/such")
    with pytest.raises(LabError, match="did not end within 0 s, and still runs"):
        shell.run("sleep", "1", seconds=0)


def test_files(shell: HostShell, tmp_path: Path) -> None:
    place = str(tmp_path / "file")
    content = bytes(range(256)) * 10000
    shell.write(place, content)
    assert shell.read_bytes(place) == content
    shell.write(place, "text\n")
    assert shell.read(place) == "text\n"
    assert shell.read("/proc/self/comm") == "qemu-ga\n"
    with pytest.raises(LabError, match=r"guest-file-open /no/such: .*No such file"):
        shell.read("/no/such")


def test_what_is_left_of_another_conversation_is_nobodys(shell: HostShell) -> None:
    shell.run("true")
    assert shell._socket is not None
    shell._socket.sendall(b'{"execute": "guest-ping"}\n{"execute": "guest-i')
    assert shell.run("echo", "mine") == "mine\n"
    shell.close()
    assert shell.run("echo", "again") == "again\n"


def test_nobody_answers(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with pytest.raises(LabError, match=r"is the server on\?"):
            HostShell(path).run("true")
        listener.bind(str(path))
        listener.listen()
        silent = HostShell(path)
        with pytest.raises(LabError, match=r"did not answer within 0\.1 s"):
            silent.wait_until_up(0.1)
        silent.close()
