"""The CPU model that the product sees: the server's own processor wherever that can work, a named one with a reason."""

from __future__ import annotations

from dataclasses import dataclass

from hal_core.errors import HostError
from hal_core.machine import Cpu
from hal_vmm.era import Era
from hal_vmm.qemu.flavour import Flavour

# By vendor, oldest first, each with the years in which it was sold: kernels of the era know it, and later processors of
# the vendor have all of its features. Opteron_G4 and G5 are not here: their XOP and FMA4 are gone since Zen.
_NAMED = {
    "GenuineIntel": ("Nehalem", "Westmere", "SandyBridge", "IvyBridge", "Haswell-noTSX", "Skylake-Server"),
    "AuthenticAMD": ("Opteron_G3", "EPYC", "EPYC-Rome", "EPYC-Milan"),
    "HygonGenuine": ("Dhyana", "EPYC"),
}
_ANY_VENDOR = ("qemu64", "kvm64")


@dataclass(frozen=True)
class Choice:
    model: str  # what -cpu takes: a name, maybe with flags, "host,-arch-capabilities"
    reason: str  # why not simply "host"; "" for host


def choose(cpu: Cpu, wanted: str, era: Era, accel: str, flavour: Flavour) -> Choice:
    """The model for what hal.toml says (``auto``, ``host`` or a name).

    :raise HostError: this QEMU does not know the model that hal.toml names.
    """
    if wanted not in ("auto", "host"):
        name = wanted.partition(",")[0]
        if flavour.cpu_model(name) is None:
            raise HostError(
                f"vmm.cpu.model = {wanted}: {flavour.name} has no CPU model {name}",
                f"see {flavour.binary} -cpu help",
            )
        if name != "host" or accel == "kvm":
            return Choice(wanted, "named in hal.toml (vmm.cpu.model)")
    if accel != "kvm":
        return Choice("max", "emulation: everything that QEMU can emulate; the server's own processor needs KVM")
    if wanted == "host" or not era.named_cpu:
        return Choice("host", "")
    named = named_model(cpu.vendor, flavour)
    if named is None:
        return Choice("host", f"{flavour.name} has no older model for {cpu.vendor or 'this processor'}")
    return Choice(named, f"named: kernels of the era {era.name} do not know newer processors")


def named_model(vendor: str, flavour: Flavour) -> str | None:
    """The oldest model that this QEMU has, is not about to lose, and this processor can be; or else any it has."""
    candidates = [model for model in map(flavour.cpu_model, _NAMED.get(vendor, _ANY_VENDOR)) if model]
    runnable = [model for model in candidates if model.runnable is not False]
    lasting = [model for model in runnable if not model.deprecated]
    best = lasting or runnable or candidates
    return best[0].name if best else None


def candidates(choice: str, vendor: str, flavour: Flavour) -> tuple[str, ...]:
    """What to try, in order, until a guest really runs.

    ``-cpu host`` can abort QEMU at start, when the host's kernel offers an MSR that it cannot write (seen in a nested
    VM). Leaving out just the feature that did it is still nearly the server's own processor; a named model is far less.
    """
    if choice != "host":
        return (choice,)
    named = named_model(vendor, flavour)
    return ("host", "host,-arch-capabilities", *((named,) if named else ()))
