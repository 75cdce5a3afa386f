"""The guest: planned from the server's hardware, launched, watched over. Nothing is imported here: see each module."""
