"""`python -m factory`: what ci/rpms runs."""

from factory.command import start

start()
