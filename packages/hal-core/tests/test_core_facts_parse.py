"""The notations of sysfs: what the kernel writes is read back, and garbage is refused, never misread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.facts import parse
from hal_core.facts_report import ranges

cpu_sets = st.frozensets(st.integers(0, 4095), max_size=40)


@given(cpu_sets)
def test_a_list_of_cpus_is_read_back(cpus: frozenset[int]) -> None:
    assert parse.cpulist(ranges(cpus)) == tuple(sorted(cpus))


@given(cpu_sets)
def test_a_mask_of_cpus_is_read_back(cpus: frozenset[int]) -> None:
    mask = sum(1 << cpu for cpu in cpus)
    words: list[str] = []
    while mask or not words:
        words.insert(0, f"{mask & 0xFFFFFFFF:08x}")
        mask >>= 32
    assert parse.cpumask(",".join(words)) == tuple(sorted(cpus))


@given(st.text(alphabet="0123456789-,abx \n", max_size=40))
def test_any_text_is_either_cpus_or_a_value_error(text: str) -> None:
    for notation in (parse.cpulist, parse.cpumask):
        try:
            cpus = notation(text)
        except ValueError:
            continue
        assert list(cpus) == sorted(set(cpus))
        assert all(0 <= cpu < parse.MAX_CPUS for cpu in cpus)


@pytest.mark.parametrize("text", ["3-1", "0-99999999999", "-1", "a", "1-2-3", "65536", "²"])
def test_damaged_lists_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"number|backwards"):
        parse.cpulist(text)


@pytest.mark.parametrize("text", ["", "0x3", "123456789", ",", "g"])
def test_damaged_masks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a CPU mask"):
        parse.cpumask(text)


def test_names_are_counted_not_spelled() -> None:
    names = ["eth10", "eth2", "0:0:10:0", "0:0:9:0", "eth", ""]
    assert sorted(names, key=parse.natural) == ["", "0:0:9:0", "0:0:10:0", "eth", "eth2", "eth10"]


def test_pci_addresses_are_ordered_in_hex_with_wide_domains_behind() -> None:
    addresses = ["10000:00:02.0", "0000:1f:00.0", "0000:02:00.1", "0000:02:00.0", "0000:0a:00.0", "nonsense"]
    assert sorted(addresses, key=parse.pci_key) == [
        "0000:02:00.0",
        "0000:02:00.1",
        "0000:0a:00.0",
        "0000:1f:00.0",
        "10000:00:02.0",
        "nonsense",
    ]


def test_the_pci_chain_of_a_path() -> None:
    path = "/sys/devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme0/nvme0n1"
    assert parse.pci_chain(path) == ["0000:00:0e.0", "10000:e0:06.0", "10000:e1:00.0"]
