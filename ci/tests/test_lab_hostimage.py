"""The host's image: what makes it another one, and the files that the lab adds to it."""

from __future__ import annotations

import configparser
import os
import re
import shutil
from pathlib import Path
from typing import Callable

import pytest

from factory import target
from factory.distribution import Distribution
from lab.errors import LabError
from lab.images import bootloader, disk, hostimage, initramfs, kernel
from lab.simulator import commandline

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "ci/lib/lab/images/host_files"
UNITS = FILES / "etc/systemd/system"
HALS = {path.name for path in (ROOT / "packages").glob("*/systemd/*") if path.is_file()}
_RULE = re.compile(r"(enable|disable) (\S+)")


class Place:
    """All that an image is made of, in copies that may be changed."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.packages = directory / "packages"
        self.packages.mkdir()
        (self.packages / "hal-core-1.rpm").write_text("core")
        self.system = Distribution(target.parse("el9"), None, "el9 as of today", directory)
        self.here = directory / "images"
        shutil.copytree(FILES, self.here / "host_files", symlinks=True)
        (self.here / "init-modules.sh").write_text("modprobe\n")
        self.module = self.here / "module.py"
        self.module.write_text("# a module\n")
        monkeypatch.setattr(hostimage, "_HERE", self.here)
        monkeypatch.setattr(hostimage, "_FILES", self.here / "host_files")
        self.kernel("6.1.0-1")

    def kernel(self, version: str) -> None:
        self._monkeypatch.setattr(kernel, "package", lambda flavour: [f"linux-image-{flavour}={version}"])

    def code_of(self, module: object) -> None:
        self._monkeypatch.setattr(module, "__file__", str(self.module))

    def system_of(self, key: str) -> None:
        self.system = Distribution(self.system.target, None, key, self.system.home)

    @property
    def key(self) -> str:
        return hostimage.key(self.packages, self.system)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_the_same_is_the_same(place: Place) -> None:
    assert place.key == place.key
    assert re.fullmatch("[0-9a-f]{16}", place.key)
    (place.packages / "repodata").mkdir()
    (place.packages / "repodata/repomd.xml").write_text("when it was made")
    os.utime(place.packages / "hal-core-1.rpm", (0, 0))
    assert place.key == hostimage.key(place.packages, place.system)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda place: (place.packages / "hal-core-1.rpm").write_text("CORE"), id="a package's content"),
        pytest.param(lambda place: (place.packages / "hal-vmm-1.rpm").write_text(""), id="one more package"),
        pytest.param(
            lambda place: (place.packages / "hal-core-1.rpm").rename(place.packages / "hal-core-2.rpm"),
            id="a package's name",
        ),
        pytest.param(lambda place: place.system_of("el9 as of tomorrow"), id="the distribution"),
        pytest.param(lambda place: place.kernel("6.1.0-2"), id="the kernel"),
        pytest.param(lambda place: (place.here / "host_files/etc/fstab").write_text("\n"), id="a file of the lab's"),
        pytest.param(lambda place: (place.here / "host_files/etc/motd").write_text("\n"), id="one more file"),
        pytest.param(
            lambda place: (place.here / "host_files/etc/systemd/system/qemu-guest-agent.service").unlink(),
            id="a mask less",
        ),
        pytest.param(lambda place: (place.here / "host_files/etc/fstab").chmod(0o600), id="a mode"),
        pytest.param(
            lambda place: (place.here / "host_files/etc/fstab").rename(place.here / "host_files/fstab"),
            id="a file's place",
        ),
        pytest.param(lambda place: (place.here / "init-modules.sh").write_text("\n"), id="the initramfs's script"),
        *(
            pytest.param(lambda place, module=module: place.code_of(module), id=f"the code of {module.__name__}")
            for module in (hostimage, bootloader, disk, initramfs, kernel)
        ),
    ],
)
def test_each_ingredient_makes_another_image(place: Place, change: Callable[[Place], object]) -> None:
    before = place.key
    change(place)
    assert place.key != before


def test_who_is_not_root_is_told_so(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="building the host image needs root"):
        hostimage.build(place.packages, place.system, tmp_path / "cache", print)
    (tmp_path / "cache").mkdir()
    image = tmp_path / "cache" / f"{place.key}.img"
    image.touch()
    assert hostimage.build(place.packages, place.system, tmp_path / "cache", print) == image


def test_the_newest_policy_is_so_by_number(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no binary policy: selinux-policy-targeted did not install whole"):
        hostimage.newest_policy(tmp_path)
    (tmp_path / "policy").mkdir()
    for name in ("policy.9", "policy.33", "policy.31", "policy.kern", "policy.99.bak"):
        (tmp_path / "policy" / name).touch()
    assert hostimage.newest_policy(tmp_path) == tmp_path / "policy/policy.33"


def unit(path: Path) -> configparser.ConfigParser:
    """systemd.syntax(7), as far as configparser knows it."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text())
    return parser


def own_units() -> list[Path]:
    return sorted(path for path in UNITS.iterdir() if not path.is_symlink())


@pytest.mark.parametrize("path", own_units(), ids=lambda path: str(path.name))
def test_a_unit_is_whole(path: Path) -> None:
    parsed = unit(path)
    assert parsed.sections() == ["Unit", "Service", "Install"]
    assert parsed["Unit"]["Description"].startswith("Lab: ")
    assert parsed["Service"]["SELinuxContext"] == "system_u:system_r:unconfined_t:s0"
    named = " ".join(parsed["Unit"].get(key, "") for key in ("Wants", "Requires", "After", "Before", "BindsTo"))
    named += " " + parsed["Install"]["WantedBy"]
    ours = set(re.findall(r"\b(?:hal|lab)[\w-]*\.(?:service|target)\b", named))
    assert ours <= HALS | {one.name for one in own_units()}, "a unit that nobody has"


def test_units_that_are_not_to_run_are_masked() -> None:
    links = {path.name: os.readlink(path) for path in UNITS.iterdir() if path.is_symlink()}
    assert set(links.values()) == {"/dev/null"}
    assert set(links) == {"qemu-guest-agent.service", "serial-getty@hvc0.service"}


def test_the_preset_enables_every_unit_of_the_labs_and_no_other() -> None:
    (preset,) = (FILES / "etc/systemd/system-preset").iterdir()
    lines = [line for line in preset.read_text().splitlines() if line and not line.startswith("#")]
    rules = [_RULE.fullmatch(line) for line in lines]
    assert None not in rules
    enabled = [rule[2] for rule in rules if rule and rule[1] == "enable"]
    assert enabled == [path.name for path in own_units()]
    hals = (ROOT / "packages/hal-vmm/systemd/90-hal.preset").name
    assert preset.name < hals, "the first rule counts: systemd.preset(5)"


def test_the_host_fetches_the_configuration_where_the_server_has_it() -> None:
    (path,) = set(re.findall(r"/by_name/(\S+)/raw", (UNITS / "lab-config.service").read_text()))
    assert f"name={path},file=" in Path(commandline.__file__).read_text()


def test_no_module_is_listed_twice() -> None:
    assert set(hostimage._EARLY_MODULES) <= set(hostimage._MODULES)
    assert len(set(hostimage._MODULES)) == len(hostimage._MODULES)


def test_the_host_has_every_module_that_hal_loads() -> None:
    files = list((ROOT / "packages").glob("*/systemd/modules-load.d/*.conf"))
    assert {path.stem for path in files} >= {"hal-vmm", "hal-netcfg"}
    for path in files:
        lines = path.read_text().splitlines()
        assert {line for line in lines if line and not line.startswith("#")} <= set(hostimage._MODULES), path.name
