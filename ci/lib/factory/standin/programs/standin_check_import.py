"""Imports modules, for %py3_check_import: [-t] [-e GLOB]… [-f FILE]… [MODULE…]."""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="check_import")
    parser.add_argument("-t", dest="top", action="store_true", help="only top-level modules")
    parser.add_argument("-e", dest="excluded", metavar="GLOB", action="append", default=[])
    parser.add_argument("-f", dest="lists", metavar="FILE", action="append", default=[])
    parser.add_argument("modules", nargs="*")
    arguments = parser.parse_args()
    names = [*arguments.modules, *(name for file in arguments.lists for name in Path(file).read_text().split())]
    wanted = [
        name
        for name in dict.fromkeys(names)
        if not (arguments.top and "." in name)
        and not any(fnmatch.fnmatchcase(name, glob) for glob in arguments.excluded)
    ]
    if not wanted:
        sys.exit("check_import: there is no module to import")
    sys.dont_write_bytecode = True
    for name in wanted:
        print(f"Check import: {name}", file=sys.stderr)
        importlib.import_module(name)


if __name__ == "__main__":
    main()
