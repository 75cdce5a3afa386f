"""Hot-swap bays: a disk that is pulled leaves the product, and the one that comes in its place takes its slot."""
