"""How soon, and how often, a crashed product is started again: pure.

The first restart comes at once; each further one within the window waits twice as long. After too many HAL gives up and
says so (rescue state): a product that dies at every start must not keep its server and its disks busy for ever.
"""

from __future__ import annotations

from typing import Optional

from hal_vmm.config import CrashConfig

LONGEST_BACKOFF = 60.0  # seconds


def recent(crashes: tuple[float, ...], now: float, config: CrashConfig) -> tuple[float, ...]:
    """The crashes (monotonic seconds) that still count."""
    return tuple(crash for crash in crashes if now - crash < config.window_minutes * 60)


def restart_delay(crashes: tuple[float, ...], now: float, config: CrashConfig) -> Optional[float]:
    """Seconds from the last crash to the next start; None: do not start again, go to the rescue state.

    :param crashes: when it crashed, monotonic seconds, the last one included.
    """
    count = len(recent(crashes, now, config))
    if count >= config.limit:
        return None
    if count < 2:
        return 0.0
    return min(LONGEST_BACKOFF, config.backoff * 2.0 ** min(count - 2, 32))
