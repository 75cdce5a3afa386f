"""What is in the stand-in OS, and what EL and Fedora call it.

Nothing here can show that a name exists on EL: only these tables say so.
"""

from __future__ import annotations

# What a build root has before the first BuildRequires, and what specs may require at build time.
BUILD_ROOT = [
    "bash",
    "coreutils",
    "diffutils",
    "findutils",
    "gawk",
    "grep",
    "gzip",
    "bzip2",
    "xz-utils",
    "zstd",
    "sed",
    "tar",
    "util-linux",
    "passwd",
    "login",
    "libc-bin",
    "bsdutils",
    "info",
    "hostname",
    "cpio",
    "patch",
    "unzip",
    "debianutils",
    "file",
    "binutils",
    "make",
    "m4",
    "rpm",
    "python3",
    "python3-pip",
    "python3-setuptools",
    "python3-wheel",
    "python3-packaging",
    "python3-pytest",
    "python3-hypothesis",
    "selinux-policy-default",
    "selinux-policy-dev",
    "checkpolicy",
    "semodule-utils",
]

# What a HAL host needs at run time. Its kernel is an own, empty package: Debian's is 400 MB. The lab, which boots a
# host, brings the parts that it needs.
HOST = [
    "ncurses-base",
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "kmod",
    "iproute2",
    "nftables",
    "procps",
    "qemu-guest-agent",
    "qemu-system-x86",
    "seabios",
    "ovmf",
    "policycoreutils",
    "policycoreutils-python-utils",
    "selinux-utils",
    "bash-completion",
    "python3-rpm",
    "python3-selinux",
    "python3-systemd",
    "python3-pyroute2",
    "python3-pyudev",
    "python3-tomli",
]

# What may be on a host beside HAL, and would have its network: a test sees to it that they get on.
BESIDE = ["firewalld", "netbase", "network-manager"]

SEEDS = tuple(sorted({*BUILD_ROOT, *HOST, *BESIDE}))

# What does the work of Debian's own package management, and what an own package takes the place of.
DROPPED = frozenset(
    {
        # Maintainer scripts, which do not run here.
        *("adduser", "debconf", "dpkg", "init-system-helpers", "usrmerge"),
        *("libfile-find-rule-perl", "libnumber-compare-perl", "libtext-glob-perl"),
        # The identity of the system: own.py.
        *("base-files", "base-passwd", "lsb-base"),
        # The shell is bash, as on EL.
        "dash",
        # Wanted by maintainer scripts, and by rpm's generators for packages with Perl in them.
        *("perl", "perl-base", "perl-modules-5.36", "libperl5.36"),
        # Made by a maintainer script from parts of the package.
        *("ca-certificates", "openssl"),
    }
)

# Debian's reference policy: not converted, policy.py packages it as EL does.
POLICY = ("selinux-policy-default", "selinux-policy-dev")

# deb → what EL and Fedora call the same thing
PROVIDES: dict[str, tuple[str, ...]] = {
    "bash": ("/bin/sh", "/bin/bash", "/usr/bin/sh"),
    "bzip2": ("bzip2-libs",),
    "dbus": ("dbus-broker", "dbus-common"),  # EL's system bus is dbus-broker; units need a bus, not a name
    "debianutils": ("which",),
    "gawk": ("awk",),
    "iproute2": ("iproute",),
    "libc-bin": ("glibc-common", "/sbin/ldconfig"),
    "libc6": ("glibc", "glibc-minimal-langpack"),
    "libpam-modules": ("pam",),
    "libselinux1": ("libselinux",),
    "libsemanage2": ("libsemanage",),
    "libsystemd0": ("systemd-libs",),
    "network-manager": ("NetworkManager",),
    "ovmf": ("edk2-ovmf",),
    "passwd": ("shadow-utils",),
    "policycoreutils-dev": ("policycoreutils-devel",),
    "procps": ("procps-ng",),
    "python3": ("platform-python",),
    "python3-selinux": ("python3-libselinux",),
    "qemu-system-x86": ("qemu-device-usb-host", "qemu-system-x86-core"),  # and own.py has qemu-kvm-core
    "rpm": ("rpm-build", "rpm-sign"),
    "seabios": ("seabios-bin", "seavgabios-bin"),
    "selinux-utils": ("libselinux-utils",),
    "udev": ("systemd-udev",),
    "util-linux": ("util-linux-core",),
    "xz-utils": ("xz",),
}

# What one package has on EL, and several have in Debian; and what own.py adds to a package.
REQUIRES: dict[str, tuple[str, ...]] = {
    "dbus": ("dbus-daemon",),
    "firewalld": ("netbase",),  # /etc/protocols, which EL has in "setup"
    "libc6": ("libc-bin",),
    "libpam-modules": ("pam-configuration",),
    "nftables": ("systemd",),  # whose %post enables the units that there are before the presets are
    "passwd": ("login",),
    "python3-setuptools": ("python3-distutils",),
    "rpm": ("binutils", "file"),
    "systemd": ("dbus", "systemd-sysv", "systemd-rpm-triggers"),
    "udev": ("systemd",),
    "util-linux": ("bsdutils", "mount", "util-linux-extra"),
}

# Names that another alternative of Debian's would take, and that a maintainer script links: path → target.
LINKS: dict[str, dict[str, str]] = {
    "bash": {"/usr/bin/sh": "bash"},
    "debianutils": {"/usr/bin/which": "which.debianutils"},
    "firewalld": {
        "/usr/share/polkit-1/actions/org.fedoraproject.FirewallD1.policy": (
            "org.fedoraproject.FirewallD1.server.policy.choice"
        )
    },
    "gawk": {"/usr/bin/awk": "gawk"},
}


def of(deb: str) -> str:
    """All that is said here of one Debian package."""
    return repr((PROVIDES.get(deb), REQUIRES.get(deb), LINKS.get(deb)))
