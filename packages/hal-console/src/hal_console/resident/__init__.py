"""The resident, ``hal console run``."""
