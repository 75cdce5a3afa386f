"""The packages that are not Debian's: the system's identity, the macros of specs, and what maintainer scripts leave.

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
MACROS, REDHAT = "/usr/lib/rpm/macros.d", "/usr/lib/rpm/redhat"

# name → number. EL's and Fedora's numbers (setup's uidgid, systemd's basic.conf), and what files of Debian's belong to.
GROUPS = {
    "root": 0,
    "bin": 1,
    "daemon": 2,
    "sys": 3,
    "adm": 4,
    "tty": 5,
    "disk": 6,
    "lp": 7,
    "mem": 8,
    "kmem": 9,
    "wheel": 10,
    "cdrom": 11,
    "mail": 12,
    "man": 15,
    "dialout": 18,
    "floppy": 19,
    "games": 20,
    "utmp": 22,
    "tape": 33,
    "kvm": 36,
    "video": 39,
    "ftp": 50,
    "lock": 54,
    "audio": 63,
    "users": 100,
    "input": 104,
    "render": 105,
    "sgx": 106,
    "systemd-journal": 190,
    "nobody": 65534,
    "shadow": 42,
    "messagebus": 81,
    "staff": 51,
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
        [
            "/boot",
            "/dev",
            "/etc",
            "/etc/profile.d",
            "/etc/selinux",
            "/home",
            "/media",
            "/mnt",
            "/opt",
            "/proc",
            "/run",
            "/srv",
            "/sys",
            "/usr",
            "/usr/bin",
            "/usr/games",
            "/usr/include",
            "/usr/lib",
            "/usr/lib64",
            "/usr/libexec",
            "/usr/local",
            "/usr/local/bin",
            "/usr/local/lib",
            "/usr/local/sbin",
            "/usr/sbin",
            "/usr/share",
            "/usr/share/bash-completion",
            "/usr/share/bash-completion/completions",
            "/usr/share/doc",
            "/usr/share/licenses",
            "/usr/share/man",
            "/usr/src",
            "/var",
            "/var/cache",
            "/var/lib",
            "/var/lib/rpm",
            "/var/lib/rpm-state",
            "/var/log",
            "/var/opt",
            "/var/spool",
            "/var/spool/mail",
        ],
        0o755,
    ),
    **dict.fromkeys((f"/usr/share/man/man{section}" for section in range(1, 10)), 0o755),
    "/root": 0o550,
    "/tmp": 0o1777,  # noqa: S108 - of the stand-in
    "/var/tmp": 0o1777,  # noqa: S108
}


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
    :param policy_version: "VERSION-RELEASE" of the SELinux policy
    """
    return [
        filesystem(),
        Own("pam-configuration", files=pam_configuration()),
        # Debian's kernel is 400 MB, and only the lab boots one, which brings its own. This has the names, nothing else.
        Own("kernel-core", "6.12.0-1", provides=("kernel = 6.12.0-1", "kernel-modules-core = 6.12.0-1")),
        *python_packages(python),
        Own(
            "selinux-policy-macros",
            policy_version,
            {
                f"{MACROS}/macros.selinux-policy": macros(
                    "macros.selinux-policy", policy_version=policy_version.partition("-")[0]
                )
            },
            provides=(f"selinux-rpm-macros = {policy_version}",),
        ),
    ]


def filesystem() -> Own:
    """The directories, and the users and files that EL has in "setup"."""
    profile = 'umask 022\nfor script in /etc/profile.d/*.sh; do [ -r "$script" ] && . "$script"; done\n'
    return Own(
        "filesystem",
        "3.18-1",
        {
            **{f"/{name}": Link(f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")},
            "/var/run": Link("../run"),
            "/var/mail": Link("spool/mail"),
            **users_and_groups(),
            "/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
            "/etc/shells": "/bin/sh\n/bin/bash\n/usr/bin/sh\n/usr/bin/bash\n",
            "/etc/profile": profile,
            "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        },
        DIRECTORIES,
        provides=("setup = 2.14.5-1",),
    )


def python_packages(python: str) -> list[Own]:
    """What builds Python packages; the macros that every target has its own words for are in :func:`of_target`."""
    srpm = "macros.aaa-pyproject-srpm"
    attributes = {f"/usr/lib/rpm/fileattrs/{name}": macros(name) for name in ("python.attr", "pythondist.attr")}
    return [
        Own("pyproject-srpm-macros", "1.16.2-1", {f"{MACROS}/{srpm}": macros(srpm)}),
        Own(
            "pyproject-rpm-macros",
            "1.16.2-1",
            {
                f"{MACROS}/macros.pyproject": macros("macros.pyproject"),
                f"{REDHAT}/standin_pyproject.py": program("standin_pyproject.py"),
            },
            requires=requires(["pyproject-srpm-macros", "python3-devel"]),
        ),
        # rpm's own generator, which Debian's rpm has too, with the options that EL and Fedora give it.
        Own("python3-rpm-generators", "14-1", attributes, requires=requires(["python3-packaging"])),
        Own(
            "python3-devel",
            f"{python}-1",
            requires=requires(["python3", "python3-rpm-macros", "python3-rpm-generators"]),
        ),
    ]


def of_target(target: Target, python: str) -> list[Own]:
    """The packages that tell one target from another."""
    fedora = target.family == "fedora"
    recent = fedora or target.version >= 10
    # Python 3.9, EL 9's, has no -P yet.
    flags = "sP" if recent else "s"
    return [
        release(target),
        Own(
            "redhat-rpm-config",
            f"300-1{target.dist}",
            {
                f"{REDHAT}/macros": macros("macros.vendor"),
                "/usr/lib/rpm/debian": Link("redhat"),  # where Debian's rpm looks for the macros of its vendor
                f"{REDHAT}/brp-mangle-shebangs": Program(program("brp-mangle-shebangs")),
                **({f"{MACROS}/macros.shell-completions": macros("macros.shell-completions")} if recent else {}),
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
                f"{MACROS}/macros.python3": macros("macros.python", python=python, shebang_flags=flags),
                f"{REDHAT}/standin_check_import.py": program("standin_check_import.py"),
                f"{REDHAT}/standin_shebangs.py": program("standin_shebangs.py"),
                f"{REDHAT}/brp-python-bytecompile": Program(program("brp-python-bytecompile")),
            },
            requires=requires(["python-srpm-macros"]),
            provides=(f"python-rpm-macros = {python}-1",),
        ),
        Own("systemd-rpm-macros", f"252-1{target.dist}", systemd_macros(target)),
        Own(
            "systemd-rpm-triggers",
            f"252-1{target.dist}",
            {"/usr/lib/systemd/systemd-update-helper": Program(program("systemd-update-helper"))},
            requires=("Requires: bash", "Requires(post): systemd"),
            sections=(program("users.triggers") if target.rpm_creates_users else "")
            + program("selinux.triggers")
            + program("systemd.triggers"),
        ),
        Own(
            "qemu-kvm-core",
            f"17:7.2-1{target.dist}",
            # EL's QEMU is not in PATH.
            {("/usr/bin/qemu-kvm" if fedora else "/usr/libexec/qemu-kvm"): Link("/usr/bin/qemu-system-x86_64")},
            requires=requires(["qemu-system-x86", "seabios-bin"]),
        ),
    ]


def release(target: Target) -> Own:
    """The package that says which distribution this is."""
    fedora = target.family == "fedora"
    version = f"{target.version}-1{target.dist}"
    identity = {
        "NAME": f"Stand-in for {target.name}",
        "PRETTY_NAME": f"Stand-in for {target.name}",
        "ID": "fedora" if fedora else "centos",
        "VERSION_ID": str(target.version),
        "PLATFORM_ID": f"platform:{'f' if fedora else 'el'}{target.version}",
    }
    os_name = "fedora" if fedora else "rhel"
    return Own(
        "fedora-release" if fedora else "centos-stream-release",
        version,
        {
            "/usr/lib/os-release": "".join(f'{name}="{value}"\n' for name, value in identity.items()),
            "/etc/os-release": Link("../usr/lib/os-release"),
            "/usr/lib/systemd/system-preset/90-default.preset": "enable dbus.socket\nenable getty@.service\n",
            "/usr/lib/systemd/system-preset/99-default-disable.preset": "disable *\n",
            f"{MACROS}/macros.dist": macros(
                "macros.dist.in", name=target.name, os=os_name, version=str(target.version)
            ),
        },
        provides=(
            f"system-release = {version}",
            f"system-release({target.version})",
            *(() if fedora else (f"redhat-release = {version}",)),
        ),
    )


def systemd_macros(target: Target) -> dict[str, Content]:
    """The macros for units and, where rpm does not create users by itself, those for users."""
    files: dict[str, Content] = {f"{MACROS}/macros.systemd": macros("macros.systemd")}
    if not target.rpm_creates_users:
        files[f"{MACROS}/macros.sysusers"] = macros("macros.sysusers")
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
