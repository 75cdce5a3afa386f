"""What journald, or a terminal, gets to see."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from hal_core import log


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_journald_gets_a_priority_on_every_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    log.setup(verbose=True)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 25):
        logging.log(level, "disk %s", "sda")
    logging.warning("two\nlines")
    logging.warning("")
    assert capsys.readouterr().err.splitlines() == [
        "<7>disk sda",
        "<6>disk sda",
        "<4>disk sda",
        "<3>disk sda",
        "<2>disk sda",
        "<6>disk sda",
        "<4>two",
        "<4>lines",
        "<4>",
    ]


def test_a_terminal_gets_the_level_in_words_and_no_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    log.setup()
    logging.debug("not shown")
    logging.info("shown")
    assert capsys.readouterr().err == "INFO: shown\n"


def test_setting_it_up_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    log.setup()
    logging.error("once")
    assert capsys.readouterr().err.count("once") == 1
