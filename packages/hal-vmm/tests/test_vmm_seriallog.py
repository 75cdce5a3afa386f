"""The logs of the product's serial ports: the last MiB of each is kept, and saved with a dump."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hal_vmm.manager import dump, seriallog

MIB = 1 << 20


def written(run_dir: Path, index: int, data: bytes) -> Path:
    """As QEMU writes: at the end."""
    log = Path(seriallog.path(str(run_dir), index))
    log.parent.mkdir(exist_ok=True)
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    return log


def used(log: Path) -> int:
    return log.stat().st_blocks * 512


def test_it_is_where_the_contract_says() -> None:
    assert seriallog.path("/run/hal", 0) == "/run/hal/events/com1.log"


def test_the_last_mib_stays_and_the_rest_is_given_back(tmp_path: Path) -> None:
    said = b"".join(b"line %09d\n" % number for number in range(200_000))
    log = written(tmp_path, 0, said)
    seriallog.trim(str(tmp_path))
    assert log.stat().st_size == len(said)
    assert MIB <= used(log) < MIB + 3 * 4096
    assert seriallog.tail(str(log)) == said[-MIB:]
    log = written(tmp_path, 0, b"the end\n")
    assert seriallog.tail(str(log)) == (said + b"the end\n")[-MIB:]


def test_it_never_grows_much_beyond_two_mib(tmp_path: Path) -> None:
    for _ in range(12):
        log = written(tmp_path, 1, os.urandom(MIB // 2))
        seriallog.trim(str(tmp_path))
        assert used(log) <= 2 * MIB + 3 * 4096
    assert len(seriallog.tail(str(log))) == MIB


def test_no_log_is_no_error(tmp_path: Path) -> None:
    seriallog.trim(str(tmp_path))
    assert seriallog.tail(seriallog.path(str(tmp_path), 0)) == b""
    assert seriallog.save(str(tmp_path), str(tmp_path / "dump")) == []


def test_what_cannot_be_trimmed_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path, 0, bytes(3 * MIB)).unlink()
    Path(seriallog.path(str(tmp_path), 0)).symlink_to("com1.log")  # a loop: ELOOP for whoever looks
    seriallog.trim(str(tmp_path))
    assert "the log of a serial port is not trimmed" in caplog.text


def test_logs_are_saved_beside_a_dump_for_root_alone_and_go_with_it(tmp_path: Path) -> None:
    written(tmp_path, 0, b"Oops\n")
    written(tmp_path, 3, b"beat\n")
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    for day in (1, 2):
        name = str(dumps / f"dump-2026112{day}T000000Z.kdump")
        Path(name).write_bytes(b"memory")
        saved = seriallog.save(str(tmp_path), name)
        assert saved == [f"{name}.com1.log", f"{name}.com4.log"]
        assert Path(saved[0]).read_bytes() == b"Oops\n"
        assert Path(saved[0]).stat().st_mode & 0o777 == 0o600
    dump.prune(str(dumps), keep=1)
    newest = "dump-20261122T000000Z.kdump"
    assert sorted(os.listdir(dumps)) == [newest, f"{newest}.com1.log", f"{newest}.com4.log"]
    dump.prune(str(dumps), keep=0)
    assert os.listdir(dumps) == []
