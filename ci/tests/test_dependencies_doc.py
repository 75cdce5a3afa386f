"""docs/dependencies.md tells of every dependency that there is, and of no other."""

from __future__ import annotations

import configparser
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted((ROOT / "specs").glob("*.spec"))
DOCUMENT = (ROOT / "docs/dependencies.md").read_text()

TAG = re.compile(r"^(BuildRequires|Requires|Recommends|Suggests|Supplements)(?:\([a-z,]+\))?:\s*(.+)$")
OPERATORS = {"and", "or", "if", "else", "unless", "with", "without"}
MACROS = {  # what they expand to is not in the spec
    "systemd_requires": ("systemd",),
    "sysusers_requires_compat": ("shadow-utils",),
}
FOR_BUILDING = {"devel", "testing"}  # sub-packages that are not installed on a host

Needed = dict[str, set[str]]  # a package, and which of ours need it


def is_ours(name: str) -> bool:
    return name.startswith(("hal-", "%{name}"))


def names_in(requirement: str) -> Iterator[str]:
    """The packages in what follows "Requires:", rich dependencies included; conditions on versions are left out."""
    for word in re.sub(r"[<>=]+\s*\S+", " ", requirement).replace(",", " ").split():
        # The brackets of a rich dependency; those of "python3dist(x)" come in pairs.
        name = word.lstrip("(")
        while name.count(")") > name.count("("):
            name = name.removesuffix(")")
        if name and name not in OPERATORS and not is_ours(name):
            yield name


def spec_requirements(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of a tag and a package; what only sub-packages for building require is left out."""
    values = dict(re.findall(r"^%global (\w+) (\w+)$", text, re.MULTILINE))
    package = ""
    for line in text.splitlines():
        line = re.sub(r"%\{(\w+)\}", lambda macro: values.get(macro[1], macro[0]), line)
        if line.startswith("%package "):
            package = line.split()[-1]
        elif match := TAG.match(line):
            if package in FOR_BUILDING and match[1] != "BuildRequires":
                continue
            yield from ((match[1], name) for name in names_in(match[2]))
        elif match := re.fullmatch(r"%\{\?(\w*requires\w*)\}", line.strip()):
            yield from (("Requires", name) for name in MACROS[match[1]])


def distribution_names(lines: str) -> Iterator[str]:
    """Python distributions, as in requirements.txt and install_requires, without version and condition."""
    for line in lines.splitlines():
        if match := re.match(r"[A-Za-z][\w.-]*", line.strip()):
            yield match[0]


def rpm_name(distribution: str) -> str:
    """What Fedora and EL call the RPM of a Python distribution."""
    return "python3-" + re.sub(r"[-_.]+", "-", distribution).lower()


def at_run_time() -> Needed:
    needed: Needed = defaultdict(set)
    for spec in SPECS:
        for tag, name in spec_requirements(spec.read_text()):
            if tag != "BuildRequires":
                needed[name].add(spec.stem)
    for path in ROOT.glob("packages/*/setup.cfg"):
        setup = configparser.ConfigParser()
        setup.read(path)
        for distribution in distribution_names(setup.get("options", "install_requires", fallback="")):
            if not is_ours(distribution):
                needed[rpm_name(distribution)].add(path.parent.name)
    return needed


def to_build() -> Needed:
    needed: Needed = defaultdict(set)
    for spec in SPECS:
        for tag, name in spec_requirements(spec.read_text()):
            if tag == "BuildRequires":
                needed[name].add(spec.stem)
    for path in ROOT.glob("packages/*/pyproject.toml"):
        requires = re.search(r"^requires = \[(.*)\]$", path.read_text(), re.MULTILINE)
        assert requires is not None, f"{path}: no line requires = [...]"
        for distribution in distribution_names(requires[1].replace('"', "").replace(",", "\n")):
            needed[rpm_name(distribution)].add(path.parent.name)
    return needed


def python_environment() -> set[str]:
    return set(distribution_names((ROOT / "ci/requirements.txt").read_text()))


def system_packages() -> set[tuple[str, str]]:
    """Pairs of EL's and Debian's name."""
    lines = (ROOT / "ci/lib/packages.txt").read_text().splitlines()
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return {(el, debian) for _, debian, el, _ in rows}


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, as cells; not its head."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert section is not None, f"no section {heading}"
    rows = [line.strip().strip("|").split("|") for line in section[1].splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def documented(heading: str) -> Needed:
    """Packages in the first column, those of ours that need them in the second."""
    return {name: set(row[1].split(", ")) for row in table(heading) for name in code(row[0])}


def test_what_a_host_and_the_product_need() -> None:
    in_product = documented("In the product")
    assert set().union(*in_product.values()) == {"hal-guest"}
    assert {**documented("On a HAL host"), **in_product} == at_run_time()


def test_what_building_needs() -> None:
    assert documented("To build the packages") == to_build()


def test_what_is_installed_into_the_python_environment() -> None:
    assert {name for row in table("In ci's Python environment") for name in code(row[0])} == python_environment()


def test_what_is_installed_on_the_machine() -> None:
    rows = table("On the machine that runs ci's commands")
    assert {(el, code(row[1])[0]) for row in rows for el in code(row[0])} == system_packages()


@pytest.mark.parametrize("heading", re.findall(r"^## (.*)$", DOCUMENT, re.MULTILINE))
def test_nothing_is_told_twice_or_left_empty(heading: str) -> None:
    rows = table(heading)
    names = [(*code(row[0]), row[1]) for row in rows]
    assert len(names) == len(set(names))
    assert all(all(row) for row in rows), "every cell says something"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Requires: python3-rpm", ["python3-rpm"]),
        ("Requires:       (qemu-kvm-core or qemu-system-x86-core)", ["qemu-kvm-core", "qemu-system-x86-core"]),
        ("Requires: (hal-selinux if selinux-policy-targeted)", ["selinux-policy-targeted"]),
        ("Requires(post): policycoreutils >= 3.4, libselinux-utils", ["policycoreutils", "libselinux-utils"]),
        ("Requires: hal-core = %{version}-%{release}", []),
        ("BuildRequires: python3dist(foo)", ["python3dist(foo)"]),
        ("%{?systemd_requires}", ["systemd"]),
        ("# Requires: nothing", []),
        ("%global kind targeted\nRequires: selinux-policy-%{kind}", ["selinux-policy-targeted"]),
        ("Requires: gawk\n%package devel\nRequires: make", ["gawk"]),
    ],
)
def test_how_a_spec_is_read(text: str, names: list[str]) -> None:
    assert [name for _, name in spec_requirements(text)] == names
