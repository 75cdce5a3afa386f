"""What may pass between the product, its host and the LANs: nftables rules, and keeping them loaded."""
