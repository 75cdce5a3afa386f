"""Frames, kept in a file that tcpdump and wireshark read: pcap, written as they come.

The format is that of draft-ietf-opsawg-pcap: a header, then each frame with its time. Every frame is on its way to the
disk before the next one is looked at, so that the file of a story that fails is whole.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Optional

from lab.errors import LabError

_MAGIC = 0xA1B2C3D4  # microseconds
_LONGEST = 0x40000
_ETHERNET = 1
_FILE = struct.Struct("<IHHiIII")
_FRAME = struct.Struct("<IIII")


@dataclass(frozen=True)
class Captured:
    """One frame of a capture.

    :ivar time: seconds since 1970
    """

    time: float
    frame: bytes


class Capture:
    """A file that frames are added to; an older one of that name is replaced. It is closed as a context manager.

    :raise LabError: it cannot be made
    """

    def __init__(self, path: Path) -> None:
        try:
            # Unbuffered: one write per frame.
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (the object is the context manager)
        except OSError as error:
            raise LabError(f"{path} cannot be written: {error.strerror}") from None
        self._file.write(_FILE.pack(_MAGIC, 2, 4, 0, 0, _LONGEST, _ETHERNET))

    def add(self, time: float, frame: bytes) -> None:
        """:param time: seconds since 1970"""
        microseconds = round(time * 1e6)
        self._file.write(_FRAME.pack(*divmod(microseconds, 1_000_000), len(frame), len(frame)) + frame)

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._file.close()


def read(path: Path) -> list[Captured]:
    """What a capture holds; a last frame that is not all there (it is being written) is left out.

    :raise LabError: this is no such file
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) < _FILE.size or _FILE.unpack_from(data)[0] != _MAGIC:
        raise LabError(f"{path} is no pcap file as the lab writes it")
    frames = []
    position = _FILE.size
    while position + _FRAME.size <= len(data):
        seconds, microseconds, length, _ = _FRAME.unpack_from(data, position)
        begin, position = position + _FRAME.size, position + _FRAME.size + length
        if position <= len(data):
            frames.append(Captured(seconds + microseconds / 1e6, data[begin:position]))
    return frames
