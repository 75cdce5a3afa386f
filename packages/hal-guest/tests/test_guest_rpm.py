"""The package for every product: made by the rpmbuild that is here, looked at with an old rpm's eyes, and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from guestmachine import PACKAGE

SPEC = PACKAGE.parents[1] / "specs/hal-guest.spec"
LICENSE = PACKAGE.parents[1] / "LICENSE"

# What rpm has been able to do since its version 4.0 (`rpm --showrc` has the version of each); RHEL 3 has 4.2.
OLD_FEATURES = {"CompressedFileNames", "PayloadFilesHavePrefix", "VersionedDependencies"}
TRIGGERS = ("TRIGGERNAME", "FILETRIGGERNAME", "TRANSFILETRIGGERNAME")

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(
        None in map(shutil.which, ("rpmbuild", "rpm2cpio", "cpio")), reason="rpmbuild, rpm2cpio, cpio not installed"
    ),
    pytest.mark.skipif(not SPEC.exists(), reason="not in a checkout: the specs are not beside the packages"),
]


class Rpm:
    def __init__(self, file: Path, environment: dict[str, str]) -> None:
        self.file, self.environment = file, environment

    def query(self, *arguments: str) -> str:
        return subprocess.run(
            ["rpm", "-qp", "--nosignature", *arguments, self.file],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Rpm:
    top = tmp_path_factory.mktemp("rpm")
    version = re.search(r"^Version: +(\S+)$", SPEC.read_text(), re.MULTILINE)
    assert version
    name = f"hal-guest-{version[1]}"
    (top / "SOURCES").mkdir()
    with tarfile.open(top / f"SOURCES/{name}.tar.gz", "w:gz") as archive:
        archive.add(PACKAGE, name, filter=lambda member: None if "__pycache__" in member.name else member)
        archive.add(LICENSE, f"{name}/LICENSE")
    # A database of its own: on a system of another kind rpm has none, and says so.
    (top / ".rpmmacros").write_text(f"%_dbpath {top}/db\n%_topdir {top}\n%dist .test\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(top), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["rpmbuild", "-bb", "--nodeps", SPEC],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for check in ("check-heartbeat", "check-link"):
        assert f"{check} (sh): ok" in done.stdout
    (file,) = (top / "RPMS/noarch").glob("*.rpm")
    assert file.name == f"{name}-1.test.noarch.rpm"
    return Rpm(file, environment)


@pytest.fixture(scope="module")
def unpacked(built: Rpm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    payload = subprocess.run(["rpm2cpio", built.file], check=True, capture_output=True).stdout
    subprocess.run(["cpio", "-idm", "--quiet"], input=payload, cwd=root, check=True)
    return root


def test_it_requires_nothing_but_sh_and_what_the_oldest_rpm_can(built: Rpm) -> None:
    required = {line.split()[0] for line in built.query("--requires").splitlines()}
    features = {found[1] for line in required for found in [re.fullmatch(r"rpmlib\((\w+)\)", line)] if found}
    assert features <= OLD_FEATURES
    others = {line for line in required if not line.startswith("rpmlib(")}
    assert others == {"/bin/sh", "config(hal-guest)"}
    for tag in TRIGGERS:
        assert built.query("--qf", f"%{{{tag}}}") == "(none)", tag


def test_its_format_is_the_oldest(built: Rpm) -> None:
    tags = built.query("--qf", "%{PAYLOADFORMAT} %{PAYLOADCOMPRESSOR} %{FILEDIGESTALGO} %{ARCH} %{EPOCH}")
    # No FILEDIGESTALGO means MD5: that tag came with the other algorithms (rpm 4.6).
    assert tags == "cpio gzip (none) noarch (none)"
    digests = built.query("--qf", "[%{FILEMODES:perms} %{FILEDIGESTS}\n]").splitlines()
    files = [line for line in digests if line.startswith("-")]
    assert len(files) == 14
    assert all(re.fullmatch(r"\S+ [0-9a-f]{32}", line) for line in files)
    lead = built.file.read_bytes()[:6]
    assert lead == b"\xed\xab\xee\xdb\x03\x00", "the lead's major version 3 is that of rpm 3 and 4"
    payload = subprocess.run(["rpm2cpio", built.file], check=True, capture_output=True).stdout
    assert b"\x1f\x8b\x08" in built.file.read_bytes(), "gzip's magic"
    assert payload.startswith(b"070701"), "rpm's cpio, and not the stripped one of large packages"


def test_its_files_are_where_every_product_looks(built: Rpm, unpacked: Path) -> None:
    listed = built.query("--qf", "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\n]").splitlines()
    assert {re.sub(r"\.gz$", "", line) for line in listed if "/licenses" not in line} == {
        "drwxr-xr-x root /etc/NetworkManager",
        "drwxr-xr-x root /etc/NetworkManager/conf.d",
        "-rw-r--r-- root /etc/NetworkManager/conf.d/90-hal-link.conf",
        "-rw-r--r-- root /etc/sysconfig/hal-heartbeat",
        "-rwxr-xr-x root /etc/rc.d/init.d/hal-heartbeat",
        "-rwxr-xr-x root /etc/rc.d/init.d/hal-link",
        "-rwxr-xr-x root /usr/sbin/hal-heartbeat",
        "-rwxr-xr-x root /usr/sbin/hal-link",
        "drwxr-xr-x root /usr/lib/systemd",
        "drwxr-xr-x root /usr/lib/systemd/network",
        "drwxr-xr-x root /usr/lib/systemd/system",
        "drwxr-xr-x root /usr/lib/systemd/system-preset",
        "-rw-r--r-- root /usr/lib/systemd/network/10-hal-link.network",
        "-rw-r--r-- root /usr/lib/systemd/system/hal-heartbeat.service",
        "-rw-r--r-- root /usr/lib/systemd/system/hal-link.service",
        "-rw-r--r-- root /usr/lib/systemd/system-preset/90-hal-guest.preset",
        "drwxr-xr-x root /usr/lib/udev",
        "drwxr-xr-x root /usr/lib/udev/rules.d",
        "-rw-r--r-- root /usr/lib/udev/rules.d/90-hal-link.rules",
        "-rw-r--r-- root /usr/share/man/man8/hal-heartbeat.8",
        "-rw-r--r-- root /usr/share/man/man8/hal-link.8",
    }
    flags = dict(line.split() for line in built.query("--qf", "[%{FILENAMES} %{FILEFLAGS:fflags}|\n]").splitlines())
    for file in ("/etc/sysconfig/hal-heartbeat", "/etc/NetworkManager/conf.d/90-hal-link.conf"):
        assert flags[file] == "cn|", "noreplace"
    for name in ("hal-heartbeat", "hal-link"):
        for script in (f"usr/sbin/{name}", f"etc/rc.d/init.d/{name}"):
            assert (unpacked / script).read_bytes().startswith(b"#!/bin/sh\n"), "before RHEL 7 there is no /usr/bin/sh"


@pytest.mark.parametrize(
    ("program", "verb", "status", "says"),
    [("hal-heartbeat", [], 0, "hal-heartbeat: no HAL here"), ("hal-link", ["status"], 4, "hal-link: no NIC ")],
)
def test_what_was_installed_runs(
    unpacked: Path, tmp_path: Path, program: str, verb: list[str], status: int, says: str
) -> None:
    # A made-up bare-metal machine: what is installed is below another directory than what it looks at.
    (tmp_path / "sys/class/net").mkdir(parents=True)
    done = subprocess.run(
        [unpacked / "usr/sbin" / program, "--root", tmp_path, *verb],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == status
    assert done.stdout.startswith(says)


@pytest.mark.skipif(os.getuid() != 0, reason="rpm changes its root directory, which only root may")
def test_it_leaves_nothing_behind_in_a_product_without_systemd(built: Rpm, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for directory in ("etc/rc.d/init.d", "etc/sysconfig", "usr/sbin", "usr/lib", "usr/share/man/man8", "db"):
        (root / directory).mkdir(parents=True)

    def rpm(*arguments: object) -> str:
        command = ["rpm", "--root", str(root), "--dbpath", "/db", *map(str, arguments)]
        done = subprocess.run(command, env=built.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tree() -> set[Path]:
        return {path for path in root.rglob("*") if (root / "db") not in path.parents}

    before = tree()
    rpm("--install", "--nodeps", "--noscripts", built.file)
    assert rpm("--verify", "--nodeps", "hal-guest") == ""
    assert len(tree() - before) > 10
    rpm("--erase", "--noscripts", "hal-guest")
    assert tree() == before


# --- scriptlets -------------------------------------------------------------------------------------------------------

# Fakes: a product's programs, which only note that they were called.
NOTE = '#!/bin/sh\necho "{0} $*" >>{1}/calls\n'
PROGRAMS = {"systemctl": "/usr/bin/systemctl", "chkconfig": "/sbin/chkconfig"}


def scriptlet(built: Rpm, tag: str, argument: int, base: Path, has: set[str]) -> list[str]:
    """What a scriptlet does in a product that has these programs."""
    text = built.query("--qf", f"%{{{tag}}}")
    (base / "fakes").mkdir(exist_ok=True)
    for name in ("systemctl", "chkconfig", "hal-heartbeat", "hal-link"):
        fake = base / "fakes" / name
        fake.write_text(NOTE.format(name, base))
        fake.chmod(0o755)
        if name in PROGRAMS and name not in has:
            fake.unlink()
    text = text.replace("/etc/rc.d/init.d/", f"{base}/fakes/").replace("/sbin/chkconfig", f"{base}/fakes/chkconfig")
    text = text.replace("/usr/bin/systemctl", f"{base}/fakes/systemctl").replace("/bin/systemctl", "/nowhere")
    (base / "calls").write_text("")
    done = subprocess.run(
        ["sh", "-e", "-c", text, "scriptlet", str(argument)],
        env={"PATH": f"{base}/fakes:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return (base / "calls").read_text().splitlines()


@pytest.mark.parametrize("has", [{"systemctl"}, {"systemctl", "chkconfig"}], ids=["RHEL 9", "RHEL 7"])
def test_scriptlets_with_systemd(built: Rpm, tmp_path: Path, has: set[str]) -> None:
    def calls(tag: str, argument: int) -> list[str]:
        return scriptlet(built, tag, argument, tmp_path, has)

    unit = "hal-heartbeat.service"  # udev starts hal-link's
    reload = "systemctl daemon-reload"
    assert calls("POSTIN", 1) == [reload, f"systemctl --no-reload preset {unit}"]
    assert calls("POSTIN", 2) == [reload], "an upgrade does not enable what somebody has disabled"
    assert calls("PREUN", 1) == []
    assert calls("PREUN", 0) == [f"systemctl --no-reload disable {unit}", f"systemctl stop {unit} hal-link.service"]
    assert calls("POSTUN", 1) == [reload, f"systemctl try-restart {unit}"], "and the link stays as it is"
    assert calls("POSTUN", 0) == [reload]


def test_scriptlets_with_chkconfig(built: Rpm, tmp_path: Path) -> None:
    def calls(tag: str, argument: int) -> list[str]:
        return scriptlet(built, tag, argument, tmp_path, {"chkconfig"})

    assert calls("POSTIN", 1) == calls("POSTIN", 2) == ["chkconfig --add hal-heartbeat", "chkconfig --add hal-link"]
    assert calls("PREUN", 1) == []
    assert calls("PREUN", 0) == [
        *("hal-heartbeat stop", "chkconfig --del hal-heartbeat"),
        *("hal-link stop", "chkconfig --del hal-link"),
    ]
    assert calls("POSTUN", 1) == ["hal-heartbeat condrestart"], "and the link stays as it is"
    assert calls("POSTUN", 0) == []


def test_scriptlets_with_neither(built: Rpm, tmp_path: Path) -> None:
    for tag, argument, expected in (
        ("POSTIN", 1, []),
        ("PREUN", 0, ["hal-heartbeat stop", "hal-link stop"]),
        ("POSTUN", 0, []),
    ):
        assert scriptlet(built, tag, argument, tmp_path, set()) == expected
