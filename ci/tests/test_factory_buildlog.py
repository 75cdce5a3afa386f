"""A failed build shows the lines that say why."""

from __future__ import annotations

import pytest

from factory import buildlog

UNIMPORTANT = "+ install -pm 644 {0} /build\ncopying {0}\n    /build/x.py:{0}: AWarning: of no importance\n"
NOISE = "".join(UNIMPORTANT.format(number) for number in range(100))


@pytest.mark.parametrize(
    "telling",
    [
        "error: Installed (but unpackaged) file(s) found:\n   /usr/bin/hal-left-over",
        "Error: \n Problem: nothing provides python3-nonsense needed by hal-core-0.1.0-1.el9.src",
        "Error: Transaction test error:\n  file /etc/x from a-1.noarch conflicts with file from package b-1.noarch",
        "No matching package to install: 'python3-nonsense'",
        "E       AssertionError: assert 1 == 2\nFAILED tests/test_core_table.py::test_width - assert 1 == 2",
        "ModuleNotFoundError: No module named 'qemu'",
        "hal_qemu.te:12:ERROR 'unknown type shadow_tt' at token ';' on line 4021:",
        "error: Bad exit status from /var/tmp/rpm-tmp.x1 (%check)",
        "File not found: /build/BUILDROOT/usr/bin/hal-nonsense",
    ],
)
def test_the_reason_is_found_in_the_noise(telling: str) -> None:
    shown = buildlog.relevant(f"{NOISE}{telling}\n{NOISE}")
    assert shown == [line.rstrip() for line in telling.splitlines()]


def test_without_a_reason_the_last_lines_are_shown() -> None:
    shown = buildlog.relevant(NOISE)
    assert shown[-2] == "copying 99"
    assert len(shown) == 20


def test_what_is_said_twice_is_shown_once_and_never_more_than_a_screen() -> None:
    assert buildlog.relevant("error: no\n" * 50) == ["error: no"]
    many = "".join(f"ERROR {number}\nE   No module named 'x'\n" for number in range(99))
    assert "E   No module named 'x'" in buildlog.relevant(many)
    assert len(buildlog.relevant("".join(f"error: {number}\n" for number in range(99)))) == 20


def test_an_empty_log_says_nothing() -> None:
    assert buildlog.relevant("") == []
