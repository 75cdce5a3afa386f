"""The server's display: the kernel's framebuffer, and where on it the product's picture goes."""
