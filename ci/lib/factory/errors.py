"""What can go wrong in the factory: everything that a person is told in one line."""

from __future__ import annotations


class FactoryError(Exception):
    """Something that the person at the keyboard can do something about: one line, no traceback."""
