"""How high a beep is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_console.terminal.tone import pitch

RATE = 11025


def square(hertz: float, samples: int, low: int = 0x40, high: int = 0xC0) -> bytes:
    return bytes(high if int(2 * hertz * number / RATE) % 2 else low for number in range(samples))


@given(st.integers(100, 3000), st.integers(1000, 4000))
def test_a_square_wave_has_its_pitch(hertz: int, samples: int) -> None:
    assert pitch(square(hertz, samples), RATE) == pytest.approx(hertz, abs=RATE / samples + 1)


@pytest.mark.parametrize(
    "samples",
    [b"", b"\x80" * 1000, square(750, 20), square(750, 500, 0x7E, 0x82), square(8, 8000), bytes([0, 255] * 9)],
)
def test_silence(samples: bytes) -> None:
    assert pitch(samples, RATE) == 0
