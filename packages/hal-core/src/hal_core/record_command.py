"""``hal record``: put a server into a file, for whoever has to make HAL work on it."""

from __future__ import annotations

import argparse
import os
import sys

from hal_core import cli, facts, record

_EPILOG = """\
examples:
  hal record r910.tar.xz                              this server
  hal record --anonymize r910.tar.xz                  the same without serial numbers and MACs
  hal record --root r910.tar.xz --anonymize anon.tar.xz

The recording holds the files that 'hal facts' reads, and no others. 'hal facts --root FILE' shows what is in it.
With --anonymize, serial numbers, asset tags, MACs, WWNs, UUIDs, labels and volume names are replaced: the same one by
the same everywhere in the file, by others in the next file. Models, sizes, addresses and interface names stay.
Run it as root: serial numbers are for root only.

Exit status: 0 done, 1 failed, 2 usage. See hal(1).
"""


def main(arguments: list[str]) -> int:
    """The command; returns its exit status.

    :raise UsageError: the file's name does not say which kind of tar it is to be.
    :raise HostError: the file cannot be written, or there is nothing at ``--root``.
    :raise FileFormatError: what is there is not a recorded machine.
    """
    options = _parser().parse_args(arguments)
    recording = record.record(options.file, options.root, options.anonymize)
    print(f"{options.file}: {len(recording.files)} files, {os.path.getsize(options.file)} bytes")
    missing = len(recording.files.get(facts.UNREADABLE, b"").splitlines())
    if missing:
        cli.complain("hal-record", f"{missing} files could not be read and are missing from it", "run it as root")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hal record",
        description="Record what this server is, as a tar that 'hal facts' and 'hal vmm plan' read with --root.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="NAME.tar, .tar.gz, .tar.bz2 or .tar.xz; replaced if it exists")
    parser.add_argument("--anonymize", action="store_true", help="replace what identifies the server and its parts")
    parser.add_argument("--root", default="/", metavar="DIR|TAR", help="record a recorded machine again, not this one")
    return parser


if __name__ == "__main__":
    sys.exit(cli.run("hal-record", main))
