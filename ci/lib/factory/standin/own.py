"""The packages that are not Debian's: the identity of the system, the macros of specs, and what maintainer scripts leave.

The text of macros and programs is in macros/ and programs/; this says which package has what.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Sequence, Union

from factory.standin import package
from factory.standin.package import Entry, Package, requires
from factory.target import Target

HERE = Path(__file__).parent

# name → number. EL's and Fedora's numbers (setup's uidgid, systemd's basic.conf), and what files of Debian's belong to.
GROUPS = {
    "root": 0, "bin": 1, "daemon": 2, "sys": 3, "adm": 4, "tty": 5, "disk": 6, "lp": 7, "mem": 8, "kmem": 9,
    "wheel": 10, "cdrom": 11, "mail": 12, "man": 15, "dialout": 18, "floppy": 19, "games": 20, "utmp": 22,
    "tape": 33, "kvm": 36, "video": 39, "ftp": 50, "lock": 54, "audio": 63, "users": 100, "input": 104,
    "render": 105, "sgx": 106, "systemd-journal": 190, "nobody": 65534, "shadow": 42, "messagebus": 81, "staff": 51,
}
# name → (number, home, shell); the group has the same number
USERS = {
    "root": (0, "/root", "/bin/bash"),
    "bin": (1, "/bin", "/usr/sbin/nologin"),
    "daemon": (2, "/sbin", "/usr/sbin/nologin"),
    "adm": (3, "/var/adm", "/usr/sbin/nologin"),
    "mail": (8, "/var/spool/mail", "/usr/sbin/nologin"),
    "messagebus": (81, "/", "/usr/sbin/nologin"),
    "nobody": (65534, "/", "/usr/sbin/nologin"),
}
_PRIMARY = {"adm": 4, "mail": 12}

# Directories that no other package owns: path → permissions.
DIRECTORIES: dict[str, int] = {
    **dict.fromkeys(
        ["/boot", "/dev", "/etc", "/etc/profile.d", "/etc/selinux", "/home", "/media", "/mnt", "/opt", "/proc", "/run", "/srv", "/sys", "/usr", "/usr/bin", "/usr/games", "/usr/include", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/local/sbin", "/usr/sbin", "/usr/share", "/usr/share/bash-completion", "/usr/share/bash-completion/completions", "/usr/share/doc", "/usr/share/licenses", "/usr/share/man", "/usr/src", "/var", "/var/cache", "/var/lib", "/var/lib/rpm", "/var/lib/rpm-state", "/var/log", "/var/opt", "/var/spool", "/var/spool/mail"],
        0o755,
    ),
    **dict.fromkeys((f"/usr/share/man/man{section}" for section in range(1, 10)), 0o755),
    "/root": 0o550,
    "/tmp": 0o1777,
    "/var/tmp": 0o1777,
}
MERGED = {f"/{name}": f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Program:
    """A file that can be executed."""

    text: str


Content = Union[str, Program, Link]


@dataclass(frozen=True)
class Own:
    """An own package.

    :ivar files: path → content; a text is a plain file, and configuration below /etc
    """

    name: str
    version: str = "1-1"
    files: Mapping[str, Content] = field(default_factory=dict)
    directories: Mapping[str, int] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    sections: str = ""


def macros(name: str, /, **values: str) -> str:
    """A file of macros/, with @NAME@ replaced by the value of that name."""
    return fill((HERE / "macros" / name).read_text(), values)


def program(name: str) -> str:
    """A file of programs/."""
    return (HERE / "programs" / name).read_text()


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text with @NAME@ replaced by values."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def everywhere(python: str, policy_version: str) -> list[Own]:
    """The packages that are the same for all targets.

    :param python: the version of Python, "3.11"
    """
    directory, redhat = "/usr/lib/rpm/macros.d", "/usr/lib/rpm/redhat"
    return [
        Own(
            "filesystem",
            "3.18-1",
            {
                **{path: Link(target) for path, target in MERGED.items()},
                "/var/run": Link("../run"),
                "/var/mail": Link("spool/mail"),
                **users_and_groups(),
                "/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
                "/etc/shells": "/bin/sh\n/bin/bash\n/usr/bin/sh\n/usr/bin/bash\n",
                "/etc/profile": 'umask 022\nfor script in /etc/profile.d/*.sh; do [ -r "$script" ] && . "$script"; done\n',
                "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
            },
            DIRECTORIES,
            provides=("setup = 2.14.5-1",),
        ),
        Own("pam-configuration", files=pam_configuration()),
        Own("kernel-core", "6.12.0-1", provides=("kernel = 6.12.0-1", "kernel-modules-core = 6.12.0-1")),
        Own("pyproject-srpm-macros", "1.16.2-1", {f"{directory}/macros.aaa-pyproject-srpm": macros("macros.aaa-pyproject-srpm")}),
        Own(
            "pyproject-rpm-macros",
            "1.16.2-1",
            {
                f"{directory}/macros.pyproject": macros("macros.pyproject"),
                f"{redhat}/standin_pyproject.py": program("standin_pyproject.py"),
            },
            requires=requires(["pyproject-srpm-macros", "python3-devel"]),
        ),
        Own(
            "python3-rpm-generators",
            "14-1",
            {
                f"/usr/lib/rpm/fileattrs/{name}": macros(name) for name in ("python.attr", "pythondist.attr")
            },
            requires=requires(["python3-packaging"]),
        ),
        Own(
            "python3-devel",
            f"{python}-1",
            requires=requires(["python3", "python3-rpm-macros", "python3-rpm-generators"]),
        ),
        Own("systemd-rpm-triggers", "252-1", {
                "/usr/lib/systemd/systemd-update-helper": Program(program("systemd-update-helper")),
            },
            requires=("Requires: bash", "Requires(post): systemd"),
            sections=program("systemd.triggers"),
        ),
        Own(
            "selinux-policy-macros",
            policy_version,
            {f"{directory}/macros.selinux-policy": macros("macros.selinux-policy", policy_version=policy_version)},
            provides=(f"selinux-rpm-macros = {policy_version}",),
        ),
    ]  # fmt: skip


def of_target(target: Target, python: str) -> list[Own]:
    """The packages that tell one target from another."""
    directory, redhat = "/usr/lib/rpm/macros.d", "/usr/lib/rpm/redhat"
    fedora = target.family == "fedora"
    release = "fedora" if fedora else "centos-stream"
    release_version = f"{target.version}-1{target.dist}"
    identity = f'NAME="Stand-in for {target.name}"\nID={"fedora" if fedora else "centos"}\nVERSION_ID={target.version}\n'
    identity += f'PLATFORM_ID="platform:{"f" if fedora else "el"}{target.version}"\nPRETTY_NAME="Stand-in for {target.name}"\n'
    values = {"name": target.name, "os": "fedora" if fedora else "rhel", "version": str(target.version)}
    completions = fedora or target.version >= 10
    # Python 3.9, EL 9's, has no -P yet.
    shebang_flags = "sP" if fedora or target.version >= 10 else "s"
    return [
        Own(
            f"{release}-release",
            release_version,
            {
                "/usr/lib/os-release": identity,
                "/etc/os-release": Link("../usr/lib/os-release"),
                "/usr/lib/systemd/system-preset/85-display-manager.preset": "",
                "/usr/lib/systemd/system-preset/90-default.preset": "enable dbus.socket\nenable getty@.service\n",
                "/usr/lib/systemd/system-preset/99-default-disable.preset": "disable *\n",
                f"{directory}/macros.dist": macros("macros.dist.in", **values),
            },
            provides=(
                f"system-release = {release_version}",
                f"system-release({target.version})",
                *(() if fedora else (f"redhat-release = {release_version}",)),
            ),
        ),
        Own(
            "redhat-rpm-config",
            f"300-1{target.dist}",
            {
                f"{redhat}/macros": macros("macros.vendor"),
                "/usr/lib/rpm/debian": Link("redhat"),  # where Debian's rpm looks for the macros of its vendor
                f"{redhat}/brp-mangle-shebangs": Program(program("brp-mangle-shebangs")),
                **({f"{directory}/macros.shell-completions": macros("macros.shell-completions")} if completions else {}),
            },
            requires=requires(
                ["rpm-build", "system-release", "findutils", "sed", "python-srpm-macros", "pyproject-srpm-macros"]
            ),
            provides=("system-rpm-config = 300-1",),
        ),
        Own("python-srpm-macros", f"{python}-1{target.dist}"),
        Own(
            "python3-rpm-macros",
            f"{python}-1{target.dist}",
            {
                f"{directory}/macros.python3": macros("macros.python", python=python, shebang_flags=shebang_flags),
                f"{redhat}/standin_check_import.py": program("standin_check_import.py"),
                f"{redhat}/standin_shebangs.py": program("standin_shebangs.py"),
                f"{redhat}/brp-python-bytecompile": Program(program("brp-python-bytecompile")),
            },
            requires=requires(["python-srpm-macros"]),
            provides=(f"python-rpm-macros = {python}-1",),
        ),
        Own("systemd-rpm-macros", f"252-1{target.dist}", systemd_macros(target)),
        Own(
            "qemu-kvm-core",
            f"17:7.2-1{target.dist}",
            # EL's QEMU is not in PATH.
            {("/usr/bin/qemu-kvm" if fedora else "/usr/libexec/qemu-kvm"): Link("/usr/bin/qemu-system-x86_64")},
            requires=requires(["qemu-system-x86", "seabios-bin"]),
        ),
    ]


def systemd_macros(target: Target) -> dict[str, Content]:
    """The macros for units and, where rpm does not create users by itself, those for users."""
    files: dict[str, Content] = {"/usr/lib/rpm/macros.d/macros.systemd": macros("macros.systemd")}
    if not target.rpm_creates_users:
        files["/usr/lib/rpm/macros.d/macros.sysusers"] = macros("macros.sysusers")
        files["/usr/lib/rpm/sysusers.generate-pre.sh"] = Program(program("sysusers.generate-pre.sh"))
    return files


def users_and_groups() -> dict[str, Content]:
    """The files of users and groups, as they are in a system that nobody has been added to yet."""
    passwd = [
        f"{name}:x:{number}:{_PRIMARY.get(name, number)}:{name}:{home}:{shell}"
        for name, (number, home, shell) in USERS.items()
    ]
    return {
        "/etc/passwd": "".join(f"{line}\n" for line in passwd),
        "/etc/group": "".join(f"{name}:x:{number}:\n" for name, number in GROUPS.items()),
        "/etc/shadow": "".join(f"{name}:*:19000:0:99999:7:::\n" for name in USERS),
        "/etc/gshadow": "".join(f"{name}:*::\n" for name in GROUPS),
    }


def pam_configuration() -> dict[str, Content]:
    """What Debian's programs include, and a maintainer script writes."""
    parts = {"auth": "auth", "account": "account", "password": "password", "session": "session"}
    parts["session-noninteractive"] = "session"
    return {f"/etc/pam.d/common-{part}": f"{kind} required pam_unix.so\n" for part, kind in parts.items()}


def build(owns: Sequence[Own], output: Path) -> None:
    """Make the RPMs, each as *output*/NAME.rpm.

    :raise ProgramFailed: rpmbuild failed
    """
    with tempfile.TemporaryDirectory(dir=output, prefix="own-") as scratch:
        packages = [as_package(own, Path(scratch, "tree")) for own in owns]
        package.build(packages, Path(scratch, "tree"), output, Path(scratch, "build"))


def as_package(own: Own, tree: Path) -> Package:
    """The RPM of an own package, its files written below *tree*."""
    entries = [Entry(path, "dir", mode) for path, mode in own.directories.items()]
    for path in own.directories:
        (tree / path[1:]).mkdir(parents=True, exist_ok=True)
    for path, content in own.files.items():
        place = tree / path[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            place.symlink_to(content.target)
            entries.append(Entry(path, "link", 0o777))
            continue
        place.write_text(content.text if isinstance(content, Program) else content)
        kind = "config" if path.startswith("/etc/") else "file"
        entries.append(Entry(path, kind, 0o755 if isinstance(content, Program) else permissions(path)))
    before = () if own.name == "filesystem" else ("Requires(pre): filesystem",)
    return Package(
        own.name,
        own.version,
        noarch=True,
        entries=tuple(sorted(entries)),
        requires=(*before, *own.requires),
        provides=own.provides,
        sections=own.sections,
    )


def permissions(path: str) -> int:
    """Of a plain file."""
    return 0o000 if path in ("/etc/shadow", "/etc/gshadow") else 0o644
