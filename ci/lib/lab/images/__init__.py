"""Disk images: what is on the simulated server's key and disks."""
