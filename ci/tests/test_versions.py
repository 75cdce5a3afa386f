"""A package has one version: in its spec, in its changelog's newest entry, and wherever else it is written down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted((ROOT / "specs").glob("*.spec"))
ENTRY = re.compile(r"^\* \w{3} \w{3} \d{2} \d{4} .+ <\S+> - (\S+)$", re.MULTILINE)


def tag(spec: str, name: str) -> str:
    match = re.search(rf"^{name}:\s*(\S+)", spec, re.MULTILINE)
    assert match is not None, name
    return match[1]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: str(path.stem))
def test_the_newest_changelog_entry_is_the_versions(path: Path) -> None:
    spec = path.read_text()
    changelog = spec[spec.index("%changelog") :]
    entries = ENTRY.findall(changelog)
    assert len(entries) == changelog.count("\n* "), "every entry: * Day Mon DD YYYY Name <address> - VERSION-RELEASE"
    assert entries[0] == f"{tag(spec, 'Version')}-{tag(spec, 'Release').removesuffix('%{?dist}')}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("packages/*/setup.cfg")), ids=lambda path: str(path.parent.name))
def test_the_metadata_has_the_specs_version(path: Path) -> None:
    version = tag((ROOT / f"specs/{path.parent.name}.spec").read_text(), "Version")
    assert re.search(r"^version = (\S+)$", path.read_text(), re.MULTILINE)[1] == version  # type: ignore[index]


def test_the_hal_command_has_hal_cores_version() -> None:
    version = tag((ROOT / "specs/hal-core.spec").read_text(), "Version")
    assert f"\nversion={version}\n" in (ROOT / "packages/hal-core/bin/hal").read_text()


def test_every_package_has_a_spec() -> None:
    packages = {path.name for path in (ROOT / "packages").iterdir() if path.is_dir()}
    assert packages <= {path.stem for path in SPECS}
