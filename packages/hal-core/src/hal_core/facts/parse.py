"""The small notations of sysfs and procfs: CPU lists and masks, PCI addresses, numbers inside names.

Pure, and strict: what does not parse raises ``ValueError``, and the reader treats the file as absent.
"""

from __future__ import annotations

import re
from typing import Optional, Union

MAX_CPUS = 1 << 16  # eight times what Linux can be built for (CONFIG_NR_CPUS): more is a damaged file, not a server

# The domain is 16 bits wide on most machines and 32 bits on some: Intel VMD numbers its domains from 0x10000.
PCI_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")

NaturalKey = tuple[Union[int, str], ...]


def cpulist(text: str) -> tuple[int, ...]:
    """``"0-3,8,10-12"`` as ids, sorted, each once; ``""`` is nobody (Linux' bitmap_parselist, without strides).

    :raise ValueError: not a list, or ids that no Linux has.
    """
    ids: set[int] = set()
    for item in text.split(","):
        item = item.strip()
        if not item:
            continue
        first, _, last = item.partition("-")
        low = _id(first)
        high = _id(last) if last else low
        if high < low:
            raise ValueError(f"a range that runs backwards: {item}")
        ids.update(range(low, high + 1))
    return tuple(sorted(ids))


def cpumask(text: str) -> tuple[int, ...]:
    """``"00000001,0000000f"`` as ids, sorted: 32-bit words in hex, the highest first (Linux' bitmap ``%*pb``).

    :raise ValueError: not a mask, or wider than any Linux has.
    """
    words = text.strip().split(",")
    if len(words) * 32 > MAX_CPUS or not all(re.fullmatch("[0-9a-fA-F]{1,8}", word) for word in words):
        raise ValueError(f"not a CPU mask: {text[:40]!r}")
    mask = 0
    for word in words:
        mask = mask << 32 | int(word, 16)
    bits = bin(mask)[:1:-1]  # the lowest bit first
    return tuple(index for index, bit in enumerate(bits) if bit == "1")


def _id(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) >= MAX_CPUS:
        raise ValueError(f"not a CPU or node number: {text[:40]!r}")
    return int(text)


def natural(name: str) -> NaturalKey:
    """A sort key that counts: eth2 before eth10, target0:0:9 before target0:0:10.

    Text and numbers alternate in it, text first, so that two keys can always be compared.
    """
    parts = re.split("([0-9]+)", name)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts))


def pci_key(address: str) -> tuple[int, int, int, int]:
    """A PCI address as numbers; what is not one sorts behind all that are."""
    match = PCI_ADDRESS.fullmatch(address)
    if not match:
        return (1 << 32, 0, 0, 0)
    return (int(match[1], 16), int(match[2], 16), int(match[3], 16), int(match[4]))


def pci_chain(path: str) -> list[str]:
    """The PCI addresses on a sysfs path, the root port first: ``["0000:00:03.0", "0000:01:00.0"]``."""
    return [part for part in path.split("/") if PCI_ADDRESS.fullmatch(part)]


def integer(text: str, base: int = 10) -> Optional[int]:
    """A number, or None for what is not one; base 0 takes ``0x``."""
    try:
        return int(text, base)
    except ValueError:
        return None
