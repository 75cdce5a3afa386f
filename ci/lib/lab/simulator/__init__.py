"""A server that does not exist: QEMU, described, switched on, and handled as a person would handle a server."""
