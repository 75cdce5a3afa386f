"""What everything is called: names of interfaces and addresses that other packages, and people, rely on."""

from __future__ import annotations

#: LAN N is the bridge hallanN, with the NIC (or the bond halbondN) on one side and the product's tap haltapN on the
#: other.
LAN_BRIDGE = "hallan"
LAN_TAP = "haltap"
BOND = "halbond"

#: Not an interface but the place of one, where the product has the NIC itself, or a virtual function of it.
DIRECT = "haldirect"

#: The host-only link: a bridge with the host's address, and the product's tap.
HOST_LINK = "halint"
HOST_TAP = "haltapint"

# Locally administered; the middle spells HAL in ASCII. The link leaves neither the host nor the product.
HOST_LINK_MAC = "02:48:41:4c:00:01"
PRODUCT_LINK_MAC = "02:48:41:4c:00:02"

#: The firewall's word for frames from a LAN that have the link's addresses.
LINK_ON_LAN = "dropped: link address, from a LAN"
