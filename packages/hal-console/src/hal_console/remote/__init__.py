"""``hal console --attach``: the product's screen, keyboard and serial ports in another terminal."""
