"""Support for tests of every package: made-up machines, in memory and on disk. Nothing in HAL itself imports this."""
