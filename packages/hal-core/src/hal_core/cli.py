"""What every HAL command does alike: errors in one line, exit status, a closed pipe, ^C.

Exit status: 0 done, 1 failed, 2 usage, 78 configuration; 130 after ^C, as a shell has it.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

from hal_core.errors import HalError

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from collections.abc import Callable


def run(program: str, main: Callable[[list[str]], int]) -> int:
    """Call ``main`` with the arguments and turn what comes out into an exit status.

    An ``OSError`` that nobody expected is shown as one line too: it names its file, and a traceback would not help.
    """
    # An interpreter that ends looks through all objects once more for what could be freed, a moment before the kernel
    # frees everything: 15 of the 125 ms that a program takes from start to end which only imports hal-netcfg's engine.
    atexit.register(gc.freeze)
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except HalError as error:
        complain(program, error.message, error.hint)
        return error.exit_status
    except BrokenPipeError:
        # The reader went away (| head): say nothing, now or at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        hint = "run this as root" if isinstance(error, PermissionError) and os.getuid() else ""
        complain(program, f"{error.filename}: {error.strerror}" if error.filename else str(error), hint)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def complain(program: str, message: str, hint: str = "") -> None:
    """One line on standard error for what is wrong, and one for what to do next."""
    sys.stderr.write(f"{program}: {message}\n" + (f"{program}: hint: {hint}\n" if hint else ""))
