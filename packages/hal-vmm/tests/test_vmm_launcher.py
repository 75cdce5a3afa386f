"""The launcher as a process that becomes a QEMU: here one that tells what it was given, and waits.

Some things only root can do (drop to another user, claim a disk, make a tap): those tests are skipped for others.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import pwd
import re
import resource
import shutil
import socket
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

import pytest

import hal_core
import hal_vmm
from hal_core.errors import FileFormatError, HostError
from hal_vmm.launch import launcher, launchplan, opening, readplan
from hal_vmm.launch.launchplan import FIRST_FD, LaunchPlan, Listener, Node, Tap
from hal_vmm.manager.qemulock import lock_path, running_pid

PATIENCE = 30.0  # seconds, on a busy machine
NOBODY = "nobody"
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can do this")

# Stands in for QEMU: says what it was given, in one line, and ends when its standard input does.
FAKE_QEMU = """
import fcntl, json, os, resource, sys
fds = {}
for name in os.listdir("/proc/self/fd"):
    try:
        flags = fcntl.fcntl(int(name), fcntl.F_GETFL)
        fds[name] = {
            "path": os.readlink("/proc/self/fd/" + name),
            "mode": ("ro", "wo", "rw")[flags & os.O_ACCMODE],
            "nonblock": bool(flags & os.O_NONBLOCK),
            "cloexec": bool(fcntl.fcntl(int(name), fcntl.F_GETFD) & fcntl.FD_CLOEXEC),
        }
    except OSError:
        continue  # that of the listing itself
with open("/proc/self/environ") as file:
    environment = dict(entry.split("=", 1) for entry in file.read().split("\\0") if entry)
with open("/proc/self/stat") as file:
    terminal = int(file.read().rpartition(")")[2].split()[4])
journal = os.open(sys.argv[1] + ".in", os.O_RDWR | os.O_NONBLOCK)
limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
print(json.dumps({
    "pid": os.getpid(), "argv": sys.argv[1:], "fds": fds, "environment": environment, "terminal": terminal,
    "affinity": sorted(os.sched_getaffinity(0)), "limits": limits,
    "journal": os.read(journal, 4096).decode(),
}), flush=True)
sys.stdin.read()
"""


class Launch:
    """One launch of one plan, and what came of it."""

    def __init__(
        self, run_dir: Path, *, through: tuple[str, ...] = (), pass_fds: tuple[int, ...] = (), **environment: str
    ) -> None:
        path = [os.path.dirname(package.__path__[0]) for package in (hal_core, hal_vmm)]
        script = f"import sys; sys.path[:0] = {path!r}; from hal_vmm.launch.launcher import run; sys.exit(run())"
        self.process = subprocess.Popen(
            [*through, sys.executable, "-I", "-S", "-c", script, str(run_dir / "qemu.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"SECRET": "not for QEMU", **environment},
            pass_fds=pass_fds,
            start_new_session=True,  # a session leader without a terminal could get one by opening it
            encoding="utf-8",
        )
        assert self.process.stdout
        self.said = self.process.stdout.readline()

    @property
    def report(self) -> dict[str, Any]:
        """What the fake QEMU has said. :raise AssertionError: it never ran."""
        assert self.said, self.end()
        report: dict[str, Any] = json.loads(self.said)
        return report

    def end(self) -> tuple[int, str]:
        """Let it end; its exit status, and what is on its standard error."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors

    def refusal(self) -> str:
        """Why the launcher did not become QEMU: its one line, without the hint.

        :raise AssertionError: it became QEMU, or said anything but one line and a hint.
        """
        status, errors = self.end()
        assert not self.said, "it became QEMU"
        assert status == 1, errors
        first, *others = errors.splitlines()
        assert first.startswith("<3>hal-qemu-launch: ")
        assert len(others) <= 1
        assert all(line.startswith("<3>hal-qemu-launch: hint: ") for line in others)
        return first

    def __enter__(self) -> Launch:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self.process.returncode is None:
            self.end()


def plan(run_dir: Path, **changes: Any) -> LaunchPlan:
    base = str(run_dir / "events" / "qmp")
    minimal = LaunchPlan(
        version=launchplan.VERSION,
        qemu=sys.executable,
        argv=(sys.executable, "-I", "-S", "-c", FAKE_QEMU, base, "-name", "hal"),
        user="",
        groups=(),
        nodes=(),
        taps=(),
        listeners=(),
        journal=base,
        emulator_cpus=(),
        pinning=(),
        memlock=None,
    )
    return dataclasses.replace(minimal, **changes)


def write(run_dir: Path, **changes: Any) -> dict[str, Any]:
    """Write a plan file; its content."""
    content = dataclasses.asdict(plan(run_dir, **changes))
    (run_dir / "qemu.json").write_text(json.dumps(content))
    return content


def file_node(fd: int, path: Path, **changes: Any) -> Node:
    path.touch()
    return dataclasses.replace(Node(fd, str(path), "file", "rw", f"disk image {path.name}"), **changes)


# --- what QEMU gets --------------------------------------------------------------------------------------------------


def test_the_constants_agree() -> None:
    assert readplan.VERSION == launchplan.VERSION
    assert 2 < launcher.LOCK_FD < FIRST_FD
    assert set(readplan._NODE) == {field.name for field in dataclasses.fields(Node)}
    assert set(readplan._PLAN) | {"version", "pinning"} == {field.name for field in dataclasses.fields(LaunchPlan)}


def test_every_descriptor_arrives_under_its_number_and_nothing_else_does(tmp_path: Path) -> None:
    nodes = (
        file_node(FIRST_FD, tmp_path / "a.img"),
        file_node(FIRST_FD + 1, tmp_path / "b.img", mode="ro"),
        Node(FIRST_FD + 2, "/dev/zero", "char", "rw", "a device", nonblock=True),
    )
    listeners = (Listener(FIRST_FD + 3, str(tmp_path / "qmp" / "manager")),)
    write(tmp_path, nodes=nodes, listeners=listeners)
    reader, writer = os.pipe()
    try:
        with Launch(tmp_path, pass_fds=(reader, writer)) as launch:
            fds = launch.report["fds"]
    finally:
        os.close(reader)
        os.close(writer)
    by_path = {fd["path"]: number for number, fd in fds.items() if int(number) > 2}
    journal_in = str(tmp_path / "events" / "qmp.in")
    fake_itself = {number for number, fd in fds.items() if fd["path"] == journal_in and fd["cloexec"]}
    fifo = {number for number, fd in fds.items() if fd["path"] == journal_in} - fake_itself
    assert by_path[str(tmp_path / "a.img")] == "16"
    assert by_path[str(tmp_path / "b.img")] == "17"
    assert by_path["/dev/zero"] == "18"
    assert fds["19"]["path"].startswith("socket:")
    assert by_path[lock_path(str(tmp_path))] == str(launcher.LOCK_FD)
    assert len(fifo) == 1, "the FIFO is kept open, or it would forget what is in it"
    assert set(fds) - fake_itself == {"0", "1", "2", "15", "16", "17", "18", "19"} | fifo
    assert [fds[number]["mode"] for number in ("16", "17", "18")] == ["rw", "ro", "rw"]
    assert [fds[number]["nonblock"] for number in ("16", "17", "18")] == [False, False, True]
    assert not any(fds[number]["cloexec"] for number in ("15", "16", "17", "18", "19"))


def test_many_descriptors_do_not_get_into_each_others_way(tmp_path: Path) -> None:
    nodes = tuple(file_node(FIRST_FD + index, tmp_path / f"{index}.img") for index in range(80))
    write(tmp_path, nodes=nodes)
    with Launch(tmp_path) as launch:
        fds = launch.report["fds"]
    assert [fds[str(node.fd)]["path"] for node in nodes] == [node.path for node in nodes]


def test_qemu_gets_its_arguments_and_a_fixed_environment(tmp_path: Path) -> None:
    write(tmp_path)
    with Launch(tmp_path, LD_PRELOAD="", PYTHONPATH="/nowhere") as launch:
        assert launch.report["argv"][1:] == ["-name", "hal"]
        assert launch.report["environment"] == {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": "/",
            "TERM": "linux",
        }
        assert launch.report["pid"] == launch.process.pid, "whoever started the launcher has started QEMU"


def test_limits_and_processors(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    write(tmp_path, memlock=65536, emulator_cpus=(cpu,))
    with Launch(tmp_path) as launch:
        limits = launch.report["limits"]
        assert launch.report["affinity"] == [cpu]
    assert limits["RLIMIT_CORE"] == [0, 0], "a core dump would be the product's whole memory"
    assert limits["RLIMIT_MEMLOCK"] == [65536, 65536]
    assert limits["RLIMIT_NOFILE"][0] == limits["RLIMIT_NOFILE"][1]


def test_processors_that_are_not_there_do_not_stop_the_product(tmp_path: Path) -> None:
    write(tmp_path, emulator_cpus=(1023,))
    with Launch(tmp_path) as launch:
        assert launch.report["affinity"] == sorted(os.sched_getaffinity(0))
        status, errors = launch.end()
    assert status == 0
    assert errors.startswith("<4>hal-qemu-launch: QEMU's own threads are not pinned to [1023]: ")


def test_memory_that_may_not_be_locked_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_allowed(what: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", not_allowed)
    with pytest.raises(HostError, match="cannot let QEMU lock 1024 bytes of memory"):
        launcher._set_limits(1024, [])


def test_the_journal_is_new_and_its_monitor_is_asked_to_begin(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "qmp.out").write_text("the last QEMU's\n")
    write(tmp_path)
    with Launch(tmp_path) as launch:
        assert launch.report["journal"] == '{"execute":"qmp_capabilities"}\n'
        out = (tmp_path / "events" / "qmp.out").stat()
        assert (out.st_size, stat.S_IMODE(out.st_mode)) == (0, 0o600)
        assert stat.S_IMODE((tmp_path / "events" / "qmp.in").stat().st_mode) == 0o600


def test_sockets_listen_and_only_their_owner_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "qmp" / "cli"
    path.parent.mkdir()
    path.write_text("left over")
    write(tmp_path, listeners=(Listener(FIRST_FD, str(path)),))
    with Launch(tmp_path) as launch:
        assert launch.report["fds"]["16"]["path"].startswith("socket:")
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
            assert struct.unpack("iII", credentials)[0] == launch.process.pid


# --- one QEMU at a time ----------------------------------------------------------------------------------------------


def test_the_lock_is_held_for_as_long_as_qemu_lives(tmp_path: Path) -> None:
    write(tmp_path)
    with Launch(tmp_path) as launch:
        assert launch.report["pid"] == running_pid(str(tmp_path)) == launch.process.pid
    assert running_pid(str(tmp_path)) is None


def test_a_second_launch_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    socket_path = tmp_path / "qmp" / "cli"
    write(tmp_path, listeners=(Listener(FIRST_FD, str(socket_path)),))
    with Launch(tmp_path) as first:
        journal = (tmp_path / "events" / "qmp.out").stat().st_ino
        inode = socket_path.stat().st_ino
        with Launch(tmp_path) as second:
            refusal = second.refusal()
        assert refusal == f"<3>hal-qemu-launch: the product is already running: QEMU, pid {first.process.pid}"
        assert (tmp_path / "events" / "qmp.out").stat().st_ino == journal
        assert socket_path.stat().st_ino == inode
        assert running_pid(str(tmp_path)) == first.process.pid
    with Launch(tmp_path) as third:
        assert third.report


def test_a_killed_qemu_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    write(tmp_path, listeners=(Listener(FIRST_FD, str(tmp_path / "agent.sock")),))
    with Launch(tmp_path) as launch:
        assert launch.report
        launch.process.kill()
        launch.end()
    with Launch(tmp_path) as launch:
        assert launch.report


# --- what is wrong ---------------------------------------------------------------------------------------------------


def test_no_plan_is_one_line(tmp_path: Path) -> None:
    with Launch(tmp_path) as launch:
        assert f"no launch plan at {tmp_path}/qemu.json" in launch.refusal()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is damaged: "),
        ("{", "is damaged: "),
        ("[]", "has version list"),
        ("null", "has version NoneType"),
        ("{}", "has version None"),
        ('{"version": 2}', "has version 2; this launcher knows 1"),
        ('{"version": "1"}', "has version 1; this launcher knows 1"),
        ('{"version": 1}', "qemu, argv, user, groups"),
        ("\0" * 100, "is damaged: "),
    ],
)
def test_a_plan_that_is_none_is_one_line(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "qemu.json").write_text(content)
    with Launch(tmp_path) as launch:
        assert expected in launch.refusal()
    assert not Path(lock_path(str(tmp_path))).exists(), "nothing has been touched"


def test_a_plan_cut_short_anywhere_is_damaged(tmp_path: Path) -> None:
    text = json.dumps(write(tmp_path))
    path = tmp_path / "qemu.json"
    for length in range(0, len(text), 7):
        path.write_text(text[:length])
        with pytest.raises(FileFormatError, match="is damaged"):
            readplan.read(str(path))
    path.write_text(text)
    assert readplan.read(str(path))


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("argv", "qemu -S", "argv"),
        ("argv", ["qemu", 5], "argv"),
        ("memlock", "all", "memlock"),
        ("groups", [None], "groups"),
        ("emulator_cpus", ["0"], "emulator_cpus"),
        ("user", None, "user"),
        ("nodes", {}, "nodes"),
        ("nodes", ["/dev/sda"], "nodes[0].fd, nodes[0].path"),
        ("nodes", [{**dataclasses.asdict(Node(16, "/a", "file", "rw", "x")), "fd": "16"}], "nodes[0].fd"),
        ("taps", [{"fd": 16}], "taps[0].name"),
        ("listeners", [{"fd": 16, "path": "/a"}, {"path": "/b"}], "listeners[1].fd"),
    ],
)
def test_a_plan_with_a_wrong_value_says_which(tmp_path: Path, key: str, value: object, wrong: str) -> None:
    path = tmp_path / "qemu.json"
    path.write_text(json.dumps({**write(tmp_path), key: value}))
    with pytest.raises(FileFormatError) as raised:
        readplan.read(str(path))
    assert f"is damaged: {wrong}" in raised.value.message
    assert raised.value.message.endswith(" missing or wrong")


@pytest.mark.parametrize("key", sorted(readplan._PLAN.keys() - {"directs", "direct_memlock"}))
def test_a_plan_that_lacks_a_key_says_which(tmp_path: Path, key: str) -> None:
    path = tmp_path / "qemu.json"
    content = write(tmp_path)
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match=f"is damaged: {key} missing or wrong"):
        readplan.read(str(path))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (Node(16, "/dev/no-such-disk", "block", "rw", "disk sdz (serial S1)"), "cannot open disk sdz (serial S1): "),
        (Node(16, "/dev/null", "block", "rw", "disk sdz"), "cannot use disk sdz: /dev/null is not a block device"),
        (Node(16, "/", "file", "ro", "disk image"), "cannot use disk image: / is not a file"),
        (Node(16, "/dev/null", "tape", "ro", "a tape"), "cannot use a tape: /dev/null is not a tape"),
    ],
)
def test_a_device_that_is_missing_or_is_something_else_is_one_line(tmp_path: Path, node: Node, expected: str) -> None:
    write(tmp_path, nodes=(node,))
    with Launch(tmp_path) as launch:
        assert f"<3>hal-qemu-launch: {expected}" in launch.refusal()
    assert running_pid(str(tmp_path)) is None


def test_a_file_to_append_to_is_made_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    log = tmp_path / "com1.log"
    node = {**dataclasses.asdict(Node(16, str(log), "file", "append", "a log"))}
    for text in (b"one", b"two"):
        fd = opening.node(node, "test")
        os.write(fd, text)
        os.close(fd)
    assert log.read_bytes() == b"onetwo"
    assert log.stat().st_mode & 0o777 == 0o600


def test_no_qemu_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, qemu="/usr/bin/no-such-qemu")
    with Launch(tmp_path) as launch:
        assert launch.refusal() == (
            "<3>hal-qemu-launch: cannot run QEMU /usr/bin/no-such-qemu: No such file or directory"
        )


def test_a_socket_whose_path_is_too_long_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, listeners=(Listener(16, str(tmp_path / ("x" * 200))),))
    with Launch(tmp_path) as launch:
        assert "cannot listen on " in launch.refusal()


def test_what_nobody_expected_is_one_line_too(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "events").write_text("in the way of the directory")
    with Launch(tmp_path) as launch:
        assert str(tmp_path / "events") in launch.refusal()


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["-h"], 0), (["--help"], 0), (["a", "b"], 2)])
def test_usage(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(arguments) == status
    assert capsys.readouterr().out.startswith("usage: hal-qemu-launch PLAN\n")


def test_it_imports_next_to_nothing(tmp_path: Path) -> None:
    path = [os.path.dirname(package.__path__[0]) for package in (hal_core, hal_vmm)]
    write(tmp_path, qemu="/no-such-qemu")
    script = f"""
import sys
sys.path[:0] = {path!r}
from hal_vmm.launch.launcher import run
status = run()
sys.stdout.write(" ".join(sys.modules))
sys.exit(status)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(tmp_path / "qemu.json")],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    loaded = set(done.stdout.split())
    assert "hal_vmm.launch.launcher" in loaded
    assert loaded & {"json", "socket", "typing", "dataclasses", "re", "argparse", "asyncio", "logging", "enum"} == set()


# --- serial ports ----------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A terminal that stands in for a serial port: a descriptor of it, and its path."""
    master, slave = os.openpty()
    yield slave, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def serial(path: str, otherwise: str = "/dev/null") -> Node:
    return Node(16, path, "char", "rw", "serial port ttyS0", nonblock=True, noctty=True, otherwise=otherwise)


def test_a_free_port_becomes_the_products_and_nobodys_terminal(tmp_path: Path, terminal: tuple[int, str]) -> None:
    _, path = terminal
    write(tmp_path, nodes=(serial(path),))
    with Launch(tmp_path) as launch:
        assert launch.report["fds"]["16"]["path"] == path
        assert launch.report["terminal"] == 0, "it has not become QEMU's controlling terminal"
        assert launch.end() == (0, "")
    with Launch(tmp_path) as launch:
        assert launch.report["fds"]["16"]["path"] == path, "the last QEMU has left no lock on a pseudo-terminal"


def test_a_real_port_is_locked_against_others(terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    slave, path = terminal
    monkeypatch.setattr(opening, "_PTS_MAJORS", ())  # let this one pass for real
    node = dataclasses.asdict(serial(path))
    os.close(opening._open_checked(node))
    assert fcntl.ioctl(slave, opening._TIOCGEXCL, bytes(4)) != bytes(4)
    fcntl.ioctl(slave, termios.TIOCNXCL)


def test_a_missing_port_is_replaced_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path, nodes=(serial("/dev/ttyS-none"),))
    with Launch(tmp_path) as launch:
        assert launch.report["fds"]["16"]["path"] == "/dev/null"
        status, errors = launch.end()
    assert status == 0
    assert errors == (
        "<4>hal-qemu-launch: cannot open serial port ttyS0: /dev/ttyS-none: No such file or directory; "
        "the product gets /dev/null in its place\n"
    )


def test_a_missing_port_without_a_replacement_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, nodes=(serial("/dev/ttyS-none", otherwise=""),))
    with Launch(tmp_path) as launch:
        assert "cannot open serial port ttyS0: /dev/ttyS-none" in launch.refusal()


def test_a_port_in_exclusive_mode_is_busy(tmp_path: Path, terminal: tuple[int, str]) -> None:
    slave, path = terminal
    fcntl.ioctl(slave, termios.TIOCEXCL)
    write(tmp_path, nodes=(serial(path),))
    with Launch(tmp_path) as launch:
        assert launch.report["fds"]["16"]["path"] == "/dev/null"
        _, errors = launch.end()
    assert f"serial port ttyS0: {path}" in errors
    assert "busy" in errors


def test_a_port_on_which_somebody_may_log_in_is_busy(tmp_path: Path, terminal: tuple[int, str]) -> None:
    """A session leader with this controlling terminal, as a getty is one."""
    _, path = terminal
    getty = subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import os, sys; os.open({path!r}, os.O_RDWR); print(flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with getty:
        assert getty.stdout
        getty.stdout.readline()
        write(tmp_path, nodes=(serial(path),))
        with Launch(tmp_path) as launch:
            assert launch.report["fds"]["16"]["path"] == "/dev/null"
            _, errors = launch.end()
        assert f"{path} is busy: " in errors
        assert f"(pid {getty.pid})" in errors
        getty.communicate(timeout=PATIENCE)
    with Launch(tmp_path) as launch:
        assert launch.report["fds"]["16"]["path"] == path, "free again"


# --- telling that it is ready ----------------------------------------------------------------------------------------


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[socket.socket]:
    """What a service manager listens on; only its owner may write to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "ready.sock"))
        os.chmod(tmp_path / "ready.sock", 0o600)
        sock.settimeout(PATIENCE)
        yield sock


def test_it_says_when_it_is_ready(tmp_path: Path, ready: socket.socket) -> None:
    write(tmp_path)
    with Launch(tmp_path, NOTIFY_SOCKET=str(tmp_path / "ready.sock")) as launch:
        assert ready.recv(64) == b"READY=1"
        assert "NOTIFY_SOCKET" not in launch.report["environment"]


def test_it_does_not_say_so_when_something_is_missing(tmp_path: Path, ready: socket.socket) -> None:
    write(tmp_path, nodes=(Node(16, "/dev/no-such-disk", "block", "rw", "disk sdz"),))
    with Launch(tmp_path, NOTIFY_SOCKET=str(tmp_path / "ready.sock")) as launch:
        launch.refusal()
    ready.setblocking(False)
    with pytest.raises(BlockingIOError):
        ready.recv(64)


def test_the_product_starts_even_if_nobody_hears_of_it(tmp_path: Path) -> None:
    write(tmp_path)
    with Launch(tmp_path, NOTIFY_SOCKET=str(tmp_path / "gone.sock")) as launch:
        assert launch.report
        status, errors = launch.end()
    assert status == 0
    assert errors.startswith("<4>hal-qemu-launch: nobody could be told that QEMU is ready: ")


# --- whom QEMU runs as -----------------------------------------------------------------------------------------------


def test_only_root_can_become_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(HostError, match="only root can start QEMU as user hal-qemu"):
        launcher._user_ids("hal-qemu", [])
    assert launcher._user_ids("", []) is None


@as_root
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"user": "no-such-user"}, "there is no user no-such-user to run QEMU as"),
        ({"user": NOBODY, "groups": ("no-such-group",)}, "there is no group for QEMU: "),
    ],
)
def test_a_user_or_group_that_does_not_exist_is_one_line(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    write(tmp_path, **changes)
    with Launch(tmp_path) as launch:
        assert expected in launch.refusal()


@as_root
def test_qemu_runs_as_its_own_user_without_any_privilege(tmp_path: Path, ready: socket.socket) -> None:
    shell = shutil.which("sh") or "/bin/sh"
    write(
        tmp_path,
        qemu=shell,
        argv=("qemu", "-c", "while read -r line; do echo \"$line\"; done </proc/self/status | tr '\\n' '|'; echo; cat"),
        user=NOBODY,
        groups=("daemon",),
        listeners=(Listener(FIRST_FD, str(tmp_path / "agent.sock")),),
    )
    user = pwd.getpwnam(NOBODY)
    with Launch(tmp_path, NOTIFY_SOCKET=str(tmp_path / "ready.sock")) as launch:
        assert ready.recv(64) == b"READY=1", "although QEMU's user may not write to that socket"
        fields = dict(line.split(":", 1) for line in launch.said.split("|") if ":" in line)
        owners = {name: (tmp_path / name).stat().st_uid for name in ("agent.sock", "events/qmp.in", "events/qmp.out")}
        assert running_pid(str(tmp_path)) == launch.process.pid
    assert fields["Uid"].split() == [str(user.pw_uid)] * 4
    assert fields["Gid"].split() == [str(user.pw_gid)] * 4
    assert len(fields["Groups"].split()) == 1
    assert [int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]
    assert owners == {"agent.sock": 0, "events/qmp.in": user.pw_uid, "events/qmp.out": user.pw_uid}


# --- disks and taps --------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A block device: a loop device over a small file."""
    if os.getuid() != 0 or not shutil.which("losetup"):
        pytest.skip("a loop device needs root and losetup")
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    made = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, encoding="utf-8", check=False
    )
    if made.returncode:
        pytest.skip(f"no loop device to be had here: {made.stderr.strip()}")
    path = made.stdout.strip()
    yield path
    subprocess.run(["losetup", "--detach", path], check=True)


def claim(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)


def test_a_disk_is_claimed_for_as_long_as_qemu_lives(tmp_path: Path, disk: str) -> None:
    write(tmp_path, nodes=(Node(16, disk, "block", "rw", "disk sdb (serial S2)", exclusive=True),))
    with Launch(tmp_path) as launch:
        assert launch.report["fds"]["16"]["path"] == disk
        with pytest.raises(OSError, match="busy") as raised:
            claim(disk)
        assert raised.value.errno == errno.EBUSY
    os.close(claim(disk))


def test_a_disk_that_the_host_uses_is_refused(tmp_path: Path, disk: str) -> None:
    write(tmp_path, nodes=(Node(16, disk, "block", "rw", "disk sdb (serial S2)", exclusive=True),))
    held = claim(disk)
    try:
        with Launch(tmp_path) as launch:
            assert launch.refusal() == (
                f"<3>hal-qemu-launch: cannot open disk sdb (serial S2): {disk}: Device or resource busy"
            )
    finally:
        os.close(held)


@pytest.fixture
def tap() -> str:
    """The name of a tap that nobody has."""
    name = f"haltest{os.getpid() % 10_000_000}"
    try:
        os.close(opening.tap(name))
    except HostError as error:
        pytest.skip(f"no tap to be had here: {error.message}")
    return name


def test_a_tap_is_made_held_and_not_shared(tmp_path: Path, tap: str) -> None:
    write(tmp_path, taps=(Tap(16, tap),))
    with Launch(tmp_path) as launch:
        assert launch.report["fds"]["16"]["path"] == "/dev/net/tun"
        assert os.path.exists(f"/sys/class/net/{tap}")
        other = tmp_path / "other"
        other.mkdir()
        write(other, taps=(Tap(16, tap),))
        with Launch(other) as second:
            assert second.refusal() == f"<3>hal-qemu-launch: cannot attach to tap {tap}: Device or resource busy"
    assert not os.path.exists(f"/sys/class/net/{tap}")


def test_a_macvtap_whose_node_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "haltap0/macvtap/tap99999999").mkdir(parents=True)
    monkeypatch.setattr(opening, "_NET", str(tmp_path))
    with pytest.raises(HostError) as raised:
        opening.tap("haltap0")
    assert raised.value.message == "cannot attach to tap haltap0: /dev/tap99999999: No such file or directory"
    assert "macvtap" in raised.value.hint


# Runs a program where haltap0 is a macvtap on the one end of a cable, v0, whose other end is v1. The node is made as
# the kernel's /dev has it; that /dev is everybody's, and an ifindex is not.
MACVTAP = (
    "unshare",
    "--net",
    "--mount",
    "sh",
    "-ec",
    """
    mount -t sysfs none /sys
    mount -t tmpfs none /dev
    mkdir /dev/net
    mknod /dev/net/tun c 10 200
    ip link add v0 type veth peer name v1
    ip link add link v0 name haltap0 type macvtap mode passthru
    for link in v0 v1 haltap0; do ip link set "$link" up; done
    for node in /sys/class/net/haltap0/macvtap/tap*; do
        IFS=: read -r major minor < "$node/dev"
        mknod "/dev/${node##*/}" c "$major" "$minor"
    done
    exec "$@"
    """,
    "sh",
)

# Stands in for QEMU on that tap: asks what QEMU asks (net/tap-linux.c: TUNGETIFF), and sends one frame each way.
ON_TAP = """
import fcntl, json, os, signal, socket, sys
signal.alarm(20)
tap, size = 16, 10  # without TUNSETVNETHDRSZ a frame has ten bytes before it, struct virtio_net_hdr
interface = fcntl.ioctl(tap, 0x800454D2, bytes(40))  # struct ifreq: name, flags
cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
cable.bind(("v1", 0x88B5))
frame = bytes.fromhex("ffffffffffff 0248414c0002 88b5") + bytes(46)
cable.send(frame + b"in")
while frame + b"in" not in (received := os.read(tap, 4096)):
    pass  # the host's own IPv6
os.write(tap, bytes(size) + frame + b"out")
while not (sent := cable.recv(4096)).endswith(b"out"):
    pass
print(json.dumps({
    "path": os.readlink("/proc/self/fd/16"),
    "name": interface[:16].rstrip(b"\\0").decode(), "flags": int.from_bytes(interface[16:18], sys.byteorder),
    "received": received[size:].hex(), "sent": sent.hex(), "frame": frame.hex(),
}), flush=True)
"""


@pytest.fixture
def macvtap() -> tuple[str, ...]:
    """What to run a program through, so that it finds a macvtap."""
    if os.getuid() != 0:
        pytest.skip("only root can make a macvtap")
    done = subprocess.run([*MACVTAP, "true"], capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        pytest.skip(f"no macvtap to be had here: {done.stderr.strip()}")
    return MACVTAP


@pytest.mark.component
def test_a_macvtap_is_opened_and_frames_go_both_ways(tmp_path: Path, macvtap: tuple[str, ...]) -> None:
    write(tmp_path, taps=(Tap(16, "haltap0"),), argv=(sys.executable, "-I", "-S", "-c", ON_TAP))
    with Launch(tmp_path, through=macvtap) as launch:
        report = launch.report
    assert re.fullmatch(r"/dev/tap\d+", report["path"])
    assert report["name"] == "haltap0"
    assert report["flags"] & 0x5002 == 0x5002, "IFF_VNET_HDR | IFF_NO_PI | IFF_TAP: what QEMU expects of a tap"
    assert report["received"] == report["frame"] + b"in".hex()
    assert report["sent"] == report["frame"] + b"out".hex()


@pytest.mark.component
def test_an_interface_that_is_no_tap_at_all_is_one_line(tmp_path: Path, macvtap: tuple[str, ...]) -> None:
    write(tmp_path, taps=(Tap(16, "v0"),))
    with Launch(tmp_path, through=macvtap) as launch:
        assert launch.refusal() == "<3>hal-qemu-launch: cannot attach to tap v0: Invalid argument"
