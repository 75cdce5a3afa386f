"""What a QEMU can do, and how it is told what to be."""
