"""The demo's product OS: this distribution's kernel and busybox, QEMU's guest agent, hal-guest: in one initramfs.

Built once and cached by content: the same packages, the same scripts, the same modules give the same file.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

INIT = Path(__file__).with_name("product-init.sh")
HEARTBEAT = Path(__file__).resolve().parents[2] / "packages/hal-guest/sbin/hal-heartbeat"

# In any order: depmod's modules.dep tells what each one needs.
MODULES = (
    "virtio_pci",
    "virtio_console",
    "virtio_scsi",
    "sd_mod",
    "virtio_net",
    "virtio-rng",
    "pvpanic-mmio",
    "pvpanic",
)
AGENT = "usr/sbin/qemu-ga"


class BuildError(Exception):
    """The product OS cannot be built; the message says what is missing."""


# Nothing of the machine that it is tried on is touched: no disk, no network.
CONFIG = """\
[vmm]
accel = "auto"
user = "{user}"

[vmm.memory]
guest_mib = 768

[vmm.devices]
keep_disks = ["*"]
serial = ["{port}"]
nic_backend = "unplugged"

[vmm.boot]
kernel = "{kernel}"
initrd = "{initrd}"
append = "console=ttyS0 quiet mitigations=off panic=0"
"""


@dataclass(frozen=True)
class ProductOs:
    kernel: Path
    initrd: Path

    def config(self, user: str, port: str) -> str:
        """The part of hal.toml that boots it with this machine's hands off.

        :param user: whom QEMU runs as; "" is the caller. :param port: what plays the server's serial port.
        """
        return CONFIG.format(user=user, port=port, kernel=self.kernel, initrd=self.initrd)


def build(cache: Path, say: Say) -> ProductOs:
    """The product OS, from the cache if nothing has changed.

    :param say: told what takes time.
    :raise BuildError: a package cannot be had.
    """
    cache.mkdir(parents=True, exist_ok=True)
    packages = _debian_packages() if shutil.which("apt-get") else _rpm_packages()
    key = hashlib.sha256("\n".join([*packages, *MODULES]).encode())
    for file in (INIT, HEARTBEAT, Path(__file__)):
        key.update(file.read_bytes())
    home = cache / key.hexdigest()[:16]
    done = ProductOs(home / "vmlinuz", home / "initrd.gz")
    if done.kernel.exists() and done.initrd.exists():
        return done
    work = cache / f"{home.name}.new"
    shutil.rmtree(work, ignore_errors=True)
    tree = work / "packages"
    tree.mkdir(parents=True)
    say(f"fetching {', '.join(packages)}")
    (_unpack_debs if shutil.which("apt-get") else _unpack_rpms)(packages, work, tree)
    kernel = _only(tree.glob("boot/vmlinuz-*"), tree.glob("lib/modules/*/vmlinuz"))
    say(f"building the product OS around {kernel.name}")
    _build_initrd(tree, work)
    shutil.copyfile(kernel, work / "vmlinuz")
    for leftover in (tree, work / "root", work / "downloads"):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
    work.rename(home)
    return done


class Say:
    """Tells the person at the terminal what is going on."""

    def __call__(self, text: str) -> None:
        print(f"    … {text}", flush=True)


def _debian_packages() -> list[str]:
    """NAME=VERSION of what is needed; the kernel's meta package is resolved to the real one."""
    shown = _run(
        "apt-cache", "show", "--no-all-versions", "linux-image-cloud-amd64", "busybox-static", "qemu-guest-agent"
    )
    packages = []
    for paragraph in shown.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields["Package"] == "linux-image-cloud-amd64":
            packages.append(fields["Depends"].split()[0].rstrip(","))
        else:
            packages.append(f"{fields['Package']}={fields['Version']}")
    return packages


def _unpack_debs(packages: list[str], work: Path, tree: Path) -> None:
    downloads = work / "downloads"
    downloads.mkdir()
    # As another user apt would complain that its sandbox user cannot write here.
    _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=downloads)
    for deb in sorted(downloads.glob("*.deb")):
        _run("dpkg-deb", "-x", str(deb), str(tree))


def _rpm_packages() -> list[str]:
    wanted = ["kernel-core", "kernel-modules-core", "kernel-modules", "busybox", "qemu-guest-agent"]
    found = _run("dnf", "-q", "repoquery", "--latest-limit=1", "--arch=x86_64", *wanted).split()
    missing = [name for name in wanted if not any(entry.startswith(f"{name}-") for entry in found)]
    if missing:
        raise BuildError(f"no repository has {', '.join(missing)}; on EL enable EPEL: dnf install epel-release")
    return found


def _unpack_rpms(packages: list[str], work: Path, tree: Path) -> None:
    downloads = work / "downloads"
    downloads.mkdir()
    _run("dnf", "-q", "download", "--destdir", str(downloads), *packages)
    for rpm in sorted(downloads.glob("*.rpm")):
        payload = subprocess.run(["rpm2cpio", str(rpm)], check=True, capture_output=True).stdout
        subprocess.run(["cpio", "-idm", "--quiet"], input=payload, cwd=tree, check=True)
    for merged in ("lib", "sbin"):
        if not (tree / merged).exists():
            (tree / merged).symlink_to(f"usr/{merged}")


def _build_initrd(tree: Path, work: Path) -> None:
    root = work / "root"
    for directory in ("bin", "dev", "proc", "sys", "run", "tmp", "etc", "lib/modules", "usr/sbin", "var/run"):
        (root / directory).mkdir(parents=True)
    shutil.copy(
        _only(tree.glob("bin/busybox"), tree.glob("usr/bin/busybox"), tree.glob("usr/sbin/busybox")), root / "bin"
    )
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    shutil.copy(HEARTBEAT, root / "usr" / "sbin")
    agent = _only(tree.glob(AGENT), tree.glob("usr/bin/qemu-ga"))
    shutil.copy(agent, root / AGENT)
    _copy_libraries(agent, root)
    # busybox has no chrt, which the product's command "hang" needs for a hang that is one.
    chrt = Path(shutil.which("chrt") or "/usr/bin/chrt")
    shutil.copy(chrt, root / "bin")
    _copy_libraries(chrt, root)
    names = [_copy_module(path, root) for path in _module_order(tree)]
    (root / "etc" / "modules").write_text("".join(f"{name}\n" for name in names))
    files = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "--reproducible"],
        input=files.encode(),
        cwd=root,
        check=True,
        capture_output=True,
    ).stdout
    # Quickly compressed: under emulation the product unpacks it itself.
    (work / "initrd.gz").write_bytes(
        subprocess.run(["gzip", "-1n"], input=archive, check=True, capture_output=True).stdout
    )


def _copy_libraries(program: Path, root: Path) -> None:
    """What a program is linked to, from this machine, which has QEMU and so has the same libraries."""
    for line in _run("ldd", str(program)).splitlines():
        words = line.split()
        path = words[2] if len(words) > 2 and words[1] == "=>" else words[0]
        if "not" in words[2:3]:
            raise BuildError(f"{program.name} needs {words[0]}, which is not installed")
        if path.startswith("/"):
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(path), target)


def _module_order(tree: Path) -> list[Path]:
    """The modules and what they depend on, dependencies first; built-in ones are left out."""
    version = _only(tree.glob("lib/modules/*"))
    subprocess.run(["depmod", "-b", str(tree), version.name], check=True, capture_output=True)
    needs: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in (version / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        by_name[Path(path).name.split(".ko")[0].replace("_", "-")] = path
    order: list[str] = []
    for wanted in MODULES:
        name = wanted.replace("_", "-")
        if name not in by_name:
            continue  # built into this kernel
        path = by_name[name]
        order += [each for each in [*reversed(needs[path]), path] if each not in order]
    return [version / path for path in order]


def _copy_module(path: Path, root: Path) -> str:
    name = path.name.split(".ko")[0] + ".ko"
    data = path.read_bytes()
    if path.suffix == ".xz":
        data = lzma.decompress(data)
    elif path.suffix == ".zst":
        data = subprocess.run(["zstd", "-dcq"], input=data, check=True, capture_output=True).stdout
    (root / "lib" / "modules" / name).write_bytes(data)
    return name


def _only(*candidates: Iterable[Path]) -> Path:
    """The first file that is there, of several places where distributions put it."""
    for paths in candidates:
        for path in sorted(paths):
            return path
    raise BuildError("a package lacks a file that it has always had; was the download cut short?")


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise BuildError(f"{' '.join(command[:3])} … failed: {last}")
    return done.stdout
