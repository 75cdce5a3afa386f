"""Reading the compiled launch plan, and seeing that it is whole, before anything is opened for it.

The launcher's half of :mod:`hal_vmm.launch.launchplan`, which costs an import of dataclasses: there the plan is made,
and tests hold the two against each other.
"""

from __future__ import annotations

from hal_core import quickjson
from hal_core.errors import FileFormatError, HostError

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from typing import Any

VERSION = 1  # of the plan's format

_PLAN = {  # key → type
    "qemu": str,
    "argv": list,
    "user": str,
    "groups": list,
    "nodes": list,
    "taps": list,
    "listeners": list,
    "journal": str,
    "memlock": (int, type(None)),
    "emulator_cpus": list,
    "directs": list,
    "direct_memlock": int,
}
_NODE = {
    "fd": int,
    "path": str,
    "kind": str,
    "mode": str,
    "what": str,
    "nonblock": bool,
    "noctty": bool,
    "otherwise": str,
    "exclusive": bool,
}
_SCALARS = {"argv": str, "groups": str, "emulator_cpus": int}  # list → type of its items
_DIRECT = {"lan": int, "replaces": list, "unused": list, "device": str, "fd": int, "iommufd": int}
_OBJECTS = {
    "nodes": _NODE,
    "taps": {"fd": int, "name": str},
    "listeners": {"fd": int, "path": str},
    "directs": _DIRECT,
}


def read(path: str) -> dict[str, Any]:
    """The plan as JSON has it: every key is there and of its type.

    :raise HostError: no plan, or it cannot be read. :raise FileFormatError: damaged, cut short, or of another version.
    """
    hint = "write it anew with: hal-vmm apply"
    try:
        with open(path, encoding="utf-8") as file:
            plan = quickjson.loads(file.read())
    except FileNotFoundError:
        raise HostError(f"no launch plan at {path}", hint) from None
    except OSError as error:
        raise HostError(f"launch plan {path}: {error.strerror}") from None
    except ValueError as error:
        raise FileFormatError(f"launch plan {path} is damaged: {error}", hint) from None
    if not isinstance(plan, dict) or plan.get("version") != VERSION:
        found = plan.get("version") if isinstance(plan, dict) else type(plan).__name__
        raise FileFormatError(f"launch plan {path} has version {found}; this launcher knows {VERSION}", hint)
    # An upgrade under a running product, and then no new plan: the last one is from before there were real NICs.
    plan.setdefault("directs", [])
    plan.setdefault("direct_memlock", 0)
    wrong = _wrong(plan, _PLAN) or _wrong_items(plan)
    if wrong:
        raise FileFormatError(f"launch plan {path} is damaged: {', '.join(wrong)} missing or wrong", hint)
    return plan


def _wrong(value: object, shape: dict[str, Any]) -> list[str]:
    """The keys that a JSON object lacks, or that hold something of another type."""
    if not isinstance(value, dict):
        return list(shape)
    return [key for key, types in shape.items() if not isinstance(value.get(key, ...), types)]


def _wrong_items(plan: dict[str, Any]) -> list[str]:
    wrong = [key for key, kind in _SCALARS.items() if not all(isinstance(item, kind) for item in plan[key])]
    for key, shape in _OBJECTS.items():
        wrong += [f"{key}[{index}].{name}" for index, item in enumerate(plan[key]) for name in _wrong(item, shape)]
    return wrong
