"""The host's interfaces: what they are, what they ought to be, and the steps from one to the other."""
