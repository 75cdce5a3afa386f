"""The contract of hal-vmm, which plans the product's NICs, with hal-netcfg, which has every other one for the host's or
for nobody's: what is held back is known by the same names.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from hal_core.testing import synthetic
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.plan import lans, product
from hal_vmm.config import DevicesConfig, VmmConfig
from hal_vmm.plan import guest
from hal_vmm.qemu import flavour_builtin

NO_ADDRESS, ON_USB, KEPT = synthetic.nic(0, mac=""), synthetic.nic(1, bus="usb"), synthetic.nic(2)
GIVEN, NEW = synthetic.nic(3), synthetic.nic(4)


@pytest.mark.parametrize(("backend", "given"), [("tap", [GIVEN.name]), ("unplugged", [])])
def test_every_nic_that_hal_vmm_has_seen_is_the_products_or_the_hosts(
    tmp_path: Path, backend: str, given: list[str]
) -> None:
    seen = (NO_ADDRESS, ON_USB, KEPT, GIVEN)
    machine = dataclasses.replace(synthetic.machine(), nics=seen)
    config = VmmConfig(devices=DevicesConfig(keep_nics=(KEPT.mac,), nic_backend=backend))
    planned = guest.plan(machine, config, flavour_builtin.assume("el9")).to_json()
    Path(product.path(str(tmp_path))).write_text(json.dumps(planned))
    known = product.read(str(tmp_path))
    network = lans.plan((*seen, NEW), known.nics, NetcfgConfig(), others=known.others)
    assert [lan.port for lan in network.lans] == given
    assert [kept.name for kept in network.kept] == [nic.name for nic in seen if nic.name not in given]
    assert network.unplanned == (NEW.name,)


@pytest.mark.parametrize("name", [KEPT.name, KEPT.mac.upper()])
def test_a_nic_of_the_hosts_that_was_not_there_is_still_the_hosts_when_it_comes(tmp_path: Path, name: str) -> None:
    """Whoever is logged in by it would be locked out otherwise."""
    config, flavour = VmmConfig(devices=DevicesConfig(keep_nics=(name,))), flavour_builtin.assume("el9")
    machine = dataclasses.replace(synthetic.machine(), nics=(KEPT, GIVEN))
    pinned = guest.plan(machine, config, flavour).pinned
    without = guest.plan(dataclasses.replace(machine, nics=(GIVEN,)), config, flavour, pinned)
    Path(product.path(str(tmp_path))).write_text(json.dumps(without.to_json()))
    known = product.read(str(tmp_path))
    network = lans.plan((KEPT, GIVEN), known.nics, NetcfgConfig(), others=known.others)
    assert [kept.name for kept in network.kept] == [KEPT.name]
    assert network.unplanned == ()
