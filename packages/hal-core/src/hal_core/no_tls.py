"""asyncio and qemu.qmp without OpenSSL, for residents, which only ever speak over unix sockets.

Both import ``ssl`` for encrypted connections that HAL never makes. It would cost every resident 3 MiB of its own, and
some milliseconds at its start (docs/benchmarks.md). asyncio does without where Python was built without ``ssl``, and
``None`` in ``sys.modules`` is how one says so (Python's language reference, "The module cache"). qemu.qmp wants the
name ``SSLContext``, for annotations.
"""

from __future__ import annotations

import sys
from types import ModuleType


def load() -> None:
    """Import asyncio and qemu.qmp so. To be called before anything else imports one of them; otherwise it does nothing.

    Whoever imports ``ssl`` later gets the real one.
    """
    if "ssl" in sys.modules or "asyncio" in sys.modules:
        return
    stub = ModuleType("ssl")
    stub.SSLContext = type("SSLContext", (), {})  # type: ignore[attr-defined]  # made here
    try:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # see above
        __import__("asyncio")
        sys.modules["ssl"] = stub
        __import__("qemu.qmp")
    except (ImportError, AttributeError):
        return  # a version that wants more of it: it is imported again, the usual way
    finally:
        del sys.modules["ssl"]
