"""The simulated server's screen, read as text."""
