"""Virtual CPU threads on their cores: with real threads of this process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_vmm.manager import pinning
from hal_vmm.plan.pin import Pin

NO_THREAD = (1 << 22) + 1  # above PID_MAX_LIMIT (proc(5))


@pytest.fixture
def thread() -> Iterator[int]:
    """The id of a thread that may run wherever this process may."""
    done = threading.Event()
    known = threading.Event()
    ids: list[int] = []

    def live() -> None:
        ids.append(threading.get_native_id())
        known.set()
        done.wait()

    one = threading.Thread(target=live)
    one.start()
    known.wait()
    yield ids[0]
    done.set()
    one.join()


def test_a_thread_is_pinned_and_the_others_are_not(thread: int) -> None:
    before = os.sched_getaffinity(0)
    cpu = max(before)
    assert pinning.apply([Pin(0, cpu)], {0: thread}) == [{"vcpu": 0, "cpu": cpu, "actual": [cpu]}]
    assert os.sched_getaffinity(thread) == {cpu}
    assert os.sched_getaffinity(0) == before


def test_a_thread_that_is_where_it_ought_to_be_is_left_alone(thread: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = min(os.sched_getaffinity(0))
    pinning.apply([Pin(0, cpu)], {0: thread})

    def must_not(*_: object) -> None:
        raise AssertionError("it was pinned again")

    monkeypatch.setattr(os, "sched_setaffinity", must_not)
    assert pinning.apply([Pin(0, cpu)], {0: thread}) == [{"vcpu": 0, "cpu": cpu, "actual": [cpu]}]


def test_one_that_cannot_be_pinned_is_logged_and_does_not_stop_the_others(
    thread: int, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    no_such_cpu = 1023  # CPU_SETSIZE - 1: the kernel refuses a mask without any CPU that there is (EINVAL)
    pins = [Pin(0, no_such_cpu), Pin(1, allowed[0]), Pin(2, allowed[0]), Pin(3, allowed[0])]
    assert pinning.apply(pins, {0: thread, 1: NO_THREAD, 2: thread}) == [
        {"vcpu": 0, "cpu": no_such_cpu, "actual": allowed},
        {"vcpu": 1, "cpu": allowed[0], "actual": None},
        {"vcpu": 2, "cpu": allowed[0], "actual": [allowed[0]]},
        {"vcpu": 3, "cpu": allowed[0], "actual": None},
    ]
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"vCPU 0 is not pinned to cpu {no_such_cpu}: ")


def test_thread_ids_as_qemu_tells_them() -> None:
    answer = [
        {"cpu-index": 0, "thread-id": 101, "qom-path": "/machine/unattached/device[0]", "target": "x86_64"},
        {"cpu-index": 1, "thread-id": 102},
    ]
    assert pinning.thread_ids(answer) == {0: 101, 1: 102}


@pytest.mark.parametrize(
    "untrusted",
    [None, {}, "threads", 5, [None], [[]], [{}], [{"cpu-index": 0}], [{"cpu-index": "0", "thread-id": 1}]],
)
def test_any_other_answer_names_no_thread(untrusted: object) -> None:
    assert pinning.thread_ids(untrusted) == {}


@given(st.lists(st.dictionaries(st.sampled_from(["cpu-index", "thread-id"]), st.none() | st.integers() | st.text())))
def test_only_numbers_come_through(untrusted: list[dict[str, object]]) -> None:
    assert all(isinstance(number, int) for pair in pinning.thread_ids(untrusted).items() for number in pair)
