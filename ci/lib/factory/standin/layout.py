"""Where a file of a Debian package belongs in the stand-in OS, and the few files that have to say something else.

EL and Fedora have no /bin, /lib and /sbin but links, and all of Python's modules, the distribution's too, in
site-packages.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Optional

from factory.errors import FactoryError

# Documentation, translations, and what only Debian's own tools read.
LEFT_OUT = re.compile(
    r"/usr/share/(doc|doc-base|man|info|locale|lintian|bug|menu|common-licenses|i18n|gdb|apport)(/|$)"
    r"|/usr/share/(debconf|dpkg|perl5|debhelper|initramfs-tools|binfmts)(/|$)"
    r"|/etc/(apt|cron\.[a-z]+|default|dpkg|init\.d|kernel|logrotate\.d|rc[0-9S]\.d|update-motd\.d)(/|$)"
    # Debian's list of users. EL has its own: own.py
    r"|/usr/lib/sysusers\.d/basic\.conf$"
    # What EL has in packages that a HAL host does not have; here presets would enable it.
    r"|/usr/lib/systemd/system/(.*/)?(systemd-networkd|systemd-network-generator|org\.freedesktop\.network1)[^/]*$"
    # How policy is linked: policy.py
    r"|/etc/selinux/semanage\.conf$"
    # How rpmbuild treats Python. EL has it in python3-rpm-generators: own.py
    r"|/usr/lib/rpm/fileattrs/(python|pythondist)\.attr$"
    r"|/usr/lib/rpm/brp-python-(bytecompile|hardlink)$"
)
MERGED = re.compile(r"/(bin|sbin|lib|lib64)(/|$)")
DIST_PACKAGES = "/usr/lib/python3/dist-packages"


@dataclass(frozen=True)
class Layout:
    """The places of the stand-in OS.

    :ivar python: the version of its Python: "3.11"
    """

    python: str

    @property
    def stdlib(self) -> str:
        """Where the standard library is."""
        return f"/usr/lib/python{self.python}"

    @property
    def site_packages(self) -> str:
        """Where all other modules are."""
        return f"{self.stdlib}/site-packages"

    def place(self, path: str) -> Optional[str]:
        """Where a file of a Debian package belongs; None: nowhere.

        :param path: absolute, normal
        """
        merged = f"/usr{path}" if MERGED.match(path) else path
        if merged == DIST_PACKAGES or merged.startswith(f"{DIST_PACKAGES}/"):
            merged = self.site_packages + merged[len(DIST_PACKAGES) :]
        return None if LEFT_OUT.match(merged) else merged

    def target(self, path: str, target: str) -> str:
        """What a symbolic link has to say, so that it leads to the same thing from and to their new places.

        :param path: of the link, as Debian has it
        :param target: what it says there
        """
        if target.startswith("/"):
            return target
        place, meant = self.place(path), os.path.normpath(os.path.join(os.path.dirname(path), target))
        there = self.place(meant)
        if (place == path and there == meant) or place is None or there is None:
            return target
        return os.path.relpath(there, os.path.dirname(place))

    def edit(self, path: str, content: bytes) -> bytes:
        """The content that a file has in the stand-in OS.

        :raise FactoryError: Debian has changed a file that has to be edited
        """
        for old, new in self._edits().get(path, ()):
            if old.encode() not in content:
                raise FactoryError(f'{path}: Debian\'s file no longer says "{old}": standin/layout.py has to learn')
            content = content.replace(old.encode(), new.encode())
        return content

    def _edits(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Path → (old text, new text)…"""
        return {
            # Debian's rpm is a guest in a system of dpkg's, with a database in the user's home.
            "/usr/lib/rpm/macros": (("%(bash -c 'echo ~/.rpmdb')", "/var/lib/rpm"),),
            # Python: the scheme that upstream, EL and Fedora have.
            f"{self.stdlib}/sysconfig.py": (
                ("environ.get('DEB_PYTHON_INSTALL_LAYOUT', 'posix_local')", "environ.get('NO_SCHEME', 'posix_prefix')"),
                ("prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'"),
            ),
            # The module site is part of the interpreter and cannot be edited; it reads this one.
            f"/etc/python{self.python}/sitecustomize.py": (
                (
                    "# install the apport",
                    f'import site\n\nsite.addsitedir("{self.site_packages}")\n\n# install the apport',
                ),
            ),
        }
