"""hal-vmm's plan, as hal-netcfg reads it: what it takes from it, and files that are none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hal_core.errors import FileFormatError, HalError, HostError
from hal_netcfg.plan import product
from hal_netcfg.plan.network import ProductNic
from hal_netcfg.plan.product import Planned

MAC = "00:1b:21:00:00:0a"


def entry(**changes: Any) -> dict[str, Any]:
    return {"host": "eno1", "mac": MAC, "slot": 0, "tap": "haltap0", "model": "virtio-net-pci", **changes}


def read(directory: Path, content: Any) -> Planned:
    (directory / "plan.json").write_text(json.dumps(content))
    return product.read(str(directory))


def test_the_taps_number_is_the_nics(tmp_path: Path) -> None:
    nics = [entry(tap="haltap12", slot=7), entry(mac="00:1b:21:00:00:0b", tap="haltap3"), entry(tap="")]
    assert read(tmp_path, {"machine": "q35", "nics": nics}).nics == (
        ProductNic(3, "00:1b:21:00:00:0b"),
        ProductNic(12, MAC),
    )
    assert read(tmp_path, {"nics": []}) == Planned(())


def test_what_else_hal_vmm_knows_of(tmp_path: Path) -> None:
    held = [{"what": "eno7", "reason": "kept for the host"}, {"what": "/dev/sda", "reason": "HAL's own device"}]
    planned = read(tmp_path, {"nics": [entry(), entry(mac="00:1b:21:00:00:0b", tap="")], "held_back": held})
    assert planned.nics == (ProductNic(0, MAC),)
    assert planned.others == frozenset({"eno7", "/dev/sda", "00:1b:21:00:00:0b"})
    assert read(tmp_path, {"nics": [], "held_back": []}) == Planned((), frozenset()), "it knows that there is none"
    assert read(tmp_path, {"nics": [entry()]}).others is None, "it does not say"


def test_no_plan_yet(tmp_path: Path) -> None:
    assert product.read(str(tmp_path)) == Planned(None, None)


def test_a_plan_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "plan.json").mkdir()
    with pytest.raises(HostError, match=r"/plan\.json: Is a directory$"):
        product.read(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        None,
        {"nics": None},
        {"nics": [None]},
        {"nics": {"a": 1}},
        {"nics": [entry(tap="haltapint")]},
        {"nics": [entry(tap="haltap-1")]},
        {"nics": [entry(tap="haltap²")]},
        {"nics": [entry(tap="eth0\nx")]},
        {"nics": [entry(tap=["haltap0"])]},
        {"nics": [entry(tap=7)]},
        {"nics": [entry(mac="")]},
        {"nics": [entry(mac=None)]},
        {"nics": [entry(mac=MAC.upper())]},
        {"nics": [entry(mac=MAC + "\n")]},
        {"nics": [entry(), entry(mac="00:1b:21:00:00:0b")]},
        {"nics": [], "held_back": None},
        {"nics": [], "held_back": ["eno7"]},
        {"nics": [], "held_back": [{"reason": "kept"}]},
        {"nics": [entry(mac=None, tap="")], "held_back": []},
    ],
)
def test_a_damaged_plan_is_one_line_that_names_it(tmp_path: Path, content: Any) -> None:
    with pytest.raises(FileFormatError) as caught:
        read(tmp_path, content)
    assert caught.value.message.startswith(f"{tmp_path}/plan.json: not a plan of hal-vmm's: ")
    assert "\n" not in str(caught.value)
    assert caught.value.hint == "hal vmm apply"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"nics": [', b"[" * 100_000])
def test_what_is_no_json_at_all(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(data)
    with pytest.raises(FileFormatError):
        product.read(str(tmp_path))


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(("haltap0", MAC, "haltap"))
)
ANY_JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
NEARLY = st.fixed_dictionaries(
    {"nics": st.lists(st.fixed_dictionaries({"tap": ANY_JSON, "mac": ANY_JSON}), max_size=2)},
    optional={"held_back": ANY_JSON | st.lists(st.fixed_dictionaries({"what": ANY_JSON}), max_size=2)},
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY_JSON | NEARLY)
@example({"nics": [{"tap": ["haltap0"], "mac": MAC}]})
def test_whatever_is_in_the_file(tmp_path: Path, content: Any) -> None:
    try:
        nics = read(tmp_path, content).nics
    except HalError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert isinstance(nics, tuple)
    assert [nic.number for nic in nics] == sorted({nic.number for nic in nics})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_plan_that_must_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    (tmp_path / "plan.json").chmod(0)
    with pytest.raises(HostError, match="Permission denied"):
        product.read(str(tmp_path))
