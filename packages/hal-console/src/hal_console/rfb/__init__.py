"""The remote framebuffer protocol (RFC 6143), as far as QEMU's VNC server and HAL need it."""
