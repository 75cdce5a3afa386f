"""``hal-vmm VERB …``: each verb is a module of its own, and only that one is imported."""

from __future__ import annotations

import sys

from hal_core import cli
from hal_core.errors import UsageError

# verb → module, and what it does in one line
VERBS = {
    "plan": ("plan_command", "what this server has, what the product will see, and why anything is held back"),
    "apply": ("apply_command", "compile the launch plan for the hardware that is there now"),
    "preflight": ("preflight_command", "can a QEMU still provide the product's pinned virtual hardware?"),
    "kvm-check": ("kvmcheck_command", "does KVM really run a guest on this server?"),
    "run": ("run_command", "follow the product for as long as it runs (the resident guest manager)"),
    "status": ("status", "how the product is doing"),
    "start": ("control_command", "start a product that was stopped, or that is in the rescue state"),
    "stop": ("stop_command", "end the product: guest agent, then ACPI power button, then by force"),
    "reset": ("control_command", "press the product's reset button"),
    "dump": ("control_command", "write the running product's memory to a file"),
    "maintenance": ("control_command", "on|off: leave the product alone, whatever its heartbeats say"),
}


def main(arguments: list[str]) -> int:
    """Run one verb.

    :raise UsageError: there is no such verb.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0 if arguments else 2
    verb = arguments[0]
    if verb not in VERBS:
        raise UsageError(f"unknown verb {verb}", f"there are: {', '.join(VERBS)}")
    name = VERBS[verb][0]
    module = __import__(f"hal_vmm.commands.{name}", fromlist=["main"])  # importlib would be one more import
    status: int = module.main(arguments if name == "control_command" else arguments[1:])
    return status


def usage() -> str:
    verbs = "".join(f"  {verb:<12} {text}\n" for verb, (_, text) in VERBS.items())
    return (
        "usage: hal-vmm VERB [OPTION…]     (or: hal vmm VERB …)\n\n"
        "The product's virtual machine: planned from this server's hardware, launched, watched over.\n\n"
        f"{verbs}\n"
        "Each has --help. Manual pages: hal-vmm(1), hal.toml(5).\n\n"
        "examples:\n"
        "  hal vmm status\n"
        "  hal vmm plan --root recorded-server.tar.gz\n"
        "  hal vmm maintenance on --for 2h\n"
    )


def run() -> int:
    """What the ``hal-vmm`` program calls."""
    return cli.run("hal-vmm", main)
