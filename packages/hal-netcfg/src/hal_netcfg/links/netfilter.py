"""Keeping the host's firewall out of the LANs: frames on a bridge are not the host's business.

A kernel with br_netfilter shows every bridged packet to its IP firewall unless it is told not to, for all bridges at
once (Documentation/networking/ip-sysctl.rst, /proc/sys/net/bridge). Somebody may load the module at any time.
"""

from __future__ import annotations

from collections.abc import Iterator

from hal_netcfg.links import kernelfile

_DIRECTORY = "/proc/sys/net/bridge"
_SWITCHES = ("bridge-nf-call-arptables", "bridge-nf-call-ip6tables", "bridge-nf-call-iptables")


def switch_off() -> Iterator[str]:
    """Switch it off where it is on; yields what was changed, in words.

    :raise OSError: not permitted.
    """
    for name in _SWITCHES:
        path = f"{_DIRECTORY}/{name}"
        try:
            with open(path) as file:
                on = file.read().strip() != "0"
        except FileNotFoundError:
            continue  # no br_netfilter here
        if on:
            kernelfile.write(path, "0")
            yield f"{name} off"
