"""From the compiled plan to a running QEMU."""
