"""What can go wrong in the lab, said in one line."""

from __future__ import annotations

from factory.errors import FactoryError


class LabError(FactoryError):
    """Something that the lab needs is missing, wrong, or did not happen in time; the message says what to do."""
