"""The few options of HAL's verbs, without argparse, whose import alone takes longer than most verbs do."""

from __future__ import annotations

from hal_core.errors import UsageError

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from collections.abc import Collection


def parse(command: str, given: list[str], flags: Collection[str], valued: Collection[str]) -> dict[str, str]:
    """Options by name, without their dashes; a flag has the value "yes".

    :param command: program and verb, for messages: "hal-vmm plan".
    :param flags: options without a value, ``--json``.
    :param valued: options with one, as ``--root DIR`` or ``--root=DIR``.
    :raise UsageError: an option that does not exist, or lacks its value.
    """
    options: dict[str, str] = {}
    words = iter(given)
    verb = command.rpartition(" ")[2]
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("-h", "--help"):
            options["help"] = "yes"
        elif name in flags and not equals:
            options[name.lstrip("-")] = "yes"
        elif name in valued:
            if not equals:
                value = next(words, "")
            if not value:
                raise UsageError(f"{verb}: {name} needs a value", f"see: {command} --help")
            options[name.lstrip("-")] = value
        else:
            raise UsageError(f"{verb}: unknown argument {word}", f"see: {command} --help")
    return options
