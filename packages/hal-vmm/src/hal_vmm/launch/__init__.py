"""From a plan to a running QEMU: `commandline` compiles the launch plan, `launcher` becomes QEMU by it."""
