"""QEMU's event journal, written as QEMU writes it: at its own offset, whatever the reader does."""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_vmm.manager import eventjournal
from hal_vmm.manager.eventjournal import EventJournal, History

GREETING = (
    b'{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": []}}\r\n{"return": {}}\r\n'
)


def event(name: str, **data: object) -> bytes:
    stamp = {"seconds": 1700000000, "microseconds": 1}
    return json.dumps({"timestamp": stamp, "event": name, "data": data}).encode() + b"\r\n"


def shutdown(reason: str) -> bytes:
    return event("SHUTDOWN", guest=True, reason=reason)


class Qemu:
    """Writes as a QEMU does that has opened BASE.out: at the offset of its own descriptor, never appending."""

    def __init__(self, directory: Path | str) -> None:
        self.base = os.path.join(directory, "qmp")
        self.fd = os.open(self.base + ".out", os.O_RDWR | os.O_CREAT, 0o600)
        self.written = 0

    def __enter__(self) -> Qemu:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def says(self, data: bytes) -> None:
        while data:
            length = os.write(self.fd, data)
            self.written += length
            data = data[length:]

    @property
    def occupies(self) -> int:
        """Bytes on the disk, holes left out."""
        return os.fstat(self.fd).st_blocks * 512


@pytest.fixture
def qemu(tmp_path: Path):  # type: ignore[no-untyped-def]  # a generator fixture
    with Qemu(tmp_path) as one:
        yield one


# --- the history -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("untrusted", "history"),
    [
        ({"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-reset"}}, History(end="guest-reset")),
        ({"event": "SHUTDOWN", "data": {"guest": True}}, History(end="unknown")),  # QEMU before 4.0
        ({"event": "SHUTDOWN", "data": {"reason": ""}}, History(end="unknown")),
        ({"event": "SHUTDOWN", "data": {"reason": 7}}, History(end="unknown")),
        ({"event": "SHUTDOWN", "data": "guest-reset"}, History(end="unknown")),
        ({"event": "SHUTDOWN"}, History(end="unknown")),
        ({"event": "GUEST_PANICKED", "data": {"action": "pause"}}, History(panicked=True)),
        ({"event": "WATCHDOG", "data": {"action": "pause"}}, History(watchdog=True)),
        ({"event": "GUEST_CRASHLOADED", "data": {"action": "run"}}, History(crash_kernel=True)),
        ({"event": "RESET", "data": {"guest": True, "reason": "guest-reset"}}, History()),
        ({"event": ["SHUTDOWN"]}, History()),
        ({"return": {"event": "SHUTDOWN"}}, History()),
        ({}, History()),
        ([], History()),
        ("SHUTDOWN", History()),
        (None, History()),
        (17, History()),
    ],
)
def test_one_message(untrusted: object, history: History) -> None:
    assert History().and_then(untrusted) == history


def test_the_first_shutdown_reason_stays() -> None:
    history = History()
    for reason in ("guest-reset", "host-qmp-quit", "guest-shutdown"):
        history = history.and_then({"event": "SHUTDOWN", "data": {"reason": reason}})
    assert history.end == "guest-reset"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["event", "data", "reason"]) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(json_values)
def test_no_message_breaks_the_history_or_forgets_it(untrusted: object) -> None:
    known = History(end="guest-reset", panicked=True, watchdog=True, crash_kernel=True)
    assert known.and_then(untrusted) == known
    assert isinstance(History().and_then(untrusted).end, str)


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_missing_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert EventJournal(str(tmp_path / "qmp")).read() == History()


def test_what_happened_before_the_first_look_is_there(qemu: Qemu) -> None:
    qemu.says(GREETING + event("RESUME") + shutdown("guest-shutdown"))
    assert EventJournal(qemu.base).read().end == "guest-shutdown"


def test_half_a_line_is_waited_for(qemu: Qemu) -> None:
    journal = EventJournal(qemu.base)
    line = shutdown("guest-reset")
    qemu.says(GREETING + line[:20])
    assert journal.read() == History()
    qemu.says(line[20:-1])
    assert journal.read() == History()
    qemu.says(line[-1:])
    assert journal.read().end == "guest-reset"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n\n\r\n",
        b"not JSON\n",
        b"\xff\xfe\x80\n",
        b'{"event": "SHUTDOWN", "data": {"reason": "guest-re\n',
        b"[1, 2]\nnull\n17\n",
        b"\0\0\0\n",
        b"[" * 60_000 + b"\n",  # deeper than any parser goes
        b"x" * 300_000 + b"\n",
    ],
)
def test_garbage_says_nothing_and_what_follows_counts(qemu: Qemu, garbage: bytes) -> None:
    journal = EventJournal(qemu.base)
    qemu.says(GREETING + garbage)
    assert journal.read() == History()
    qemu.says(shutdown("guest-reset"))
    assert journal.read().end == "guest-reset"


def test_a_line_without_end_does_not_fill_memory(qemu: Qemu) -> None:
    journal = EventJournal(qemu.base)
    for _ in range(8):
        qemu.says(b"x" * 200_000)
        journal.read()
    assert len(journal._rest) <= 1 << 16


@given(st.data())
def test_it_does_not_matter_how_the_bytes_arrive(data: st.DataObject) -> None:
    lines = data.draw(
        st.lists(
            st.sampled_from(
                [
                    GREETING,
                    shutdown("guest-reset"),
                    shutdown("host-qmp-quit"),
                    event("GUEST_PANICKED"),
                    event("WATCHDOG"),
                    event("RTC_CHANGE", offset=1),
                    b"\xffgarbage\n",
                    b"\n",
                ]
            ),
            max_size=8,
        )
    )
    stream = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    with TemporaryDirectory() as directory, Qemu(directory) as qemu:
        journal = EventJournal(qemu.base)
        for begin, end in zip([0, *cuts], [*cuts, len(stream)]):
            qemu.says(stream[begin:end])
            journal.read()
        assert journal.read() == EventJournal(qemu.base).read()
        expected = History()
        for line in stream.splitlines():
            try:
                expected = expected.and_then(json.loads(line))
            except ValueError:
                continue
        assert journal.history == expected


# --- trimming --------------------------------------------------------------------------------------------------------

NOISE = event("RTC_CHANGE", offset=3) * 1000  # about 110 kB


def test_a_long_journal_is_trimmed_and_nothing_is_lost(qemu: Qemu) -> None:
    journal = EventJournal(qemu.base)
    qemu.says(GREETING + event("GUEST_CRASHLOADED"))
    for _ in range(30):
        qemu.says(NOISE)
        journal.read()
        assert qemu.occupies <= 2 * eventjournal.TRIM_BYTES
    assert qemu.written > 3 * eventjournal.TRIM_BYTES
    assert journal.history == History(crash_kernel=True)
    qemu.says(shutdown("guest-reset"))
    assert journal.read() == History(end="guest-reset", crash_kernel=True)


def test_a_manager_restarted_after_trimming_still_learns_of_the_end(qemu: Qemu) -> None:
    journal = EventJournal(qemu.base)
    qemu.says(GREETING + NOISE * 20 + shutdown("guest-reset"))
    assert journal.read().end == "guest-reset"
    assert qemu.occupies <= eventjournal.TRIM_BYTES, "trimmed"
    assert EventJournal(qemu.base).read().end == "guest-reset"
    qemu.says(event("GUEST_PANICKED"))
    assert EventJournal(qemu.base).read() == History(end="guest-reset", panicked=True)


def test_a_line_that_is_half_there_when_trimming_is_not_cut(qemu: Qemu) -> None:
    journal = EventJournal(qemu.base)
    line = shutdown("guest-shutdown")
    qemu.says(NOISE * 12 + line[:30])
    assert journal.read() == History()
    assert qemu.occupies <= eventjournal.TRIM_BYTES
    qemu.says(line[30:])
    assert journal.read().end == "guest-shutdown"
    assert EventJournal(qemu.base).read().end == "guest-shutdown"


def test_a_hole_is_skipped_whoever_made_it(qemu: Qemu) -> None:
    """An administrator may empty the file: QEMU goes on at its old offset, behind a hole."""
    qemu.says(GREETING + NOISE * 3)
    os.ftruncate(qemu.fd, 0)
    qemu.says(shutdown("guest-reset"))
    assert os.fstat(qemu.fd).st_size == qemu.written
    assert EventJournal(qemu.base).read().end == "guest-reset"


def test_an_emptied_journal_does_not_stop_its_reader(qemu: Qemu) -> None:
    journal = EventJournal(qemu.base)
    qemu.says(GREETING + NOISE)
    journal.read()
    os.ftruncate(qemu.fd, 0)
    assert journal.read() == History()
    qemu.says(shutdown("guest-reset"))
    assert journal.read().end == "guest-reset"


def test_what_qemu_writes_between_the_last_read_and_the_trimming_is_kept(
    qemu: Qemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread = os.pread
    late = [shutdown("guest-reset")]

    def read_and_then_qemu_writes(fd: int, length: int, offset: int) -> bytes:
        data = pread(fd, length, offset)
        if not data and late:
            qemu.says(late.pop())
        return data

    journal = EventJournal(qemu.base)
    qemu.says(NOISE * 12)
    monkeypatch.setattr(os, "pread", read_and_then_qemu_writes)
    assert journal.read() == History()
    assert not late
    assert qemu.occupies <= eventjournal.TRIM_BYTES, "trimmed"
    assert journal.read().end == "guest-reset"


def test_nothing_is_lost_while_qemu_writes_and_the_reader_trims(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of many names, from a second thread, under constant trimming: each must arrive."""
    monkeypatch.setattr(eventjournal, "TRIM_BYTES", 8192)
    monkeypatch.setattr(eventjournal, "KEPT_BYTES", 0)
    seen: list[object] = []

    class Counting(History):
        def and_then(self, untrusted_event: object) -> History:
            seen.append(untrusted_event["data"]["number"])  # type: ignore[index]
            return self

    journal = EventJournal(qemu.base)
    journal.history = Counting()
    number = 20_000

    def write() -> None:
        generator = random.Random(1)
        pending = b"".join(event("RTC_CHANGE", number=index) for index in range(number))
        while pending:
            length = generator.randint(1, 3000)
            qemu.says(pending[:length])
            pending = pending[length:]

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        journal.read()
    writer.join()
    journal.read()
    assert seen == list(range(number))
    assert qemu.occupies < qemu.written / 2, "trimmed"
