"""One module per verb of ``hal udev``."""
