"""The DVD drive is the product's: its disc, its tray and its button, also where QEMU knows no real drives."""
