"""How high a beep is, from what it sounds like: the product's PC speaker makes square waves, and nothing else does.

The server's own beeper can only do such waves: it is told how often the wave crosses its middle.
"""

from __future__ import annotations

_SILENCE = 8  # of 256 steps: a wave that is not higher is none
_LOWEST, _HIGHEST = 20, 8000  # Hz
_FEWEST = 32  # samples: fewer tell nothing


def pitch(samples: bytes, rate: int) -> int:
    """Hz; 0 for silence, and for what is too short or too low to be a beep.

    :param rate: samples per second.
    """
    if len(samples) < _FEWEST or max(samples) - min(samples) < _SILENCE:
        return 0
    middle = (max(samples) + min(samples)) / 2
    above = [sample > middle for sample in samples]
    crossings = sum(1 for before, after in zip(above, above[1:]) if before != after)
    hertz = crossings * rate // (2 * len(samples))
    return hertz if _LOWEST <= hertz <= _HIGHEST else 0
