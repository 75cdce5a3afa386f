"""Support for tests of every package: made-up machines and fake peers. Nothing in HAL itself imports this."""
