"""Running nft(8): load commands, list HAL's tables, remove them. JSON both ways, and no shell in between."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence

from hal_core.errors import HostError
from hal_netcfg.firewall.rules import FAMILIES, TABLE, Json, removal

PROGRAM = "nft"
PATH = "/usr/sbin:/usr/bin:/sbin"
DEADLINE_S = 10.0  # it takes milliseconds; with another's ruleset of a hundred thousand rules, seconds

_MISSING = "No such file or directory"  # ENOENT, strerror(3)
_NOT_ROOT = "Operation not permitted"
# What nft says on a kernel without nf_tables: one that has nfnetlink, and one that has not even that.
_NO_NF_TABLES = ("cache initialization failed: Invalid argument", "Unable to initialize Netlink socket")


def load(commands: Sequence[Json]) -> None:
    """Carry out all of the commands, or none.

    :raise HostError: nft is not installed, not permitted, does not end, or refuses one of them.
    """
    done = _run("-f", "-", text=json.dumps({"nftables": list(commands)}))
    if done.returncode:
        raise _complaint(done)


def listing() -> list[Json]:
    """Everything in HAL's tables, in nft's order: tables, chains, rules, as libnftables-json(5) has them.

    A table that is not there adds nothing.

    :raise HostError: as :func:`load` does.
    """
    return [entry for family in FAMILIES for entry in _list_table(family)]


def remove() -> None:
    """Let HAL's tables be gone; that they are not there is fine.

    :raise HostError: as :func:`load` does.
    """
    load(removal())


def _list_table(family: str) -> list[Json]:
    done = _run("list", "table", family, TABLE)
    if done.returncode:
        if _MISSING in done.stderr:
            return []
        raise _complaint(done)
    try:
        entries: list[Json] = json.loads(done.stdout)["nftables"]
    except (ValueError, KeyError, TypeError):
        raise HostError(f"{PROGRAM}: its list of table {family} {TABLE} is not JSON") from None
    return [entry for entry in entries if "metainfo" not in entry]  # nft's version is no part of the table


def _run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    candidates = (os.path.join(directory, PROGRAM) for directory in PATH.split(":"))
    program = next((path for path in candidates if os.access(path, os.X_OK)), "")
    if not program:
        raise HostError(f"{PROGRAM} is in none of {PATH}: there is no firewall without it", "install nftables")
    try:
        return subprocess.run(
            [program, "-j", *arguments],
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={"LC_ALL": "C", "PATH": PATH},
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"{program}: did not end within {DEADLINE_S:g} s") from None
    except OSError as error:
        raise HostError(f"cannot run {program}: {error.strerror}", "install nftables") from None


def _complaint(done: subprocess.CompletedProcess[str]) -> HostError:
    if any(sign in done.stderr for sign in _NO_NF_TABLES):
        return HostError(
            f"{PROGRAM}: the kernel has no nf_tables, or does not let this service use it",
            "try `modprobe nf_tables`, and `nft list tables` in a shell",
        )
    if _NOT_ROOT in done.stderr:
        return HostError(f"{PROGRAM}: not permitted to change or list firewall rules", "run this as root")
    # "internal:0:0-0: Error: Could not process rule: …": the place means nothing for what is not read from a file.
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    first = lines[0].rpartition("Error: ")[2] if lines else f"ended with status {done.returncode}, and said nothing"
    return HostError(f"{PROGRAM}: {first}")
