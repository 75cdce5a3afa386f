"""The lab: a whole server inside QEMU, with HAL on its internal USB key and a product on its disks."""
