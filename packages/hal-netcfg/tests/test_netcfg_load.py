"""A NIC that goes and comes back while frames flow all the time, both ways and on all LANs."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest

from hal_netcfg.testing import netns
from hal_netcfg.testing.host import Host, Tap, frame, read_all
from hal_netcfg.testing.netns import Namespace, wait_for

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(bool(netns.why_not()), reason=netns.why_not() or "namespaces can be made"),
]

NICS = {f"eno{number}": f"00:1b:21:00:00:0{number}" for number in (1, 2, 3)}
PEER = "00:aa:00:00:00:01"
TIMES = 6
PAUSE = 0.002  # seconds between two frames of a stream
_LOAD = b"steady load"


class Stream:
    """Numbered frames in one direction of one LAN."""

    def __init__(self, target: str, source: str) -> None:
        self._target, self._source = target, source
        self.sent = 0
        self.received: list[int] = []

    def next_frame(self) -> bytes:
        self.sent += 1
        return frame(self._target, self._source, payload=_LOAD + struct.pack("!I", self.sent))

    def take(self, frames: list[bytes]) -> None:
        """What has arrived; frames of the other direction and of nobody's are none of it."""
        of_ours = [one[14:] for one in frames if one[6:12].hex(":") == self._source and one[14:].startswith(_LOAD)]
        self.received += [struct.unpack_from("!I", payload, len(_LOAD))[0] for payload in of_ours]


class Load:
    """One thread that sends a frame into each stream, takes what has arrived, and begins again: on a slow machine there
    are fewer frames, and no fuller queues.
    """

    def __init__(self, taps: list[Tap], peers: list[socket.socket]) -> None:
        self._taps = taps
        self._peers: list[Optional[socket.socket]] = [*peers]
        self.out = [Stream(PEER, mac) for mac in NICS.values()]
        self.back = [Stream(mac, PEER) for mac in NICS.values()]
        self._lock = threading.Lock()
        self._end = threading.Event()
        self.failed: list[Exception] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        for peer in self._peers:
            if peer:
                peer.close()

    def use(self, number: int, peer: Optional[socket.socket]) -> None:
        """The far end of this LAN's cable from now on; None: there is none."""
        with self._lock:
            old, self._peers[number] = self._peers[number], peer
        if old:
            old.close()

    def wait_until_it_flows(self, number: int) -> None:
        """Until frames that are sent from now on arrive, in both directions.

        :raise AssertionError: they do not.
        """
        streams = (self.out[number], self.back[number])
        from_now = [stream.sent for stream in streams]

        def flows() -> bool:
            return not self._thread.is_alive() or all(
                stream.received[-1:] > [sent] for stream, sent in zip(streams, from_now)
            )

        wait_for(
            flows, lambda: f"LAN {number}: of {[s.sent for s in streams]} came {[s.received[-1:] for s in streams]}"
        )
        assert not self.failed

    def wait_for_frames(self, number: int, count: int) -> None:
        """Until so many more have arrived, in both directions."""
        streams = (self.out[number], self.back[number])
        goals = [len(stream.received) + count for stream in streams]
        wait_for(
            lambda: all(len(stream.received) >= goal for stream, goal in zip(streams, goals)),
            lambda: f"LAN {number} has stopped: {[len(stream.received) for stream in streams]}",
        )

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                with self._lock:
                    self._once()
                select.select([], [], [], PAUSE)
        except Exception as error:  # noqa: BLE001  (told by the test, whose thread this is not)
            self.failed.append(error)

    def _once(self) -> None:
        for tap, peer, out, back in zip(self._taps, self._peers, self.out, self.back):
            tap.send(out.next_frame())
            if peer:
                with contextlib.suppress(OSError):  # its interface is going at this moment
                    peer.send(back.next_frame())
                with contextlib.suppress(OSError):
                    out.take(read_all(peer))
            back.take(read_tap(tap))


def read_tap(tap: Tap) -> list[bytes]:
    found = []
    while (one := tap.receive()) is not None:
        found.append(one)
    return found


@pytest.fixture(name="lan")
def new_lan() -> Iterator[Namespace]:
    with Namespace() as lan:
        yield lan


@pytest.fixture(name="host")
def new_host(tmp_path: Path, lan: Namespace) -> Iterator[Host]:
    host = Host(tmp_path, NICS, lan)
    host.plan_product(dict(enumerate(NICS.values())))
    with host.namespace:
        yield host


def test_a_nic_goes_and_comes_back_under_steady_load(host: Host, lan: Namespace) -> None:
    """Each time it flows again, both ways; the other LANs lose no frame and see none twice."""
    with host.resident(), contextlib.ExitStack() as stack:
        taps = [stack.enter_context(host.product(f"haltap{number}")) for number in range(len(NICS))]
        peers = [lan.packet_socket(host.peer(nic)) for nic in NICS]
        load = stack.enter_context(Load(taps, peers))
        for number in range(len(NICS)):
            load.wait_until_it_flows(number)
        others = [stream for number in (1, 2) for stream in (load.out[number], load.back[number])]
        begun = [stream.received[-1] for stream in others]
        for time in range(TIMES):
            host.damage("link delete eno1")
            load.use(0, None)
            load.wait_for_frames(1, 20 * (time % 3))
            if time % 2:
                # It is gone again while it is being put into its bridge, or just before, or just after.
                host.plug_in("eno1")
                load.wait_for_frames(1, 4 * time)
                host.damage("link delete eno1")
            host.plug_in("eno1")
            load.use(0, lan.packet_socket(host.peer("eno1")))
            load.wait_until_it_flows(0)
        for number in (1, 2):
            load.wait_until_it_flows(number)
        load.use(0, None)
    for stream, first in zip(others, begun):
        seen = [number for number in stream.received if number >= first]
        assert seen == list(range(first, seen[-1] + 1))
        assert len(seen) > 100
    assert host.run("apply") == "nothing to change\n"
    assert sorted(name for name in host.links() if name.startswith("hal")) == sorted(
        ["halint", "haltapint", *(f"{kind}{number}" for kind in ("hallan", "haltap") for number in range(3))]
    )
