"""hal-heartbeat, in every shell that is here, on made-up machines; its channel is a FIFO or a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestmachine import (
    COM4_LINE,
    HEARTBEAT,
    HURRIED_SLEEP,
    PACKAGE,
    PATIENCE,
    PORT,
    QEMU_VGA,
    SLOW,
    VIRTIO_SERIAL,
    add_fake,
    in_every_shell,
    make_machine,
    running,
    wait_for,
)

_SETPIPE_SZ = 1031  # fcntl(2), linux/fcntl.h; the module has a name for it since Python 3.10 only
FILLING = b"x" * 15 + b"\n"


class Channel:
    """The host's end. Reads lines, and never waits for ever."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""

    def line(self) -> bytes:
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self._rest:
            assert select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))[0], "no line has come"
            chunk = os.read(self._fd, 4096)
            assert chunk, "the channel was closed"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line


@contextlib.contextmanager
def fifo(path: Path) -> Iterator[Channel]:
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)  # both ways: the FIFO keeps its content when the other side is between two openings
    try:
        yield Channel(fd)
    finally:
        os.close(fd)


def fill(path: Path) -> int:
    """Leave no room in a FIFO; how many lines it took."""
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    lines = fcntl.fcntl(fd, _SETPIPE_SZ, 4096) // len(FILLING)
    for _ in range(lines):
        os.write(fd, FILLING)
    with pytest.raises(BlockingIOError):
        os.write(fd, b"x")
    os.close(fd)
    return lines


@contextlib.contextmanager
def pseudo_terminal() -> Iterator[tuple[int, str]]:
    """The host's end and the product's path; leave it, and it has vanished."""
    host, product = os.openpty()
    try:
        yield host, os.ttyname(product)
    finally:
        os.close(host)
        os.close(product)


@pytest.fixture
def hurried(tmp_path: Path) -> Path:
    """Fakes: a sleep that takes a tenth."""
    add_fake(tmp_path / "fakes", "sleep", HURRIED_SLEEP)
    return tmp_path / "fakes"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A modern product's."""
    return make_machine(tmp_path / "machine", QEMU_VGA, VIRTIO_SERIAL)


def run(shell: list[str], machine: Path, *options: str) -> tuple[int, str]:
    """Of a run that ends by itself: exit status, what it says."""
    done = subprocess.run(
        [*shell, str(HEARTBEAT), "--root", str(machine), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout


# --- beating ----------------------------------------------------------------------------------------------------------


@in_every_shell
@pytest.mark.component
def test_beats_come_at_their_interval_on_a_terminal_that_it_has_set(shell: list[str], tmp_path: Path) -> None:
    with pseudo_terminal() as (host, path):
        machine = make_machine(tmp_path / "machine")
        (machine / path.lstrip("/")).parent.mkdir(parents=True)
        (machine / path.lstrip("/")).symlink_to(path)
        (machine / "etc/sysconfig/hal-heartbeat").write_text(f"INTERVAL=1\nCHANNEL={path}\n")
        channel = Channel(host)
        with running(shell, machine) as heartbeat:
            times = []
            for number in range(1, 5):
                assert channel.line() == b"hal-beat %d" % number, "raw: no carriage return"
                times.append(time.monotonic())
            assert heartbeat.log == [f"hal-heartbeat: a beat every 1 s on {machine}{path}"]
            assert heartbeat.end() == 0
    assert all(later - sooner > 0.8 for sooner, later in zip(times, times[1:]))
    assert min(later - sooner for sooner, later in zip(times, times[1:])) < 1.5  # a busy machine may delay one, not all


@in_every_shell
def test_what_the_host_reads_is_what_it_takes_for_a_beat(shell: list[str], machine: Path, hurried: Path) -> None:
    with fifo(machine / PORT) as channel, running(shell, machine, fakes=hurried):
        for _ in range(3):
            # As hal-vmm has it: a package imports no other.
            assert re.fullmatch(rb"hal-beat [0-9]{1,20}\r?", channel.line())


@in_every_shell
def test_a_full_channel_holds_up_one_beat_and_no_more(shell: list[str], machine: Path, hurried: Path) -> None:
    with fifo(machine / PORT) as channel:
        lines = fill(machine / PORT)
        with running(shell, machine, fakes=hurried) as heartbeat:
            heartbeat.await_log("nobody reads")
            for _ in range(10):
                assert len(heartbeat.children) <= 2, "one that writes, one that waits for the next interval"
                time.sleep(0.1)
            assert heartbeat.process.poll() is None
            for _ in range(lines):
                assert channel.line() == FILLING.rstrip()
            # A dozen intervals have gone by, but no beats have been heaped up for them.
            assert channel.line() == b"hal-beat 1"
            begun = time.monotonic()
            assert [channel.line() for _ in range(3)] == [b"hal-beat 2", b"hal-beat 3", b"hal-beat 4"]
            assert time.monotonic() - begun > 0.15
            heartbeat.await_log("a beat every", times=2)
            assert [line.split()[1] for line in heartbeat.log] == ["a", "nobody", "a"], "said once each"


@in_every_shell
def test_a_channel_that_vanishes_is_opened_again_when_it_is_back(
    shell: list[str], machine: Path, hurried: Path
) -> None:
    port = machine / PORT
    with contextlib.ExitStack() as first:
        host, path = first.enter_context(pseudo_terminal())
        port.symlink_to(path)
        with running(shell, machine, fakes=hurried) as heartbeat:
            channel = Channel(host)
            assert channel.line().rstrip() == b"hal-beat 1"
            first.close()
            heartbeat.await_log("cannot write to")
            port.unlink()
            time.sleep(0.5)  # five intervals without any channel: nothing is to happen, so there is nothing to await
            with pseudo_terminal() as (host, path):
                port.symlink_to(path)
                number = int(Channel(host).line().split()[1])
                heartbeat.await_log("a beat every", times=2)
            assert number < 5, "beats are not counted while there is no channel"
            assert [line.split()[1] for line in heartbeat.log][:3] == ["a", "cannot", "a"], "said once each"


@in_every_shell
def test_a_channel_that_cannot_be_opened_is_tried_again(shell: list[str], machine: Path, hurried: Path) -> None:
    (machine / PORT).mkdir()  # as with a port that another program has: it exists, and open(2) fails
    with running(shell, machine, fakes=hurried) as heartbeat:
        heartbeat.await_log("cannot write to")
        time.sleep(0.5)
        assert len(heartbeat.log) == 2, "said once, and the shell's own error not at all"
        (machine / PORT).rmdir()
        with fifo(machine / PORT) as channel:
            assert channel.line() == b"hal-beat 1"


@in_every_shell
def test_a_sleep_that_cannot_be_run_ends_it(shell: list[str], machine: Path, hurried: Path) -> None:
    if shell[0] in SLOW:
        pytest.skip("it has a sleep of its own")
    add_fake(hurried, "sleep", "#!/bin/sh\nexit 126\n")  # what a shell makes of a file that it cannot execute
    with fifo(machine / PORT) as channel, running(shell, machine, fakes=hurried) as heartbeat:
        assert channel.line() == b"hal-beat 1"
        assert heartbeat.process.wait(PATIENCE) == 1
        assert heartbeat.log[-1] == "hal-heartbeat: sleep cannot be run, no more beats"


# --- ending -----------------------------------------------------------------------------------------------------------


@in_every_shell
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_at_once_between_two_beats(shell: list[str], machine: Path, number: int) -> None:
    (machine / "etc/sysconfig/hal-heartbeat").write_text("INTERVAL=3600\n")
    with fifo(machine / PORT) as channel, running(shell, machine) as heartbeat:
        channel.line()
        assert heartbeat.end(number) == 0


@in_every_shell
def test_a_signal_ends_it_at_once_while_nobody_reads(shell: list[str], machine: Path, hurried: Path) -> None:
    with fifo(machine / PORT):
        fill(machine / PORT)
        with running(shell, machine, fakes=hurried) as heartbeat:
            heartbeat.await_log("nobody reads")
            assert heartbeat.end() == 0


@in_every_shell
def test_a_signal_ends_it_at_once_while_it_opens_the_channel(shell: list[str], machine: Path) -> None:
    os.mkfifo(machine / PORT)  # without a reader, open(2) waits, as for a carrier
    with running(shell, machine) as heartbeat:
        heartbeat.await_log("a beat every")
        assert heartbeat.end() in (0, -signal.SIGTERM)


@in_every_shell
def test_it_lets_go_of_the_channel(shell: list[str], machine: Path) -> None:
    os.mkfifo(machine / PORT)
    fd = os.open(machine / PORT, os.O_RDONLY | os.O_NONBLOCK)
    (machine / "etc/sysconfig/hal-heartbeat").write_text("INTERVAL=3600\n")
    with running(shell, machine) as heartbeat:
        wait_for(lambda: select.select([fd], [], [], 0)[0], lambda: "no beat")
        assert os.read(fd, 100) == b"hal-beat 1\n"
        heartbeat.end()
        assert os.read(fd, 100) == b"", "the end of the file: nobody has it open any more"
    os.close(fd)


# --- where there is no HAL --------------------------------------------------------------------------------------------


@in_every_shell
@pytest.mark.parametrize(
    ("pci", "serial"),
    [
        pytest.param(["8086a0c8", "10de1401"], COM4_LINE, id="bare metal with a COM4"),
        pytest.param(["15ad0405"], COM4_LINE, id="another virtual machine"),
        pytest.param([QEMU_VGA], "3: uart:unknown port:000002E8 irq:3", id="QEMU without COM4"),
        pytest.param([QEMU_VGA], "", id="QEMU without any serial port"),
        pytest.param([], "", id="no PCI"),
    ],
)
def test_without_hal_it_says_one_line_ends_and_opens_nothing(
    shell: list[str], tmp_path: Path, pci: list[str], serial: str
) -> None:
    machine = make_machine(tmp_path / "machine", *pci, serial=serial)
    os.mkfifo(machine / "dev/ttyS3")  # whoever opens it waits for ever
    status, said = run(shell, machine)
    assert status == 0
    assert re.fullmatch(r"hal-heartbeat: no HAL here, .*; nothing to do\n", said)


@in_every_shell
def test_a_machine_without_any_of_the_files_is_bare_metal(shell: list[str], tmp_path: Path) -> None:
    assert run(shell, tmp_path)[1].startswith("hal-heartbeat: no HAL here")


@in_every_shell
@pytest.mark.parametrize("config", ["WAIT=0", "WAIT=0\nCHANNEL=/dev/nothing"])
def test_a_channel_that_does_not_come_is_no_error(shell: list[str], machine: Path, config: str) -> None:
    # A port of another name is none of ours, nor is COM4 where there is virtio.
    (machine / "dev/virtio-ports/org.qemu.guest_agent.0").touch()
    (machine / "proc/tty/driver/serial").write_text(COM4_LINE)
    os.mkfifo(machine / "dev/ttyS3")
    (machine / "etc/sysconfig/hal-heartbeat").write_text(config)
    status, said = run(shell, machine)
    assert status == 0
    assert re.fullmatch(r"hal-heartbeat: no .* after 0 s, .*; nothing to do\n", said)


@in_every_shell
def test_a_channel_that_comes_late_is_waited_for(shell: list[str], machine: Path, hurried: Path) -> None:
    with running(shell, machine, fakes=hurried) as heartbeat:
        time.sleep(0.3)
        assert heartbeat.process.poll() is None
        with fifo(machine / PORT) as channel:
            assert channel.line() == b"hal-beat 1"


# --- which channel ----------------------------------------------------------------------------------------------------


@in_every_shell
def test_sysfs_is_asked_where_udev_gives_the_port_no_name(shell: list[str], machine: Path) -> None:
    for number, name in enumerate(("org.qemu.guest_agent.0", "hal.heartbeat.0", "com.redhat.spice.0")):
        port = machine / f"sys/class/virtio-ports/vport0p{number}"
        port.mkdir()
        (port / "name").write_text(f"{name}\n")
        if name != "hal.heartbeat.0":
            (machine / "dev" / port.name).touch()
    (machine / "sys/class/virtio-ports/vport1p0").mkdir()  # a console: it has no name
    with fifo(machine / "dev/vport0p1") as channel, running(shell, machine):
        assert channel.line() == b"hal-beat 1"


@in_every_shell
@pytest.mark.parametrize("line", [COM4_LINE, "3: uart:16550A port:2E8 irq:3"], ids=["Linux 2.6", "Linux 2.4"])
def test_com4_is_the_channel_where_there_is_no_virtio(shell: list[str], tmp_path: Path, line: str) -> None:
    serial = f"0: uart:16550A port:3F8 irq:4\n1: uart:unknown port:2F8 irq:3\n{line}\n13: uart:unknown port:0 irq:0"
    machine = make_machine(tmp_path / "machine", QEMU_VGA, serial=serial)
    with fifo(machine / "dev/ttyS3") as channel, running(shell, machine):
        assert channel.line() == b"hal-beat 1"


@in_every_shell
def test_a_configured_channel_is_taken_whatever_the_machine_is(shell: list[str], tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "machine", config='INTERVAL="1"\nCHANNEL=/dev/my port')
    with fifo(machine / "dev/my port") as channel, running(shell, machine):
        assert channel.line() == b"hal-beat 1"


# --- configuration ----------------------------------------------------------------------------------------------------


@in_every_shell
@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("INTERVAL=0", "INTERVAL=0: allowed is a whole number from 1 to 3600"),
        ("INTERVAL=3601", "INTERVAL=3601: allowed"),
        ("INTERVAL=99999999999999999999", "INTERVAL=9"),
        ("INTERVAL=", "INTERVAL=: allowed"),
        ("INTERVAL=08", "INTERVAL=08: allowed"),
        ("INTERVAL=1s", "INTERVAL=1s: allowed"),
        ("INTERVAL=-5", "INTERVAL=-5: allowed"),
        ("INTERVAL", "INTERVAL=: allowed"),
        ("WAIT=x", "WAIT=x: allowed is a whole number from 0 to 3600"),
        ("CHANNEL=ttyS3", "CHANNEL=ttyS3: allowed are auto, none and the path of a device"),
        ("CHANNEL=", "CHANNEL=: allowed"),
        ("CHANNEL=/", "CHANNEL=/: allowed"),
        ("interval=5", "no key interval; there are INTERVAL, CHANNEL and WAIT"),
        ("export INTERVAL=5", "no key export"),
        ("# fine\n\nINTERVAL=5\nCHANEL=none\n", "no key CHANEL"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(shell: list[str], machine: Path, config: str, words: str) -> None:
    file = machine / "etc/sysconfig/hal-heartbeat"
    file.write_text(config)
    status, said = run(shell, machine)
    assert status == 78
    assert said.startswith(f"hal-heartbeat: {file}: {words}")
    assert said.count("\n") == 1


@in_every_shell
@pytest.mark.parametrize(
    "config", ["CHANNEL=none", 'CHANNEL="none"', "CHANNEL='none'\n", "  CHANNEL = none  \n", "#x\n\n\tCHANNEL=none"]
)
def test_how_a_line_may_be_written(shell: list[str], machine: Path, config: str) -> None:
    (machine / "etc/sysconfig/hal-heartbeat").write_text(config)
    status, said = run(shell, machine)
    assert (status, "switched off by CHANNEL=none" in said) == (0, True)


@in_every_shell
def test_the_configuration_is_never_run(shell: list[str], machine: Path, tmp_path: Path) -> None:
    (machine / "etc/sysconfig/hal-heartbeat").write_text(f"CHANNEL=$(touch {tmp_path}/ran)\n`touch {tmp_path}/ran`=1\n")
    assert run(shell, machine)[0] == 78
    assert not (tmp_path / "ran").exists()


def test_the_installed_file_has_every_key_with_its_default(machine: Path) -> None:
    shipped = (PACKAGE / "etc/hal-heartbeat").read_text()
    assert not [line for line in shipped.splitlines() if line and not line.startswith("#")], "nothing is set"
    keys = dict(re.findall(r"^#([A-Z]+)=(.*)$", shipped, re.MULTILINE))
    source = HEARTBEAT.read_text()
    assert set(keys) == set(re.findall(r"^        ([A-Z]+)\)", source, re.MULTILINE))
    defaults = dict(re.findall(r"\b(interval|channel|wait)=(\w+)", source[: source.index("# --- messages")]))
    assert keys == {key.upper(): value for key, value in defaults.items()}
    page = (PACKAGE / "man/hal-heartbeat.8").read_text()
    for key, value in keys.items():
        entry = re.search(rf"^\.TP\n\.B {key}\n(.*?)^\.(?:TP|SH)", page, re.MULTILINE | re.DOTALL)
        assert entry, f"{key} is not in the manual page"
        assert re.search(rf"[; ]{value}\b", entry[1]), f"the manual page has another default for {key}"


def test_every_message_is_in_the_manual_page() -> None:
    page = (PACKAGE / "man/hal-heartbeat.8").read_text().replace("\\-", "-")
    messages = re.findall(r'\b(?:say|report|leave|refuse) "([^"$][^"]*|\$[a-z][^"]*)"', HEARTBEAT.read_text())
    assert len(messages) > 9
    entries = re.findall(r"^\.B (.+)\n", page[page.index(".SH MESSAGES") : page.index(".SH EXIT")], re.MULTILINE)
    known = [part.strip() for entry in entries for part in entry.split("; ")]
    for message in messages:
        said = re.sub(r"\$\w+", "...", message)
        assert any(re.match(re.escape(text).replace(r"\.\.\.", ".*"), said) for text in known), message


# --- the rest ---------------------------------------------------------------------------------------------------------


@in_every_shell
def test_messages_go_to_syslog_where_that_is_wanted(shell: list[str], tmp_path: Path) -> None:
    if shell[0] in SLOW:
        pytest.skip("it has a logger of its own")
    add_fake(tmp_path / "fakes", "logger", f'#!/bin/sh\nprintf "%s|" "$@" >>{tmp_path}/syslog\n')
    machine = make_machine(tmp_path / "machine")
    with running(shell, machine, "--syslog", fakes=tmp_path / "fakes") as heartbeat:
        assert heartbeat.process.wait(PATIENCE) == 0
        wait_for(lambda: (tmp_path / "syslog").exists(), lambda: "nothing was logged")
        assert heartbeat.log == []
    wait_for(lambda: (tmp_path / "syslog").read_text().endswith("do|"), lambda: (tmp_path / "syslog").read_text())
    assert (tmp_path / "syslog").read_text().startswith("-t|hal-heartbeat|-p|daemon.notice|no HAL here")


@in_every_shell
def test_a_syslog_that_hangs_does_not_stop_the_heartbeat(shell: list[str], machine: Path, hurried: Path) -> None:
    if shell[0] in SLOW:
        pytest.skip("it has a logger of its own")
    add_fake(hurried, "logger", "#!/bin/sh\nexec /bin/sleep 1000\n")
    with fifo(machine / PORT) as channel, running(shell, machine, "--syslog", fakes=hurried):
        assert [channel.line() for _ in range(3)] == [b"hal-beat 1", b"hal-beat 2", b"hal-beat 3"]


@in_every_shell
def test_the_out_of_memory_killer_takes_others_first(shell: list[str], machine: Path) -> None:
    own = Path("/proc/self/oom_score_adj")
    before = own.read_text()
    try:
        own.write_text("-1000")
    except PermissionError:
        pytest.skip("only root may change it")
    finally:
        own.write_text(before)
    with fifo(machine / PORT) as channel, running(shell, machine) as heartbeat:
        channel.line()
        assert Path(f"/proc/{heartbeat.process.pid}/oom_score_adj").read_text() == "-1000\n"
        assert os.getpriority(os.PRIO_PROCESS, heartbeat.process.pid) == os.getpriority(os.PRIO_PROCESS, 0)


@in_every_shell
def test_help_and_a_wrong_command_line(shell: list[str], tmp_path: Path) -> None:
    assert run(shell, tmp_path, "--help")[1].startswith("Usage: hal-heartbeat [--syslog] [--root DIR]\n")
    for options, words in ((["--bogus"], "no option --bogus"), (["--root"], "--root needs a directory")):
        status, said = run(shell, tmp_path, *options)
        assert (status, said) == (2, f"hal-heartbeat: {words}; see hal-heartbeat --help\n")


def test_it_is_a_script_for_sh_that_every_product_has() -> None:
    assert HEARTBEAT.read_text().startswith("#!/bin/sh\n")
    assert os.access(HEARTBEAT, os.X_OK)
