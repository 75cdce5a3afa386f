"""Whether the firewall has to be loaded: from what is wanted, remembered, and listed. The kernel is a fake here."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Sequence

import pytest

from hal_core.errors import HostError
from hal_netcfg.firewall import firewall, nft
from hal_netcfg.firewall.firewall import Loaded
from hal_netcfg.firewall.ports import Port
from hal_netcfg.firewall.rules import Guard, Json

GUARD = Guard("169.254.72.1", "169.254.72.2", "169.254.72.0/30", (Port("tcp", 514, "syslog"),), ("eno1",), ("eno2",))


class FakeKernel:
    """Takes commands, and lists as the kernel does: with new handles every time, and with what it has counted."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Json]] = {}
        self.loads = 0
        self.problem = ""
        self._handle = 0

    def load(self, commands: Sequence[Json]) -> None:
        if self.problem:
            raise HostError(self.problem)
        self.loads += 1
        for command in copy.deepcopy(list(commands)):
            ((action, what),) = command.items()
            ((kind, value),) = what.items()
            if action == "delete":
                self.tables.pop(value["family"])
                continue
            self._handle += 1
            value["handle"] = self._handle
            for part in value.get("expr", ()):
                if "counter" in part:
                    part["counter"] = {"packets": 0, "bytes": 0}
            table = self.tables.setdefault(value["family"], [])
            if kind != "table" or not table:
                table.append({kind: value})

    def listing(self) -> list[Json]:
        return copy.deepcopy([entry for table in self.tables.values() for entry in table])

    def count(self, packets: int) -> None:
        """Every rule that counts has seen so many packets more."""
        for table in self.tables.values():
            for part in (part for entry in table for part in entry.get("rule", {}).get("expr", ())):
                if "counter" in part:
                    part["counter"]["packets"] += packets


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel()
    monkeypatch.setattr(nft, "load", fake.load)
    monkeypatch.setattr(nft, "listing", fake.listing)
    return fake


def test_it_is_loaded_once(kernel: FakeKernel) -> None:
    first = firewall.ensure(GUARD, None)
    assert first.why == ("table inet hal is not loaded", "table bridge hal is not loaded")
    assert first.changed
    second = firewall.ensure(GUARD, first.loaded)
    assert not second.changed
    assert second.loaded == first.loaded
    assert kernel.loads == 1
    assert firewall.difference(GUARD, second.loaded) == []


def test_packets_that_are_counted_are_no_difference(kernel: FakeKernel) -> None:
    loaded = firewall.ensure(GUARD, None).loaded
    kernel.count(5)
    assert not firewall.ensure(GUARD, loaded).changed


def test_the_memory_survives_as_json(kernel: FakeKernel) -> None:
    loaded = firewall.ensure(GUARD, None).loaded
    again = Loaded(**json.loads(json.dumps(dataclasses.asdict(loaded))))
    assert not firewall.ensure(GUARD, again).changed


def test_what_nobody_remembers_is_loaded_anew(kernel: FakeKernel) -> None:
    loaded = firewall.ensure(GUARD, None).loaded
    outcome = firewall.ensure(GUARD, None)
    assert outcome.why == ("who has loaded the tables hal is not known",)
    assert outcome.loaded == loaded, "handles are not part of it"
    assert kernel.loads == 2


@pytest.mark.parametrize(
    "change", [{"ports": ()}, {"lan_ports": ("eno1", "eno3")}, {"kept": ()}, {"product": "169.254.72.3"}]
)
def test_another_wish_is_loaded(kernel: FakeKernel, change: dict[str, object]) -> None:
    loaded = firewall.ensure(GUARD, None).loaded
    wanted = dataclasses.replace(GUARD, **change)  # type: ignore[arg-type]
    assert firewall.difference(wanted, loaded) == ["other rules are wanted than are loaded"]
    outcome = firewall.ensure(wanted, loaded)
    assert outcome.why == ("other rules are wanted than are loaded",)
    assert not firewall.ensure(wanted, outcome.loaded).changed


def test_a_missing_table_is_restored(kernel: FakeKernel) -> None:
    loaded = firewall.ensure(GUARD, None).loaded
    before = firewall.content(kernel.listing())
    del kernel.tables["bridge"]
    assert firewall.difference(GUARD, loaded) == ["table bridge hal is not loaded"]
    assert firewall.ensure(GUARD, loaded).loaded == loaded
    assert firewall.content(kernel.listing()) == before


def test_anything_that_somebody_changes_is_restored(kernel: FakeKernel) -> None:
    loaded = firewall.ensure(GUARD, None).loaded
    size = len(kernel.tables["inet"])

    def delete_rule() -> None:
        del kernel.tables["inet"][-1]

    def swap_rules() -> None:
        kernel.tables["inet"][-2:] = reversed(kernel.tables["inet"][-2:])

    def add_rule() -> None:
        kernel.load(
            [{"add": {"rule": {"family": "inet", "table": "hal", "chain": "input", "expr": [{"accept": None}]}}}]
        )

    def change_policy() -> None:
        kernel.tables["inet"][1]["chain"]["policy"] = "accept"

    def switch_off() -> None:
        kernel.tables["inet"][0]["table"]["flags"] = "dormant"

    def add_set() -> None:
        kernel.tables["inet"].append({"set": {"family": "inet", "name": "x", "table": "hal", "type": "mark"}})

    for change in (delete_rule, swap_rules, add_rule, change_policy, switch_off, add_set):
        change()
        outcome = firewall.ensure(GUARD, loaded)
        assert outcome.why == ("somebody else has changed a table hal",), change.__name__
        assert outcome.loaded == loaded
        assert len(kernel.tables["inet"]) == size


def test_looking_changes_nothing(kernel: FakeKernel) -> None:
    assert firewall.difference(GUARD, None) == ["table inet hal is not loaded", "table bridge hal is not loaded"]
    assert kernel.loads == 0
    assert kernel.tables == {}


def test_a_failure_is_passed_on(kernel: FakeKernel) -> None:
    kernel.problem = "nft: Could not process rule: Device or resource busy"
    with pytest.raises(HostError, match="Device or resource busy"):
        firewall.ensure(GUARD, None)


def test_counts_are_those_of_rules_with_a_comment_in_order(kernel: FakeKernel) -> None:
    firewall.ensure(GUARD, None)
    kernel.count(3)
    counts = firewall.counts(kernel.listing())
    assert ("port tcp/514 syslog", 3, 0) in counts
    comments = [
        entry["rule"]["comment"] for entry in kernel.listing() if "rule" in entry and "comment" in entry["rule"]
    ]
    assert [comment for comment, _, _ in counts] == comments
    uncommented = {"rule": {"expr": [{"counter": {"packets": 1, "bytes": 1}}, {"drop": None}]}}
    assert firewall.counts([uncommented, {"table": {}}]) == []
