"""What the QEMU that is installed here can do, asked over QMP: QEMU is started without a machine for a moment.

All questions are written at once and QEMU is told to quit after them, so there is one deadline and no dialogue. Answers
are cached under ``/var/lib/hal/vmm/flavour.json`` for as long as the binary, and KVM being there, stay the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any, Optional

from hal_core import atomic, paths
from hal_core.errors import ConfigError, HostError
from hal_vmm.qemu.flavour import CpuModel, Flavour, MachineType

DEADLINE_S = 20.0  # about 0.2 s in practice; a loaded machine may be slow, a hung QEMU must not hang HAL

SEARCH = ("/usr/libexec/qemu-kvm", "qemu-system-x86_64", "qemu-kvm")

_KVM = "/dev/kvm"
_CACHE_VERSION = 1

_QUESTIONS: tuple[tuple[str, dict[str, object]], ...] = (
    ("query-kvm", {}),
    ("query-machines", {}),
    ("query-cpu-definitions", {}),
    ("query-command-line-options", {"option": "sandbox"}),
    ("query-qmp-schema", {}),
)
_TYPES = {"devices": "device", "objects": "user-creatable", "accelerators": "accel"}


def find(configured: str = "") -> str:
    """The QEMU binary to use, absolute.

    :param configured: hal.toml's ``vmm.qemu``; empty: the first of ``SEARCH`` that is installed.
    :raise ConfigError: what is configured is no program.
    :raise HostError: no QEMU is installed.
    """
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise ConfigError(f'vmm.qemu = "{configured}": no such program', "give the path of a QEMU binary")
        return os.path.abspath(found)
    for name in SEARCH:
        found = shutil.which(name)
        if found:
            return found
    raise HostError(
        f"no QEMU is installed: looked for {', '.join(SEARCH)}",
        "install qemu-kvm (EL, Fedora) or qemu-system-x86 (Debian)",
    )


def probe(binary: str, deadline: float = DEADLINE_S) -> Flavour:
    """Ask one QEMU, or take what it said before.

    :param binary: absolute path.
    :param deadline: seconds for the whole of it.
    :raise HostError: it cannot be run, does not answer in time, or answers with something else than QMP.
    """
    key = _key(binary)
    cached = _cached(key)
    if cached is None:
        cached = ask(binary, deadline)
        _remember(key, cached)
    return _flavour(binary, cached)


def ask(binary: str, deadline: float = DEADLINE_S) -> dict[str, Any]:
    """Start QEMU, put all questions, and boil its answers (half a megabyte) down to what a Flavour holds.

    :raise HostError: as :func:`probe`.
    """
    commands = [("qmp_capabilities", dict[str, object]()), *_QUESTIONS]
    commands += [("qom-list-types", {"implements": base, "abstract": False}) for base in _TYPES.values()]
    lines = [
        json.dumps({"execute": name, "arguments": arguments, "id": index})
        for index, (name, arguments) in enumerate([*commands, ("quit", {})])
    ]
    # With KVM, QEMU also tells which CPU models this very processor can be.
    accelerators = ["-accel", "kvm", "-accel", "tcg"] if os.access(_KVM, os.R_OK | os.W_OK) else []
    argv = [binary, "-machine", "none", *accelerators, "-nodefaults", "-no-user-config", "-S", "-display", "none"]
    output = _run([*argv, "-qmp", "stdio"], "\n".join(lines) + "\n", deadline)
    answers, version = _answers(binary, output)
    wanted = len(commands)
    if len(answers) < wanted:
        raise HostError(f"{binary}: answered only {len(answers)} of {wanted} questions over QMP", "is it really QEMU?")
    kvm, machines, models, sandbox, schema = (answers[index] for index in range(1, 1 + len(_QUESTIONS)))
    types = {
        name: [item["name"] for item in answers[1 + len(_QUESTIONS) + index] or []] for index, name in enumerate(_TYPES)
    }
    kvm_on = bool(kvm and kvm.get("enabled"))
    drivers, aio = _block(schema or [])
    return {
        "version": version,
        "machines": [[item["name"], item["cpu-max"], bool(item.get("deprecated"))] for item in machines or []],
        "cpu_models": [
            [item["name"], bool(item.get("deprecated")), not item.get("unavailable-features") if kvm_on else None]
            for item in models or []
        ],
        "devices": types["devices"],
        "objects": types["objects"],
        "accelerators": [name.partition("-")[0] for name in types["accelerators"] if name.endswith("-accel")],
        "block_drivers": drivers,
        "aio": aio,
        # Built without seccomp, QEMU knows the option not at all, or without parameters.
        "sandbox": bool(sandbox and sandbox[0]["parameters"]),
    }


def _run(argv: list[str], text: str, deadline: float) -> str:
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=deadline, check=False)
    except subprocess.TimeoutExpired:
        raise HostError(f"{argv[0]}: did not answer within {deadline:g} s", "try to run it by hand") from None
    except OSError as error:
        raise HostError(f"cannot run {argv[0]}: {error.strerror}", "is it a QEMU binary for this machine?") from None
    except UnicodeDecodeError:
        raise HostError(f"{argv[0]}: does not speak QMP", "is it really QEMU?") from None
    if done.returncode != 0:
        raise HostError(f"{argv[0]}: ended with status {done.returncode}: {_last_line(done.stderr)}")
    return done.stdout


def _answers(binary: str, output: str) -> tuple[dict[int, Any], list[int]]:
    """What was returned to each command by its number (None for an error), and the version from the greeting."""
    answers: dict[int, Any] = {}
    version: list[int] = []
    try:
        for line in output.splitlines():
            message = json.loads(line)
            if "QMP" in message:
                number = message["QMP"]["version"]["qemu"]
                version = [number["major"], number["minor"], number["micro"]]
            elif "id" in message:
                answers[message["id"]] = message.get("return")
    except (ValueError, KeyError, TypeError):
        raise HostError(f"{binary}: does not speak QMP", "is it really QEMU?") from None
    return answers, version


def _block(schema: Iterable[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Names of the block drivers, and host_device's AIO back-ends, by QMP's description of itself."""
    entities = {entity["name"]: entity for entity in schema}

    def member(entity: str, name: str) -> dict[str, Any]:
        found = [item for item in entities[entity]["members"] if item["name"] == name]
        return dict(entities[found[0]["type"]]) if found else {}

    options = entities[entities["blockdev-add"]["arg-type"]]
    drivers = member(options["name"], "driver").get("values", [])
    host_device = [variant["type"] for variant in options["variants"] if variant["case"] == "host_device"]
    return drivers, member(host_device[0], "aio").get("values", []) if host_device else []


def _flavour(binary: str, facts: dict[str, Any]) -> Flavour:
    version = (facts["version"][0], facts["version"][1], facts["version"][2])
    return Flavour(
        name=f"QEMU {'.'.join(str(part) for part in version)}",
        binary=binary,
        version=version,
        machines=tuple(MachineType(*machine) for machine in facts["machines"]),
        devices=frozenset(facts["devices"]),
        cpu_models=tuple(CpuModel(*model) for model in facts["cpu_models"]),
        accelerators=frozenset(facts["accelerators"]),
        block_drivers=frozenset(facts["block_drivers"]),
        aio=frozenset(facts["aio"]),
        objects=frozenset(facts["objects"]),
        sandbox=facts["sandbox"],
    )


def _key(binary: str) -> dict[str, Any]:
    try:
        status = os.stat(binary)
    except OSError as error:
        raise HostError(f"cannot run {binary}: {error.strerror}", "install QEMU, or set vmm.qemu") from None
    return {
        "cache_version": _CACHE_VERSION,
        "binary": binary,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "kvm": os.access(_KVM, os.R_OK | os.W_OK),
    }


def _cache_path() -> str:
    return os.path.join(paths.state_dir(), "vmm", "flavour.json")


def _cached(key: dict[str, Any]) -> Optional[dict[str, Any]]:
    """The facts under this key; None if there are none, or the cache is damaged: it is only a cache."""
    try:
        with open(_cache_path(), encoding="utf-8") as file:
            value = json.load(file)
        facts: dict[str, Any] = value["facts"]
        matches = value["key"] == key
        _flavour(key["binary"], facts)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return facts if matches else None


def _remember(key: dict[str, Any], facts: dict[str, Any]) -> None:
    try:
        atomic.write(_cache_path(), json.dumps({"key": key, "facts": facts}), 0o644)
    except OSError:
        return  # not root, or nothing to write to: it is asked again the next time


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "nothing on standard error"
