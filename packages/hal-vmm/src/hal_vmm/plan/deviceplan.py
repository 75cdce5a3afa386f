"""The rest of the product's hardware: serial ports, the channels to the host, USB, watchdog, random numbers, panic."""

from __future__ import annotations

from dataclasses import dataclass

from hal_core.machine import SerialPort
from hal_vmm.config import VmmConfig
from hal_vmm.era import Era
from hal_vmm.plan import slots
from hal_vmm.plan.held import HeldBack
from hal_vmm.qemu.flavour import Flavour

# COM1 to COM4, where every PC has had them.
_COM_PORTS = {0x3F8: 0, 0x2F8: 1, 0x3E8: 2, 0x2E8: 3}
_CHANNEL_INDEX = 3

AGENT, HEARTBEAT = "agent", "heartbeat"


@dataclass(frozen=True)
class SerialPlan:
    host: str  # "/dev/ttyS0"
    index: int  # 0 for the product's COM1
    present: bool  # False: hal.toml names it, this server does not have it; the product's port leads nowhere


@dataclass(frozen=True)
class Channel:
    """A stream between product and host, heard by the guest manager on a socket of this name."""

    name: str  # "agent" or "heartbeat"
    serial_index: int  # of the isa-serial port; -1: a virtio-serial port


@dataclass(frozen=True)
class Devices:
    serial: tuple[SerialPlan, ...]
    channels: tuple[Channel, ...]
    watchdog: str  # device type, "" for none
    rng: bool
    pvpanic: bool
    held: tuple[HeldBack, ...]
    notes: tuple[str, ...]


def plan(serial: tuple[SerialPort, ...], config: VmmConfig, era: Era, flavour: Flavour) -> Devices:
    """What the era has drivers for and this QEMU can provide."""
    held: list[HeldBack] = []
    channels = _channels(config, era)
    taken = {channel.serial_index for channel in channels}
    ports, notes = _serial(serial, config.devices.serial, taken, held)
    watchdog = era.watchdog if config.devices.watchdog else ""
    if not watchdog:
        held.append(HeldBack("watchdog", "switched off in hal.toml (vmm.devices.watchdog)"))
    elif not flavour.has(watchdog):
        held.append(HeldBack("watchdog", f"{flavour.name} has no {watchdog}"))
        watchdog = ""
    rng = era.rng and flavour.has("virtio-rng-pci") and "rng-builtin" in flavour.objects
    if not rng:
        reason = f"{flavour.name} has no virtio-rng-pci" if era.rng else f"the era {era.name} has no driver for it"
        held.append(HeldBack("random numbers", reason))
    pvpanic = flavour.has("pvpanic")
    if not pvpanic:
        held.append(HeldBack("panic notice", f"{flavour.name} has no pvpanic"))
    return Devices(ports, channels, watchdog, rng, pvpanic, tuple(held), notes)


def _channels(config: VmmConfig, era: Era) -> tuple[Channel, ...]:
    """Both as virtio ports; of an older product only one, on COM4, and none when it has no heartbeat at all.

    The agent's port of a modern product is there whatever the heartbeat is: `hal vmm stop` asks the agent first.
    """
    if era.virtio_serial:
        return Channel(AGENT, -1), Channel(HEARTBEAT, -1)
    transport = config.heartbeat.transport
    if transport == "none":
        return ()
    # "auto" means the line: the guest agent needs a newer user space than most products of this age have.
    return (Channel(AGENT if transport == "agent" else HEARTBEAT, _CHANNEL_INDEX),)


def _serial(
    ports: tuple[SerialPort, ...], wanted: tuple[str, ...], taken: set[int], held: list[HeldBack]
) -> tuple[tuple[SerialPlan, ...], tuple[str, ...]]:
    """By hal.toml's list in its order, or every port under the COM number that it has.

    The number is kept because the product's configuration says ``/dev/ttyS1``: when COM1 stays with the host, COM2 must
    not become the product's COM1.
    """
    by_path = {port.path: port for port in ports}
    automatic = "auto" in wanted
    paths = list(dict.fromkeys(path for path in wanted if path != "auto"))
    numbers = {path: index for index, path in enumerate(paths)} if not automatic else {}
    if automatic:
        rest = [port for port in ports if port.path not in paths]
        held += [
            HeldBack(port.path, "the host's own console (name it in vmm.devices.serial to give it away)")
            for port in rest
            if port.console
        ]
        free = [port for port in rest if not port.console]
        numbers.update((port.path, _COM_PORTS[port.port]) for port in free if port.port in _COM_PORTS)
        paths += [port.path for port in free]
    else:
        held += [HeldBack(port.path, "not in vmm.devices.serial") for port in ports if port.path not in numbers]
    planned, used = [], set(taken)
    # Ports with a number of their own first; the others take what is left.
    for path in sorted(paths, key=lambda path: path not in numbers):
        index = numbers.get(path, -1)
        if index < 0 or (index in used and index not in taken):
            index = next((free for free in range(slots.SERIAL_LIMIT) if free not in used), slots.SERIAL_LIMIT)
        if index in taken:
            held.append(HeldBack(path, f"the product's COM{index + 1} is its channel to the host"))
        elif index >= slots.SERIAL_LIMIT:
            held.append(HeldBack(path, f"the product has {slots.SERIAL_LIMIT - len(taken - {-1})} serial ports"))
        else:
            used.add(index)
            planned.append(SerialPlan(path, index, present=path in by_path))
    notes = tuple(
        f"{port.host}: not on this server: the product's COM{port.index + 1} leads nowhere"
        for port in planned
        if not port.present
    )
    return tuple(sorted(planned, key=lambda port: port.index)), notes
