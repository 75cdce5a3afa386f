"""A capture is whole at every moment, and other programs read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.lan.capture import Capture, Captured, read

times = st.integers(0, 2**32 * 10**6 - 1).map(lambda microseconds: microseconds / 1e6)


@given(st.lists(st.builds(Captured, times, st.binary(max_size=100)), max_size=5))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, frames: list[Captured]) -> None:
    path = tmp_path_factory.mktemp("capture") / "lan.pcap"
    with Capture(path) as capture:
        for frame in frames:
            capture.add(frame.time, frame.frame)
    assert [frame.frame for frame in read(path)] == [frame.frame for frame in frames]
    assert [frame.time for frame in read(path)] == pytest.approx([frame.time for frame in frames], abs=1e-6)


def test_every_frame_is_there_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lan.pcap"
    with Capture(path) as capture:
        for count in range(1, 4):
            capture.add(1e9, bytes(60))
            assert len(read(path)) == count


def test_a_frame_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lan.pcap"
    with Capture(path) as capture:
        capture.add(1e9, b"first")
        capture.add(1e9, b"second")
    whole = path.read_bytes()
    for length in range(24 + 16 + 5, len(whole)):
        path.write_bytes(whole[:length])
        assert [frame.frame for frame in read(path)] == [b"first"]


@pytest.mark.parametrize("content", [b"", b"no capture", bytes(24)])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lan.pcap"
    path.write_bytes(content)
    with pytest.raises(LabError, match=r"lan\.pcap is no pcap file"):
        read(path)


def test_the_format(tmp_path: Path) -> None:
    """Byte by byte: the header with version 2.4 and Ethernet, the frame's time and its length, twice."""
    path = tmp_path / "lan.pcap"
    with Capture(path) as capture:
        capture.add(1700000000.25, b"\1\2\3")
    assert path.read_bytes().hex(" ", -4) == (
        "d4c3b2a1 02000400 00000000 00000000 00000400 01000000 00f15365 90d00300 03000000 03000000 010203"
    )


def test_a_file_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be written: No such file"):
        Capture(tmp_path / "missing" / "lan.pcap")
    with pytest.raises(LabError, match="cannot be read: No such file"):
        read(tmp_path / "lan.pcap")
