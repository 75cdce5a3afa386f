"""The usage pages of report descriptors: real ones, and whatever a device may send instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.facts.hidreport import FIDO, MAX_BYTES, usage_pages
from hal_core.testing import hid

# Items as USB HID 1.11, 6.2.2, has them: data of 0, 1, 2 or 4 bytes behind the prefix; 0xFE is a long one.
PAGE = "06d0f1"


def test_what_devices_are_about() -> None:
    assert usage_pages(hid.FIDO) == {FIDO}
    assert usage_pages(hid.KEYBOARD) == {0x01, 0x07, 0x08}
    assert usage_pages(hid.MOUSE) == {0x01, 0x09}


@pytest.mark.parametrize(
    ("descriptor", "pages"),
    [
        ("", set()),
        ("05d0", {0xD0}),
        ("04", {0}),
        (PAGE, {FIDO}),
        ("07d0f10000", {FIDO}),
        ("07d0f10100", {0x1F1D0}),  # no page has so many bits
        ("0b0100d0f1", {FIDO}),  # a usage that brings its page with it
        ("0ad0f1", set()),  # a usage that has the same number
        ("16d0f1", set()),  # a minimum that has
        ("2706d0f100", set()),  # data of another item, all of which look like the page
        (f"fe03ff{PAGE}", set()),  # data of a long item
        (f"fe00ff{PAGE}", {FIDO}),  # a long item without
        (f"fe03ff{PAGE}{PAGE}", {FIDO}),
        (f"a4b4{PAGE}c0", {FIDO}),  # Push, Pop, End Collection: items without data
        ("0501090206d0", {0x01}),  # cut short in the page
        ("05", set()),
        ("0501fe", {0x01}),
    ],
)
def test_items(descriptor: str, pages: set[int]) -> None:
    assert usage_pages(bytes.fromhex(descriptor)) == pages


@st.composite
def items(draw: st.DrawFn) -> bytes:
    """One item that names no page, with any data."""
    first = draw(st.integers(0, 255).filter(lambda one: one & ~3 != 0x04 and one != 0x0B))
    if first == 0xFE:
        data = draw(st.binary(max_size=255))
        return bytes([first, len(data), draw(st.integers(0, 255))]) + data
    size = (0, 1, 2, 4)[first & 3]
    return bytes([first]) + draw(st.binary(min_size=size, max_size=size))


some_items = st.lists(items(), max_size=12).map(b"".join)


@given(some_items, some_items, st.sampled_from([PAGE, "07d0f10000", "0b0100d0f1"]))
def test_a_page_is_found_wherever_it_stands_and_no_data_is_for_one(before: bytes, after: bytes, page: str) -> None:
    assert usage_pages(before + after) == set()
    assert usage_pages(before + bytes.fromhex(page) + after) == {FIDO}


@given(st.binary(max_size=600))
def test_whatever_the_bytes_are_there_is_an_answer(descriptor: bytes) -> None:
    assert all(0 <= page < 1 << 32 for page in usage_pages(descriptor))


@given(some_items, st.binary(max_size=40))
def test_what_is_broken_takes_nothing_before_it_along(before: bytes, garbage: bytes) -> None:
    assert FIDO in usage_pages(before + bytes.fromhex(PAGE) + garbage)


def test_no_descriptor_is_longer_than_the_kernel_takes() -> None:
    filling = bytes.fromhex("c0") * (MAX_BYTES - 3)
    assert usage_pages(filling + bytes.fromhex(PAGE)) == {FIDO}
    assert usage_pages(filling + bytes.fromhex("c0" + PAGE)) == set()
