"""What pytest needs to tell stories: servers as fixtures, evidence of what went wrong, and how long things took.

A story asks for ``running`` (a server whose product has just come up) or for ``off`` (a new one, never switched on).
``@on("one-u", "old-box")`` has it told once on each of these servers; otherwise it is told on ``one-u``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Callable, Optional

import pytest
from _pytest.mark.structures import ParameterSet
from _pytest.runner import runtestprotocol

from lab import ingredients, keeping, processors
from lab.simulator import server as servers
from lab.simulator.server import Server
from lab.site import Site
from lab.workshop import Workshop

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache/lab"
DEFAULT = "one-u"

#: Tell a story once on each of these servers.
on = pytest.mark.servers
#: A story of minutes: told before the others, so that no processor has nothing to do in the end.
long = pytest.mark.long

Figure = Callable[[str, float], None]

_REPORT = pytest.StashKey[pytest.TestReport]()
HUNG = pytest.StashKey[bool]()  # the story's simulator hung
_ALONE = pytest.mark.xdist_group("several-processors")
_FIGURE = "figure"  # a test's property, which also comes from another process


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lab", "the simulated server")
    group.addoption("--server", metavar="NAME|FILE", help="tell all stories on this server, and on no other")
    group.addoption("--accel", choices=["tcg", "kvm"], default="tcg", help="how the server is simulated")
    group.addoption("--keep", action="store_true", help="leave the server running at the end of a story")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "description" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("servers")
        only = metafunc.config.getoption("--server")
        names = [only] if only else list(marker.args) if marker else [DEFAULT]
        metafunc.parametrize("description", [_on(name) for name in names], indirect=True)


def _on(name: str) -> ParameterSet:
    """Stories on a server with several processors are told one after the other: none can be told beside another."""
    group = [_ALONE] if processors.several(servers.named(name)) else []
    return pytest.param(name, id=Path(name).stem, marks=group)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take minutes come first; those beside which nobody can be told come when few are left to wait."""

    def turn(item: pytest.Item) -> tuple[bool, bool]:
        alone, takes_minutes = (item.get_closest_marker(mark.name) is not None for mark in (_ALONE, long))
        return alone, not takes_minutes

    items.sort(key=turn)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: Optional[pytest.Item]) -> bool:
    """Tell a story; and once more, on another server, when the simulator itself has hung.

    That is no fault of what the story is about, and it is said. (Seen once, with QEMU 7.2: an emulated processor that
    leaves its guest again and again does not hear that the main loop waits for it.)
    """
    location = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if item.stash.get(HUNG, False):
        del item.stash[HUNG]
        item.user_properties.clear()
        # Private, but nothing public has fixtures made anew. Not pytest-rerunfailures: it starts a thread, which gets
        # the signals that a test has blocked in its own; hal-vmm's block SIGIO, and that ends pytest.
        item._initrequest()  # type: ignore[attr-defined]
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**location)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_REPORT] = report
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> Optional[tuple[str, str, str]]:
    if report.when == "call" and report.outcome in ("passed", "failed"):
        return report.outcome, report.outcome[0], f"{report.outcome} after {report.duration:.0f} s"
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for kind, text in report.user_properties:
                    if kind == _FIGURE:
                        terminalreporter.write_line(str(text))


def kept() -> Path:
    """Where saved servers and results are: with the images, where one may write there, or else at home."""
    if os.access(CACHE, os.W_OK) or os.geteuid() == 0:
        return CACHE
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "hal-lab")


@pytest.fixture(scope="session")
def workshop(request: pytest.FixtureRequest) -> Workshop:
    """Where servers come from."""
    say = _teller(request)
    return Workshop(ingredients.find(ROOT, CACHE, say), kept() / "saved", request.config.getoption("--accel"), say)


@pytest.fixture
def description(request: pytest.FixtureRequest) -> Server:
    """The server that the story is told on, as its file describes it."""
    return servers.named(request.param)


@pytest.fixture
def off(request: pytest.FixtureRequest, workshop: Workshop, description: Server) -> Iterator[Site]:
    """A server that has never been switched on, with HAL on its key and a product on its disk."""
    with _place() as place, _mine(description), _told(request, workshop.new(description, place)) as site:
        yield site


@pytest.fixture
def running(request: pytest.FixtureRequest, workshop: Workshop, description: Server) -> Iterator[Site]:
    """A server whose product has just come up."""
    with _place() as place, _mine(description), _told(request, workshop.running(description, place)) as site:
        yield site


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Has a measured number of seconds told at the end of everything."""

    def tell(what: str, seconds: float) -> None:
        request.node.user_properties.append((_FIGURE, f"{request.node.name}: {what}: {seconds:.1f} s"))

    return tell


@contextmanager
def _place() -> Iterator[Path]:
    """A directory for one server; not below a checkout, where a unix socket's name may become too long."""
    with tempfile.TemporaryDirectory(prefix="hal-lab-") as directory:
        yield Path(directory, "server")


def _mine(description: Server) -> AbstractContextManager[None]:
    """As many of this machine's processors as the server has, for the time of its story."""
    return processors.taken(description, kept() / "processors.lock")


@contextmanager
def _told(request: pytest.FixtureRequest, site: Site) -> Iterator[Site]:
    """The time in which a story is told; what remains of it when it went wrong."""
    with site:
        yield site
        report = request.node.stash.get(_REPORT, None)
        if report is not None and report.failed:
            evidence = kept() / "results" / request.node.name.replace("[", "-on-").strip("]")
            site.gather(evidence)
            _teller(request)(f"what this server has said and shown: {evidence}")
            if not request.config.getoption("--keep") and site.server.hangs():
                request.node.stash[HUNG] = True
                _teller(request)(f"the simulator itself hung: {request.node.name} is told once more")
        if request.config.getoption("--keep"):
            keeping.keep(site, _teller(request))


def _teller(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Lines for the person at the terminal, whatever pytest captures, and from whichever process: see ``command``."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n    … {line}", flush=True, file=sys.stderr)

    return tell
