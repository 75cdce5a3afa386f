"""The manual pages say what the code does: verbs, options, reasons, states, formula, defaults, files."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hal_core.testing import manpage
from hal_vmm import main
from hal_vmm.config import CrashConfig, HeartbeatConfig, VmmConfig
from hal_vmm.manager import describe, exitreason, verdict
from hal_vmm.plan import memoryplan

MAN = Path(__file__).resolve().parents[1] / "man"
PAGES = sorted(MAN.glob("*.[1-9]"))


def plain(page: str) -> str:
    return manpage.words(MAN / page)


@pytest.fixture(scope="module")
def page() -> str:
    return plain("hal-vmm.1")


def section(page: str, name: str) -> str:
    return " ".join(manpage.section(page, name).split())


def described(page: str, verb: str) -> str:
    """What the page says about one verb: from its entry to the next verb's."""
    starts = {
        name: match.start()
        for name in main.VERBS
        for match in [re.search(rf"^{name}( |$)", page[page.index("# VERBS FOR PLANNING") :], re.MULTILINE)]
        if match
    }
    assert verb in starts, f"no entry for {verb}"
    text = page[page.index("# VERBS FOR PLANNING") :]
    end = min([start for start in starts.values() if start > starts[verb]] + [text.index("# STATES")])
    return text[starts[verb] : end]


@pytest.mark.parametrize("verb", main.VERBS)
def test_every_verb_and_every_option_of_its_help_is_there(
    verb: str, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.suppress(SystemExit):  # argparse leaves by an exception
        main.PROGRAM.main([verb, "--help"])
    options = set(re.findall(r"(?<![\w`-])--[a-z][a-z-]*", capsys.readouterr().out)) - {"--help"}
    text = described(page, verb)
    assert options == set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)), "neither more nor fewer than --help has"


def test_the_reasons_and_what_follows_are_those_of_the_code(page: str) -> None:
    table = dict(re.findall(r"^([a-z-]+)\t(.*)$", page, re.MULTILINE))
    assert table == {reason: outcome.value for reason, outcome in exitreason._OUTCOMES.items()}


def test_the_states_are_those_of_the_code(page: str) -> None:
    source = Path(describe.__file__).read_text()
    words = set(re.findall(r'return "([a-z ]+)",', source)) | set(describe._STATUS_WORDS.values())
    assert len(words) > 8
    text = section(page, "STATES")
    assert [word for word in words | {"host reboot", "host power-off", "unknown"} if word not in text] == []


def test_the_memory_formula_is_that_of_the_code(page: str) -> None:
    text = section(page, "MEMORY")
    found = re.search(r"(\d+) \+ (\d+) % of the total \+ (\d+) for every vCPU, at least (\d+), at most (\d+)", text)
    assert found
    base, percent, each, least, most = (int(number) for number in found.groups())
    for total, vcpus in ((1024, 1), (32 << 10, 16), (96 << 10, 512), (1 << 20, 64), (24 << 20, 512)):
        assert memoryplan.host_share(total, vcpus) == min(
            max(base + total * percent // 100 + each * vcpus, least), most
        )
    assert f"at least {memoryplan.LEAST_HOST_MIB}" in text
    assert f"at least {memoryplan.LEAST_GUEST_MIB} MiB" in text


def test_the_defaults_are_those_of_the_code(page: str) -> None:
    beats, crashes = HeartbeatConfig(), CrashConfig()
    text = section(page, "HEARTBEATS")
    for words in (
        f"vmm.heartbeat.interval seconds ({beats.interval})",
        f"vmm.heartbeat.missed heartbeats in a row ({beats.missed})",
        f"boot_grace seconds from its start ({beats.boot_grace})",
        f"fsck_grace more ({beats.fsck_grace})",
        f"After {verdict.QMP_DEADLINE:.0f} seconds",
        f"vmm.crash.hung_after seconds ({crashes.hung_after})",
    ):
        assert words in text
    text = section(page, "CRASHES AND THE RESCUE STATE")
    for words in (
        f"vmm.crash.window_minutes ({crashes.window_minutes})",
        f"vmm.crash.backoff ({crashes.backoff} second)",
        f"vmm.crash.limit crashes ({crashes.limit})",
    ):
        assert words in text


def test_every_key_that_the_page_names_exists(page: str) -> None:
    keys = {
        f"vmm.{table.name}.{key.name}"
        for table in dataclasses.fields(VmmConfig)
        if dataclasses.is_dataclass(getattr(VmmConfig(), table.name))
        for key in dataclasses.fields(getattr(VmmConfig(), table.name))
    }
    named = set(re.findall(r"\bvmm\.[a-z_]+\.[a-z_]+", page))
    assert named
    assert named <= keys


@pytest.mark.component
@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed (ci/test installs it)")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_mandoc_finds_nothing_wrong(path: Path) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


# --- docs/operations.md -----------------------------------------------------------------------------------------------

OPERATIONS = Path(__file__).resolve().parents[3] / "docs/operations.md"


@pytest.fixture(scope="module")
def operations() -> str:
    if not OPERATIONS.exists():
        pytest.skip("not in a checkout: docs/operations.md is not beside the packages")
    return OPERATIONS.read_text()


def test_every_message_that_operations_explains_is_one_of_the_code(operations: str) -> None:
    source = "".join(path.read_text() for path in Path(main.__file__).parent.rglob("*.py"))
    # Where the message has something that differs, the code has {…} or %s.
    source = re.sub(r"\{[^{}]*\}|%\w", "…", re.sub(r'"\s*\n\s*f?"', "", source))
    messages = re.findall(r"^\| `([^`]+)` \|", operations[operations.index("## Messages") :], re.MULTILINE)
    assert len(messages) > 15
    assert [message for message in messages if re.sub(r": …$", ": ", message) not in source] == []


def test_every_command_and_file_that_operations_names_exists(operations: str) -> None:
    verbs = set(re.findall(r"hal vmm ([a-z-]+)", operations))
    assert verbs <= set(main.VERBS)
    for unit in set(re.findall(r"`(hal[a-z-]*\.(?:service|target))`", operations)):
        assert (MAN.parent / "systemd" / unit).exists(), unit
    for name in set(re.findall(r"`((?:system\.conf|sysctl)\.d/[\w.-]+)`", operations)):
        assert list(MAN.parent.glob(f"*/**/{Path(name).name}")), name
