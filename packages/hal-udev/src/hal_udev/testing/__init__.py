"""For tests: hardware and a QEMU that do not exist."""
