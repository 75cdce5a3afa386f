"""``hal-netcfg VERB …``."""

from __future__ import annotations

from hal_core import cli
from hal_core.verbs import Program

PROGRAM = Program(
    "hal-netcfg",
    "hal_netcfg.commands",
    {
        "facts": ("facts_command", "this server's NICs, as they are"),
        "plan": ("plan_command", "which NIC becomes which LAN of the product, and what stays with the host"),
        "apply": ("apply_command", "bring the host's network to that, once"),
        "run": ("run_command", "bring it to that, and keep it so (the resident)"),
        "status": ("status_command", "LANs, links, speeds, errors, bonds, and what the firewall has refused"),
    },
    "The product's network: it owns the server's NICs, and has one private link to the host.",
    "hal-netcfg(1), hal.toml(5)",
    ("hal netcfg status", "hal netcfg plan --root recorded-server.tar.gz", "hal netcfg apply --dry-run"),
)


def run() -> int:
    """What the ``hal-netcfg`` program calls."""
    return cli.run("hal-netcfg", PROGRAM.main)
