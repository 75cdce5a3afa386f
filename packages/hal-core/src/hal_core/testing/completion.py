"""What bash would offer: a package's completion file, run without bash-completion around it."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SCRIPT = (
    'complete() { :; }; compopt() { echo FILES; }; . "$0"; COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2)); '
    '"$1"; printf "%s\\n" "${COMPREPLY[@]}"'
)


def completed(file: Path, *words: str) -> set[str]:
    """What is offered after these words, the last one of which is only begun; FILES stands for names of files.

    :param file: ``completion/hal-X.bash``, whose function is ``_hal_X``.
    :raise CalledProcessError: it does not run.
    """
    program = file.stem
    command = ["bash", "-c", _SCRIPT, str(file), f"_{program.replace('-', '_')}", program, *words]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
