"""QEMU's command line, option by option: its syntax, and the file descriptors that go with it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator

from hal_vmm.launch.launchplan import FIRST_FD, Direct, Listener, Node, Tap

#: Options without a value; every other one that HAL uses has exactly one.
_FLAGS = frozenset({"-nodefaults", "-no-user-config", "-S"})


def keyval(first: str, **properties: object) -> str:
    """``first,key=value,…``; commas are doubled, which is QEMU's only escape.

    A property that is None is left out; an underscore at the end of a name is dropped, others become a dash where
    ``__`` stands (``host__nodes`` is ``host-nodes``).
    """
    parts = [_escape(first)]
    for key, value in properties.items():
        if value is None:
            continue
        text = ("on" if value else "off") if isinstance(value, bool) else str(value)
        parts.append(f"{key.rstrip('_').replace('__', '-')}={_escape(text)}")
    return ",".join(parts)


def _escape(text: str) -> str:
    return text.replace(",", ",,")


class Options:
    """A command line in the making. Descriptors are numbered from ``FIRST_FD``, in the order in which they are asked
    for; each has an fdset of the same number where QEMU wants one.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self.nodes: list[Node] = []
        self.taps: list[Tap] = []
        self.listeners: list[Listener] = []
        self.directs: list[Direct] = []
        self._next_fd = FIRST_FD

    def add(self, option: str, value: str | None = None) -> None:
        self.words.append(option)
        if value is not None:
            self.words.append(value)

    def device(self, kind: str, **properties: object) -> None:
        self.add("-device", keyval(kind, **properties))

    def blockdev(self, node: dict[str, object]) -> None:
        """As JSON: nested, and without escapes."""
        self.add("-blockdev", json.dumps(node, separators=(",", ":")))

    def node_fd(
        self,
        path: str,
        kind: str,
        mode: str,
        what: str,
        *,
        nonblock: bool = False,
        noctty: bool = False,
        exclusive: bool = False,
        otherwise: str = "",
    ) -> int:
        """A node that the launcher opens; its descriptor."""
        fd = self._fd()
        self.nodes.append(Node(fd, path, kind, mode, what, nonblock, noctty, otherwise, exclusive))
        return fd

    def node_path(
        self,
        path: str,
        kind: str,
        mode: str,
        what: str,
        *,
        nonblock: bool = False,
        noctty: bool = False,
        exclusive: bool = False,
        otherwise: str = "",
    ) -> str:
        """A node that QEMU opens under the path returned: an fdset that holds it."""
        fd = self.node_fd(
            path, kind, mode, what, nonblock=nonblock, noctty=noctty, exclusive=exclusive, otherwise=otherwise
        )
        # The label shows up in QMP's query-fdsets.
        self.add("-add-fd", keyval(f"fd={fd}", set=fd, opaque=path))
        return f"/dev/fdset/{fd}"

    def tap_fd(self, name: str) -> int:
        fd = self._fd()
        self.taps.append(Tap(fd, name))
        return fd

    def listener_fd(self, path: str) -> int:
        fd = self._fd()
        self.listeners.append(Listener(fd, path))
        return fd

    def direct(self, lan: int, replaces: tuple[str, str], unused: tuple[int, ...], device: str, by_fd: bool) -> None:
        """What a NIC is when the product has the real one."""
        fd = self._fd() if by_fd else -1
        iommufd = self.directs[0].iommufd if self.directs else self._fd() if by_fd else -1
        self.directs.append(Direct(lan, replaces, unused, device, fd, iommufd))

    def _fd(self) -> int:
        fd = self._next_fd
        self._next_fd += 1
        return fd


def lines(argv: Iterable[str]) -> Iterator[str]:
    """The command line for people: shell-quoted, one option with its value a line; pasting it into a shell works."""
    words = list(argv)
    rows = [shlex.quote(words[0])]
    index = 1
    while index < len(words):
        step = 1 if words[index] in _FLAGS else 2
        rows.append("  " + " ".join(shlex.quote(word) for word in words[index : index + step]))
        index += step
    for row in rows[:-1]:
        yield row + " \\"
    yield rows[-1]
