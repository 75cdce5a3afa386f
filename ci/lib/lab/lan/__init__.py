"""The other end of the simulated server's network cables."""
