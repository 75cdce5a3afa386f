"""``hal-X VERB …``: each verb is a module of its own, and only that one is imported."""

from __future__ import annotations

import sys

from hal_core.errors import UsageError

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping


class Program:
    """A program of verbs.

    :param name: "hal-vmm". :param package: where its verbs' modules are, "hal_vmm.commands".
    :param verbs: verb → module, and what it does in one line.
    :param purpose: one sentence. :param pages: its manual pages. :param examples: commands, one line each.
    :param with_verb: modules that have several verbs, and want to be told which.
    """

    def __init__(
        self,
        name: str,
        package: str,
        verbs: Mapping[str, tuple[str, str]],
        purpose: str,
        pages: str,
        examples: tuple[str, ...],
        with_verb: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.verbs = verbs
        self._package = package
        self._purpose = purpose
        self._pages = pages
        self._examples = examples
        self._with_verb = with_verb

    def main(self, arguments: list[str]) -> int:
        """Run one verb.

        :raise UsageError: there is no such verb.
        """
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            sys.stdout.write(self.usage())
            return 0 if arguments else 2
        verb = arguments[0]
        if verb not in self.verbs:
            raise UsageError(f"unknown verb {verb}", f"there are: {', '.join(self.verbs)}")
        module_name = self.verbs[verb][0]
        # importlib would be one more import
        module = __import__(f"{self._package}.{module_name}", fromlist=["main"])
        status: int = module.main(arguments if module_name in self._with_verb else arguments[1:])
        return status

    def usage(self) -> str:
        verbs = "".join(f"  {verb:<12} {text}\n" for verb, (_, text) in self.verbs.items())
        examples = "".join(f"  {example}\n" for example in self._examples)
        return (
            f"usage: {self.name} VERB [OPTION…]     (or: {self.name.replace('-', ' ', 1)} VERB …)\n\n"
            f"{self._purpose}\n\n{verbs}\nEach has --help. Manual pages: {self._pages}.\n\nexamples:\n{examples}"
        )
