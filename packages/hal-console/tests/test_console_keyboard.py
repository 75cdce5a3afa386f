"""The contract with hal-udev: keyboards are not handed to the product, because what they type goes through here."""

from __future__ import annotations

from pathlib import Path

import pytest

from hal_console.resident import process


def test_keyboards_are_left_with_the_host(tmp_path: Path) -> None:
    for _ in range(2):  # a restart
        process.claim_keyboard(str(tmp_path))
        assert (tmp_path / "console/keyboard").is_file()


def test_the_screen_does_not_depend_on_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "console").write_text("in the way")
    process.claim_keyboard(str(tmp_path))
    assert [record.getMessage() for record in caplog.records] == [
        "hal-udev is not told that keyboards are needed here: File exists"
    ]
