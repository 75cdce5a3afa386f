"""python -m lab: see :mod:`lab.command`."""

from lab.command import start

start()
