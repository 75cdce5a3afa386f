"""specs/comps.xml: the groups that a product's installer knows HAL by."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def groups() -> dict[str, ElementTree.Element]:
    tree = ElementTree.parse(ROOT / "specs/comps.xml")  # our own file
    return {group.findtext("id", ""): group for group in tree.iter("group")}


def test_comps_has_a_group_for_the_host_and_one_for_the_product() -> None:
    assert set(groups()) == {"hal-host", "hal-guest"}
    for name, group in groups().items():
        packages = {package.text: package.get("type") for package in group.iter("packagereq")}
        assert packages == {name: "mandatory"}
        assert group.findtext("description")


def test_every_package_in_comps_has_a_spec() -> None:
    specs = {path.stem for path in (ROOT / "specs").glob("*.spec")}
    assert {package.text for group in groups().values() for package in group.iter("packagereq")} <= specs


@pytest.mark.skipif(shutil.which("createrepo_c") is None, reason="createrepo_c is not installed")
def test_a_repository_takes_the_comps_file(tmp_path: Path) -> None:
    subprocess.run(["createrepo_c", "--quiet", "--groupfile", str(ROOT / "specs/comps.xml"), str(tmp_path)], check=True)
    assert '<data type="group">' in (tmp_path / "repodata/repomd.xml").read_text()
