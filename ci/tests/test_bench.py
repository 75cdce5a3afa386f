"""ci/bench says what it measures, in the documented shape. Nothing is asserted about how long anything takes."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
from pathlib import Path

import pytest

import bench
from benchmarks import forwarding, net
from benchmarks.measure import BenchError, Row, Samples, interleave
from hal_console.testing import qemu
from hal_netcfg.testing import netns

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"name", "value", "unit", "goal", "met"}
NO_NAMESPACES = netns.why_not()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "ci/bench", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "name",
    [
        "plan",
        "udev",
        pytest.param(
            "net", marks=[pytest.mark.component, pytest.mark.skipif(bool(NO_NAMESPACES), reason=NO_NAMESPACES)]
        ),
        pytest.param("console", marks=[pytest.mark.component, pytest.mark.skipif(not qemu.find(), reason="no QEMU")]),
    ],
)
def test_json_is_a_list_of_rows(name: str) -> None:
    done = run(name, "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows
    for row in rows:
        assert set(row) == KEYS
        assert row["name"]
        assert row["unit"]
        if row["value"] is None:  # of what is not here to compare with, libvirt
            assert row["met"] is None
            continue
        assert math.isfinite(row["value"])
        assert row["value"] > 0
        assert row["met"] == (None if row["goal"] is None else row["value"] <= row["goal"])
    assert any(row["value"] for row in rows)
    assert len({row["name"] for row in rows}) == len(rows)


def test_without_a_name_it_lists_the_benchmarks() -> None:
    done = run()
    assert done.returncode == 0
    assert all(f"ci/bench {name} " in done.stdout for name in bench.BENCHMARKS)


@pytest.mark.parametrize("arguments", [["vm"], ["plan", "--rounds", "0"], ["plan", "--rounds", "many"], ["--fast"]])
def test_wrong_arguments_are_a_usage_error(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("ci/bench: error: ")


def test_what_was_not_measured_meets_no_goal_and_says_why() -> None:
    row = Samples({"ours": [1.0]}).ratio("ours / theirs", "ours", "theirs", goal=2.0, note="not installed")
    assert row.to_json() == {"name": "ours / theirs", "value": None, "unit": "×", "goal": 2.0, "met": None}
    assert "not installed" in bench.render([row])


@pytest.mark.parametrize(("value", "met"), [(0.5, True), (2.0, True), (2.001, False)])
def test_a_goal_is_a_most(value: float, met: bool) -> None:
    assert Row("a row", value, "×", 2.0).met is met
    assert ("NO" in bench.render([Row("a row", value, "×", 2.0)])) is not met


def test_a_ratio_is_formed_round_by_round() -> None:
    """Not from the medians, which may come from different moments."""
    samples = Samples({"ours": [1.0, 20.0, 3.0], "theirs": [1.0, 10.0, 2.0]})
    assert samples.ratio("a ratio", "ours", "theirs").value == 1.5
    assert samples.median("a median", "ours", "ms", 1e3).value == 3000.0


def test_every_round_begins_with_another_variant() -> None:
    order: list[str] = []

    def variant(name: str) -> dict[str, float]:
        order.append(name)
        return {"": float(len(order))}

    samples = interleave("a title", {name: lambda name=name: variant(name) for name in "abc"}, 3)  # type: ignore[misc]
    assert "".join(order) == "abcbcacab"
    assert samples.median("a", "a ", "s").value == 6.0


def test_a_network_that_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "why_not", lambda: "network namespaces need root")
    with pytest.raises(BenchError, match="network namespaces need root"):
        net.measure(Path(), 1)


def test_a_lost_frame_is_no_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "PATIENCE", 0.0)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    with near, far, open(os.devnull, "wb") as nowhere:
        assert forwarding.burst(near.fileno(), far.fileno(), b"a frame") > 0
        for _ in range(forwarding.BURST - 1):
            near.send(b"a frame")
        with pytest.raises(BenchError, match="lost"):
            forwarding.burst(nowhere.fileno(), far.fileno(), b"a frame")
