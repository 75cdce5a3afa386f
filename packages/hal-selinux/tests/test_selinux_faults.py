"""Mistakes in the modules are found: by the compiler, by the linker, and by what the tests read from the policy."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Callable

import pytest

pytestmark = pytest.mark.component

Link = Callable[[Mapping[str, str]], "subprocess.CompletedProcess[str]"]

PACKAGE = Path(__file__).resolve().parents[1]

FORBIDDEN = {
    "allow hal_qemu_t shadow_t:file read;": "(neverallow hal_qemu_domain shadow_t",
    "allow hal_qemu_t fixed_disk_device_t:blk_file open;": "(allow hal_qemu_t fixed_disk_device_t (blk_file (open)))",
    "allow hal_qemu_t self:tcp_socket create;": "(allow hal_qemu_t self (tcp_socket (create)))",
    "allow hal_qemu_t self:capability sys_admin;": "(allow hal_qemu_t self (capability (sys_admin)))",
}
FORBIDDEN_TO_NETCFG = {
    "allow hal_netcfg_t self:packet_socket create;": "(allow hal_netcfg_t self (packet_socket (create)))",
    "allow hal_netcfg_t self:udp_socket bind;": "(allow hal_netcfg_t self (udp_socket (bind)))",
}

FORBIDDEN_TO_CONSOLE = {
    "allow hal_console_t event_device_t:chr_file read;": "(allow hal_console_t event_device_t (chr_file (read)))",
}


def test_forbidden_rules_are_refused_by_the_linker(link_changed: Link) -> None:
    rules = {
        "hal_qemu.te": "\n".join(FORBIDDEN),
        "hal_netcfg.te": "\n".join(FORBIDDEN_TO_NETCFG),
        "hal_console.te": "\n".join(FORBIDDEN_TO_CONSOLE),
    }
    result = link_changed(rules)
    assert result.returncode != 0
    assert "neverallow check failed" in result.stderr
    expected = [*FORBIDDEN.values(), *FORBIDDEN_TO_NETCFG.values(), *FORBIDDEN_TO_CONSOLE.values()]
    assert [said for said in expected if said not in result.stderr] == []


def test_an_interface_that_does_not_exist_is_refused_by_the_compiler(link_changed: Link) -> None:
    with pytest.raises(AssertionError, match="syntax error"):
        link_changed({"hal_vmm.te": "files_read_what_is_not_there(hal_vmm_t)\n"})


def test_every_interface_grants_something(expanded: Callable[[str], str]) -> None:
    """An apostrophe in a comment ends m4's quotation, and with it an interface: what is left grants nothing."""
    names = [
        line.split("`")[1].split("'")[0]
        for path in sorted(PACKAGE.glob("*.if"))
        for line in path.read_text().splitlines()
        if line.startswith("interface(")
    ]
    two = {"hal_program": ", neighbour_exec_t", "hal_probe_qemu": ", neighbour_tmp_t"}
    calls = "".join(f"{name}(neighbour_t{two.get(name, '')})\n" for name in names)
    types = "type neighbour_t;\ntype neighbour_exec_t;\ntype neighbour_tmp_t;\n"
    text = expanded(f"policy_module(neighbour, 1.0.0)\n{types}{calls}")
    assert len(names) > 10
    for name in names:
        body = text.partition(f"##### begin {name}(")[2].partition(f"##### end {name}(")[0]
        assert "allow " in body, name
