"""In which order packages are built: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from factory.errors import FactoryError
from factory.spec import Spec


def own_requirements(specs: Mapping[str, Spec]) -> dict[str, frozenset[str]]:
    """For every package of ours those of ours that must have been built before it.

    :return: names of specs
    """
    maker = {binary: spec.name for spec in specs.values() for binary in spec.packages}
    return {
        name: frozenset(maker[required] for required in spec.build_requires if required in maker) - {name}
        for name, spec in specs.items()
    }


def closure(wanted: Iterable[str], requirements: Mapping[str, frozenset[str]]) -> list[str]:
    """The wanted packages and everything they need, each after what it needs; otherwise by name.

    :raise FactoryError: two packages need each other
    """
    order: list[str] = []
    path: list[str] = []

    def visit(name: str) -> None:
        if name in path:
            raise FactoryError(
                f"these packages need each other to be built: {' → '.join([*path[path.index(name) :], name])}"
            )
        if name in order:
            return
        path.append(name)
        for required in sorted(requirements[name]):
            visit(required)
        path.pop()
        order.append(name)

    for name in sorted(wanted):
        visit(name)
    return order
