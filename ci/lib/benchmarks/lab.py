"""Everything that ``ci/bench vmm`` measures, set up side by side: one product OS, one QEMU, several ways to run it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import productos
from benchmarks import libvirt
from benchmarks.halproduct import HalProduct
from benchmarks.libvirt import Libvirt
from benchmarks.measure import IN_MEMORY, BenchError, progress
from benchmarks.plainqemu import PlainQemu
from benchmarks.watch import Monitor, SerialPort


@dataclass(frozen=True)
class Lab:
    console: SerialPort
    monitor: Monitor
    hal: HalProduct  # its guest manager is resident
    cold: HalProduct  # nothing of it runs: a host that boots
    plain: PlainQemu
    plain_product: HalProduct  # the same plan; HAL itself does nothing with it
    libvirt: Optional[Libvirt]  # None: not installed


class _Say(productos.Say):
    def __call__(self, text: str) -> None:
        progress(text)


@contextlib.contextmanager
def lab(cache: Path) -> Iterator[Lab]:
    """Set up, and end everything that was started.

    :raise BenchError: the product OS cannot be built, or one of the ways to run it cannot be set up.
    """
    with contextlib.ExitStack() as stack:
        base, memory = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hal-bench-", dir=place)))
            for place in (None, IN_MEMORY)
        )
        for directory in (base, memory):
            directory.chmod(0o755)  # QEMU runs as another user
        product = _product(cache, base)
        user = "nobody" if os.getuid() == 0 else ""
        console, monitor = SerialPort(user), Monitor(str(base / "bench.sock"), user)
        products = []
        for name in ("hal", "cold", "plain"):
            progress(f"setting up: {name}")
            products.append(HalProduct(base / name, memory / name, product, console.path, user, monitor.options))
            stack.callback(products[-1].end)
        plain = PlainQemu(products[2].plan_path)
        stack.callback(plain.end)
        peer = None
        if libvirt.installed():
            progress("setting up: libvirt")
            peer = Libvirt(
                base / "libvirt", memory / "libvirt", products[0].plan, product, console.path, user, monitor.options
            )
            stack.callback(peer.end)
        yield Lab(console, monitor, products[0], products[1], plain, products[2], peer)


def _product(cache: Path, base: Path) -> productos.ProductOs:
    """The demo's product OS, where any user can read it."""
    try:
        built = productos.build(cache / "product", _Say())
    except productos.BuildError as error:
        raise BenchError(str(error)) from None
    product = productos.ProductOs(base / built.kernel.name, base / built.initrd.name)
    for source, target in ((built.kernel, product.kernel), (built.initrd, product.initrd)):
        shutil.copyfile(source, target)
        target.chmod(0o644)
    return product
