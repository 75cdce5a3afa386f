"""The few options of HAL's verbs, without argparse, whose import alone takes longer than most verbs do."""

from __future__ import annotations

from collections.abc import Collection

from hal_core.errors import UsageError


def parse(verb: str, given: list[str], flags: Collection[str], valued: Collection[str]) -> dict[str, str]:
    """Options by name, without their dashes; a flag has the value "yes".

    :param flags: options without a value, ``--json``.
    :param valued: options with one, as ``--root DIR`` or ``--root=DIR``.
    :raise UsageError: an option that does not exist, or lacks its value.
    """
    options: dict[str, str] = {}
    words = iter(given)
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
                raise UsageError(f"{verb}: {name} needs a value", f"see: hal-vmm {verb} --help")
            options[name.lstrip("-")] = value
        else:
            raise UsageError(f"{verb}: unknown argument {word}", f"see: hal-vmm {verb} --help")
    return options
