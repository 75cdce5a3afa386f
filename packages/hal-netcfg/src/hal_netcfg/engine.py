"""One look at the host and what follows from it: the firewall first, then the interfaces. Synchronous.

The resident and ``hal netcfg apply`` do the same thing with it; a lock keeps them from doing it at once.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Optional

from hal_core import atomic
from hal_core.errors import HostError
from hal_netcfg import ability, names, unmanaged
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.firewall import firewall, ports
from hal_netcfg.firewall.firewall import Loaded
from hal_netcfg.firewall.rules import Guard
from hal_netcfg.hardware import Hardware
from hal_netcfg.links import apply, difference, netfilter, wanted
from hal_netcfg.links.action import Action
from hal_netcfg.links.apply import Outcome
from hal_netcfg.links.kernel import Kernel
from hal_netcfg.links.link import Group, Link
from hal_netcfg.plan import lans, product
from hal_netcfg.plan.network import Network

logger = logging.getLogger(__name__)

_LINK = (names.HOST_LINK, names.HOST_TAP)


@dataclass(frozen=True)
class Sight:
    """What one look has seen."""

    links: Mapping[str, Link]
    network: Network
    clash: str = ""  # why there can be no private link

    @property
    def product_running(self) -> bool:
        return difference.is_product_running(self.links)


class _DryRun:
    def perform(self, action: Action) -> None:
        """Nothing: it would work."""


class Engine:
    """:param run_dir: where hal-vmm's plan is, and this package's own directory below.

    :raise HostError: this process may not talk to the kernel.
    """

    def __init__(self, run_dir: str, config: NetcfgConfig, hardware: Optional[Hardware] = None) -> None:
        self._run_dir = run_dir
        self._config = config
        self._hardware = hardware or Hardware()
        self._kernel = Kernel(self._hardware.permanent, run_dir)
        self._guarded: Optional[Guard] = None  # what the firewall was last seen to be as

    @property
    def directory(self) -> str:
        return os.path.join(self._run_dir, "netcfg")

    def configure(self, config: NetcfgConfig) -> None:
        """From the next look on."""
        self._config = config

    def look(self) -> Sight:
        """:raise HalError: it cannot be known what is there, or what ought to be."""
        nics = self._hardware.nics()
        links = self._kernel.links()
        planned = product.read(self._run_dir)
        able = ability.read(self._run_dir, self._config)
        network = lans.plan(nics, planned.nics, self._config, able, planned.others)
        clash = lans.clash(network.link, _addresses_of_others(network, links))
        if clash:
            network = replace(network, problems=(clash, *network.problems))
        return Sight(links, network, clash.message if clash else "")

    def groups(self, sight: Sight) -> tuple[Group, ...]:
        every = wanted.groups(sight.network, sight.links)
        return tuple(group for group in every if not (sight.clash and group.name == wanted.HOST_LINK_GROUP))

    def apply(self, sight: Sight, skipped: frozenset[str] = frozenset()) -> tuple[Outcome, ...]:
        """Bring everything but the groups in ``skipped`` to what it ought to be; each is a whole or nothing.

        :meth:`guard` comes first: nothing is to come up without a firewall.

        :raise OSError: no permission to write what is neither netlink's nor nft's.
        """
        for switch in netfilter.switch_off():
            logger.info("%s: bridged frames are not the host's business", switch)
        products = (port.name for lan in sight.network.lans for port in lan.ports)
        unmanaged.write((*products, *sight.network.unplanned))
        groups = (group for group in self.groups(sight) if group.name not in skipped)
        outcomes = apply.apply(groups, sight.links, self._kernel)
        return (*outcomes, Outcome(wanted.HOST_LINK_GROUP, problem=sight.clash)) if sight.clash else outcomes

    def guard(self, sight: Sight, touched: bool = True) -> bool:
        """Load the firewall where it is not as it ought to be; whether that was necessary.

        :param touched: somebody may have changed it in the kernel; if not, only what is wanted can be new.
        :raise ConfigError: a file that names ports is wrong. :raise HostError: nft says no.
        """
        guard = self._guard(sight)
        if not touched and guard == self._guarded:
            return False
        self._guarded = None
        remembered = self._remembered()
        outcome = firewall.ensure(guard, remembered)
        if outcome.loaded != remembered:
            atomic.write(self._loaded_path, json.dumps(asdict(outcome.loaded)) + "\n")
        self._guarded = guard
        return outcome.changed

    def difference(self, sight: Sight) -> list[str]:
        """What :meth:`guard` and :meth:`apply` would do, in words; changes nothing."""
        found = [f"firewall: {line}" for line in firewall.difference(self._guard(sight), self._remembered())]
        for outcome in apply.apply(self.groups(sight), sight.links, _DryRun()):
            found += [f"{outcome.group}: {action}" for action in outcome.done]
            found += [f"{outcome.group}: {outcome.problem}"] if outcome.problem else []
        return found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """:raise HostError: no permission to keep a lock there."""
        try:
            os.makedirs(self.directory, exist_ok=True)
            fd = os.open(os.path.join(self.directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            hint = "run this as root" if os.getuid() else ""
            raise HostError(f"{self.directory}: {error.strerror}", hint) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def close(self) -> None:
        self._kernel.close()

    def _guard(self, sight: Sight) -> Guard:
        link = sight.network.link
        lan_ports = {
            name for lan in sight.network.lans for name in (lan.port, *(port.name for port in lan.ports)) if name
        }
        kept = {nic.name for nic in sight.network.kept}
        if not sight.network.planned:
            # Not known to be the product's: whoever is logged in there stays.
            ours = {name for name, one in sight.links.items() if wanted.lan_number(one.master) >= 0}
            kept = self._hardware.permanent().keys() - ours
        return Guard(
            link.host,
            link.product,
            link.network,
            ports.read(),
            tuple(sorted(lan_ports)),
            tuple(sorted(_with_what_is_built_on(kept, sight.links) - lan_ports)),
        )

    @property
    def _loaded_path(self) -> str:
        return os.path.join(self.directory, "firewall.json")

    def _remembered(self) -> Optional[Loaded]:
        """None, too, where the file is of another version or damaged: the firewall is then loaded anew."""
        try:
            with open(self._loaded_path, encoding="utf-8") as file:
                return Loaded(**json.load(file))
        except (OSError, ValueError, TypeError):
            return None


def _addresses_of_others(network: Network, links: Mapping[str, Link]) -> dict[str, tuple[str, ...]]:
    """Addresses that stay: those of interfaces that are neither HAL's own nor NICs of the product's."""
    ours = {*_LINK, *(port.name for lan in network.lans for port in lan.ports)}
    return {name: link.addresses for name, link in links.items() if name not in ours and wanted.lan_number(name) < 0}


def _with_what_is_built_on(kept: set[str], links: Mapping[str, Link]) -> set[str]:
    """The host's own NICs, and the VLANs, bonds and bridges that it has made of them."""
    others = {name: link for name, link in links.items() if name not in _LINK and wanted.lan_number(name) < 0}
    found = kept & others.keys()
    while True:
        masters = {others[name].master for name in found} & others.keys()
        on_top = {link.name for link in others.values() if link.lower in found}
        if masters | on_top <= found:
            return found
        found |= masters | on_top
