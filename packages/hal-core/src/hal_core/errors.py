"""Every error HAL raises on purpose, sorted by who has to act.

::

    HalError                exit 1   something did not work
    ├── UsageError          exit 2   the command line is wrong
    ├── ConfigError         exit 78  a configuration file is wrong (EX_CONFIG, sysexits.h)
    ├── HostError           exit 1   this server is not as it must be: a missing device, no KVM, no permission
    ├── FileFormatError     exit 1   a file that HAL wrote, or was given, is damaged or not what it claims to be
    └── QmpError            exit 1   talking to QEMU failed
        ├── QmpTimeout               QEMU did not answer within the deadline: it may be hung, or only busy
        ├── QmpDisconnected          there is no QEMU at the other end (any more)
        └── QmpRefused               QEMU answered with an error

A message is one line for the engineer at 3 a.m.: what, where, what is allowed. A hint says what to do next.
"""

from __future__ import annotations


class HalError(Exception):
    """Base of all of HAL's own errors.

    :param message: one line, no trailing full stop: what went wrong and where.
    :param hint: what to do next, one line; empty where there is nothing to say.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(HalError):
    """The command line is wrong."""

    exit_status = 2


class ConfigError(HalError):
    """A configuration file is wrong. Nothing has been changed."""

    exit_status = 78


class HostError(HalError):
    """This server is not as it must be for what was asked."""


class FileFormatError(HalError):
    """A file is cut short, damaged, or of a kind that this version does not know."""


class QmpError(HalError):
    """Talking to QEMU failed."""


class QmpTimeout(QmpError):
    """QEMU did not answer within the deadline."""


class QmpDisconnected(QmpError):
    """There is no QEMU at the other end of the socket."""


class QmpRefused(QmpError):
    """QEMU answered a command with an error.

    :param error_class: QEMU's own class, "GenericError" or "DeviceNotFound" (QEMU's qapi/error.json).
    """

    def __init__(self, message: str, error_class: str = "GenericError", hint: str = "") -> None:
        super().__init__(message, hint)
        self.error_class = error_class
