"""What started the server: UEFI or a BIOS."""

from __future__ import annotations

from hal_core.facts.tree import Tree


def read(tree: Tree) -> str:
    """``uefi`` or ``bios``; ``""`` if ``/sys/firmware`` is not in the recording.

    The kernel makes ``/sys/firmware/efi`` if, and only if, it was started through UEFI (or by kexec from a kernel that
    was, and that handed the state on).
    """
    if tree.exists("/sys/firmware/efi"):
        return "uefi"
    return "bios" if tree.exists("/sys/firmware") else ""
