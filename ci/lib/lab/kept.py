"""What takes long to make is made once, and kept under a name that says what it was made of."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Callable


def once(home: Path, make: Callable[[Path], None]) -> Path:
    """The file or directory that is there; if none is, what ``make`` puts at the path that it is given.

    Whole or not at all. ``make`` may use other names beside that path, which are gone afterwards.
    """
    if home.exists():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=home.parent) as directory:
        made = Path(directory, "made")
        make(made)
        try:
            made.rename(home)
        except OSError:
            if not home.is_dir():
                raise
            # Somebody else was quicker, with the same content.
    return home


def digest(words: Iterable[str], files: Iterable[Path]) -> str:
    """Sixteen characters that are others as soon as one of the words, or a file's name or content, is another."""
    total = hashlib.sha256()
    for word in words:
        total.update(f"{word}\0".encode())
    for path in files:
        total.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:16]
