"""``hal-vmm VERB …``."""

from __future__ import annotations

from hal_core import cli
from hal_core.verbs import Program

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

PROGRAM = Program(
    "hal-vmm",
    "hal_vmm.commands",
    VERBS,
    "The product's virtual machine: planned from this server's hardware, launched, watched over.",
    "hal-vmm(1), hal.toml(5)",
    ("hal vmm status", "hal vmm plan --root recorded-server.tar.gz", "hal vmm maintenance on --for 2h"),
    with_verb=("control_command",),
)


def run() -> int:
    """What the ``hal-vmm`` program calls."""
    return cli.run("hal-vmm", PROGRAM.main)
