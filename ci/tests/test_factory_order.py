"""Packages are built after what they need."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import order
from factory.errors import FactoryError
from factory.spec import Spec


def make(name: str, needs: tuple[str, ...] = (), packages: tuple[str, ...] = ()) -> Spec:
    return Spec(Path(f"{name}.spec"), name, "1", "1", (), needs, packages or (name,), 0)


def specs(*made: Spec) -> dict[str, Spec]:
    return {spec.name: spec for spec in made}


def test_what_is_not_ours_is_left_to_dnf() -> None:
    needed = order.own_requirements(
        specs(make("hal-core", ("make", "python3-qemu-qmp")), make("hal-vmm", ("hal-core",)))
    )
    assert needed == {"hal-core": frozenset(), "hal-vmm": {"hal-core"}}


def test_a_sub_package_is_made_by_its_spec() -> None:
    needed = order.own_requirements(
        specs(
            make("hal-core", ("python3-qemu-qmp", "hal-core-testing"), ("hal-core", "hal-core-testing")),
            make("python-qemu-qmp", (), ("python3-qemu-qmp",)),
        )
    )
    assert needed["hal-core"] == {"python-qemu-qmp"}, "and nothing needs itself"


def test_only_what_is_asked_for_and_what_that_needs() -> None:
    needs = {"a": frozenset[str](), "b": frozenset({"a"}), "c": frozenset({"b"}), "d": frozenset[str]()}
    assert order.closure(["b"], needs) == ["a", "b"]
    assert order.closure(["d", "c"], needs) == ["a", "b", "c", "d"]


def test_a_circle_is_named() -> None:
    needs = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"b"})}
    with pytest.raises(FactoryError, match="b → c → b"):
        order.closure(["a"], needs)


@given(st.data())
def test_everything_comes_after_what_it_needs(data: st.DataObject) -> None:
    names = [f"p{number}" for number in range(data.draw(st.integers(1, 8)))]
    # Only earlier ones are needed, so that there is no circle; the names are shuffled afterwards.
    shuffled = data.draw(st.permutations(names))
    needs = {
        name: frozenset(data.draw(st.sets(st.sampled_from(shuffled[:index] or [name]))) - {name})
        for index, name in enumerate(shuffled)
    }
    built = order.closure(names, needs)
    assert sorted(built) == sorted(names)
    for name, needed in itertools.chain.from_iterable(((name, other) for other in needs[name]) for name in names):
        assert built.index(needed) < built.index(name)
