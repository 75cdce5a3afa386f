"""One module per verb of ``hal console``."""
