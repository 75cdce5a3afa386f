"""The guest manager's memory: kept within one boot and one version, and made anew when it is of no use."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_vmm.manager import state
from hal_vmm.manager.state import State

seconds = st.floats(0, 1e9, allow_nan=False)
states = st.builds(
    State,
    boot_id=st.just(state.boot_id()),
    manager_pid=st.integers(0, 1 << 22),
    state=st.text(),
    why=st.text(),
    qemu_pid=st.none() | st.integers(1, 1 << 22),
    run_known=st.booleans(),
    answered_once=st.booleans(),
    started=seconds,
    last_beat=st.none() | seconds,
    beats=st.dictionaries(st.sampled_from(["agent", "line"]), st.integers(0)),
    unclean=st.booleans(),
    condemned=st.text(max_size=20),
    dumped=st.booleans(),
    crash_kernel_since=st.none() | seconds,
    crashes=st.lists(seconds, max_size=5),
    start_at=seconds,
    host_is_ending=st.sampled_from(["", "reboot", "power-off"]),
    qmp=st.text(max_size=20),
    guest_status=st.text(max_size=20),
    missed=st.integers(0, 1000),
    pinning=st.lists(st.fixed_dictionaries({"vcpu": st.integers(0, 9), "cpu": st.integers(0, 9)}), max_size=3),
    last_exit=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)


@given(states)
def test_what_is_saved_is_loaded(saved: State) -> None:
    with TemporaryDirectory() as run_dir:
        state.save(run_dir, state.to_text(saved))
        assert state.load(run_dir) == saved


def test_the_first_manager_of_a_boot_starts_fresh(tmp_path: Path) -> None:
    assert state.load(str(tmp_path)) == State(boot_id=state.boot_id())


def saved_with(run_dir: Path, **changes: object) -> None:
    values = {**asdict(State(boot_id=state.boot_id(), manager_pid=77, started=5.0)), **changes}
    state.save(str(run_dir), json.dumps(values))


def test_another_boot_or_another_version_is_forgotten_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved_with(tmp_path)
    assert state.load(str(tmp_path)).manager_pid == 77, "or this test proves nothing"
    for changes in ({"boot_id": "0-0"}, {"version": 2}, {"version": "1"}):
        saved_with(tmp_path, **changes)
        assert state.load(str(tmp_path)) == State(boot_id=state.boot_id())
    assert not caplog.records


def test_a_file_cut_short_anywhere_is_no_reason_not_to_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = state.to_text(State(boot_id=state.boot_id(), manager_pid=77))
    caplog.set_level(logging.CRITICAL)  # many of the warnings that the next test looks at
    for length in range(0, len(text) - 2, 5):
        state.save(str(tmp_path), text[:length])
        assert state.load(str(tmp_path)) == State(boot_id=state.boot_id()), length


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 4096,  # as some file systems leave it after a power cut
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"state"',
        b"{}",
        b'{"version": 1}',
    ],
)
def test_a_damaged_file_is_made_anew_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "vmm" / "state.json"
    path.parent.mkdir()
    path.write_bytes(content)
    assert state.load(str(tmp_path)) == State(boot_id=state.boot_id())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"crashes": "abc"},
        {"started": None},
        {"started": "5"},
        {"qemu_pid": "77"},
        {"beats": []},
        {"last_exit": None},
        {"run_known": "yes"},
        {"last_beat": {}},
    ],
)
def test_a_value_of_a_wrong_type_is_damage_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: dict[str, object]
) -> None:
    saved_with(tmp_path, **wrong)
    assert state.load(str(tmp_path)) == State(boot_id=state.boot_id())
    assert next(iter(wrong)) in caplog.text


def test_values_of_a_later_patch_release_are_passed_over_and_missing_ones_are_default(tmp_path: Path) -> None:
    values = asdict(State(boot_id=state.boot_id(), manager_pid=77, started=5.0))
    del values["pinning"]
    state.save(str(tmp_path), json.dumps({**values, "invented_later": [1]}))
    assert state.load(str(tmp_path)) == State(boot_id=state.boot_id(), manager_pid=77, started=5.0)
