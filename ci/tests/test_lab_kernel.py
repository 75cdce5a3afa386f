"""A kernel's modules: what needs what, in which order, and what a name or a directory stands for."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from factory import programs
from lab import kept
from lab.errors import LabError
from lab.images import kernel, packages
from lab.images.kernel import Kernel

DEP = """\
kernel/fs/jbd2/jbd2.ko:
kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2/jbd2.ko
kernel/lib/crc16.ko:
kernel/crypto/crc32c_generic.ko:
kernel/crypto/crc32c-intel.ko:
kernel/drivers/usb/core/usbcore.ko.xz:
kernel/drivers/usb/storage/usb-storage.ko.xz: kernel/drivers/usb/core/usbcore.ko.xz
"""
SHOWN = """\
Package: linux-image-cloud-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2), another
Description: for clouds
 a: continued line
"""


@pytest.fixture
def built(tmp_path: Path) -> Kernel:
    modules = tmp_path / "tree" / "lib" / "modules" / "6.1"
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text(DEP)
    (modules / "modules.builtin").write_text("kernel/drivers/tty/serial/8250/8250.ko\nkernel/fs/proc/proc.ko\n")
    (modules / "modules.softdep").write_text("# comment\nsoftdep jbd2 pre: crypto-crc32c post: whatever\n")
    (modules / "modules.alias").write_text(
        "alias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\nalias pci:v* x\n"
    )
    for line in DEP.splitlines():
        path = modules / line.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(b"module") if path.suffix == ".xz" else b"module")
    image = tmp_path / "tree" / "boot" / "vmlinuz-6.1"
    image.parent.mkdir()
    image.write_bytes(b"kernel")
    return kernel.in_tree(tmp_path / "tree")


def names(paths: list[Path]) -> list[str]:
    return [kernel.plain_name(path) for path in paths]


def test_the_kernel_of_a_tree_is_found(built: Kernel) -> None:
    assert built.version == "6.1"
    assert built.image.read_bytes() == b"kernel"


def test_what_a_module_needs_is_loaded_before_it_and_once(built: Kernel) -> None:
    order = names(kernel.closure(built, ["ext4", "jbd2"]))
    assert order == ["crc32c_generic", "jbd2", "crc16", "ext4"]


def test_dashes_and_underscores_are_the_same_and_builtin_modules_are_left_out(built: Kernel) -> None:
    assert names(kernel.closure(built, ["usb_storage", "8250"])) == ["usbcore", "usb-storage"]


def test_an_unknown_module_is_named(built: Kernel) -> None:
    with pytest.raises(LabError, match="no module nonsense"):
        kernel.closure(built, ["nonsense"])
    assert not kernel.has(built, "nonsense")
    assert kernel.has(built, "proc")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["kernel/drivers/usb"], {"usbcore.ko", "usb-storage.ko"}),
        (["kernel/fs/j*"], {"jbd2.ko", "crc32c_generic.ko"}),
        (["crc32c*"], {"crc32c_generic.ko", "crc32c-intel.ko"}),
        (["kernel/fs/proc", "proc"], set()),
    ],
)
def test_modules_are_installed_uncompressed_with_what_they_need(
    built: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: list[str], expected: set[str]
) -> None:
    ran: list[tuple[object, ...]] = []
    monkeypatch.setattr(programs, "run", lambda *argv: ran.append(argv))
    root = tmp_path / "root"
    (root / "usr" / "lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    kernel.install(built, root, wanted)
    installed = {path.name: path for path in (root / "usr/lib/modules/6.1").rglob("*.ko*")}
    assert set(installed) == expected
    assert all(path.read_bytes() == b"module" for path in installed.values())
    assert (root / "usr/lib/modules/6.1/modules.builtin").exists()
    assert ran == [("depmod", "-b", root, "6.1")]


@pytest.mark.parametrize("wanted", ["kernel/nowhere", "no*thing"])
def test_a_pattern_that_matches_nothing_is_an_error(built: Kernel, tmp_path: Path, wanted: str) -> None:
    with pytest.raises(LabError, match="this kernel has no module"):
        kernel.install(built, tmp_path / "root", [wanted])


def test_the_meta_package_leads_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "is_debian", lambda: True)
    monkeypatch.setattr(programs, "run", lambda *argv: SHOWN)
    assert kernel.package("cloud-amd64") == ["linux-image-6.1.0-56-cloud-amd64=6.1.192-2"]
    with pytest.raises(LabError, match="there are amd64 and cloud-amd64"):
        kernel.package("sparc")


def test_elsewhere_the_kernel_is_three_rpms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "is_debian", lambda: False)
    monkeypatch.setattr(packages, "is_debian", lambda: False)
    said = "kernel-core 5.14.0-1.el9.x86_64\n\nkernel-modules 5.14.0-1.el9.x86_64\n"
    monkeypatch.setattr(programs, "run", lambda *argv: said)
    with pytest.raises(LabError, match="no repository has kernel-modules-core"):
        kernel.package("amd64")
    said += "\nkernel-modules-core 5.14.0-1.el9.x86_64\n"
    assert kernel.package("amd64")[0] == "kernel-core-5.14.0-1.el9.x86_64"


def test_a_program_comes_with_its_libraries() -> None:
    files = packages.program("sh")
    assert any(path.endswith("bin/sh") for path in files)
    assert any("libc.so" in path for path in files)
    with pytest.raises(LabError, match="no-such-program is not installed"):
        packages.program("no-such-program")


def test_what_is_kept_is_made_once_and_whole(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.with_name("scratch").write_text("gone afterwards")
        path.write_text("content")

    home = tmp_path / "cache" / "thing"
    for _ in range(2):
        assert kept.once(home, make).read_text() == "content"
    assert len(made) == 1
    assert list(home.parent.iterdir()) == [home]


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise LabError("no")

    with pytest.raises(LabError):
        kept.once(tmp_path / "thing", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_digest_depends_on_names_and_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("x")
    other.write_text("x")
    assert kept.digest(["a"], [one]) == kept.digest(["a"], [one])
    assert len({kept.digest(["a"], [one]), kept.digest(["a"], [other]), kept.digest(["b"], [one])}) == 3
