"""``hal-vmm run``: the guest manager, resident."""

from __future__ import annotations

import os

from hal_core import no_tls
from hal_core.errors import UsageError

USAGE = """\
usage: hal-vmm run [--announce] [--child] [--verbose]

Follow the product for as long as it runs: let it start, watch its heartbeats, restart it when it crashes, and reboot or
power off this host when the product asks for that. hal-vmm.service runs this; it may be restarted at any time.

options:
  --announce  say what would be done to the host, and do not do it (demo, tests)
  --child     start QEMU as a process, not through hal-qemu.service; the default where systemd did not start us
  --verbose   log every detail
"""
_OPTIONS = {"--announce", "--child", "--verbose"}


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT.

    :raise ConfigError: hal.toml is wrong.
    """
    if "--help" in arguments or "-h" in arguments:
        print(USAGE, end="")
        return 0
    unknown = [argument for argument in arguments if argument not in _OPTIONS]
    if unknown:
        raise UsageError(f"run: unknown argument {unknown[0]}", "see: hal-vmm run --help")
    no_tls.load()
    from hal_vmm.manager import resident  # only now: it imports asyncio

    child = "--child" in arguments or "INVOCATION_ID" not in os.environ
    resident.run("--announce" in arguments, child, "--verbose" in arguments)
    return 0
