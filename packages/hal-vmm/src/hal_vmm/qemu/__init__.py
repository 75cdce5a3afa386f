"""What a QEMU can do: which one, with what devices, and whether KVM works."""
