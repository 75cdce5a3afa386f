"""``hal-vmm plan``: what the product will see of this server, or of a recorded one. Changes nothing."""

from __future__ import annotations

import json
import os
import sys

from hal_core import arguments, paths
from hal_core.errors import UsageError
from hal_vmm.launch import commandline, options
from hal_vmm.launch.commandline import Site
from hal_vmm.plan import inputs, show

USAGE = """\
usage: hal-vmm plan [--json | --qemu] [--root DIR|FILE] [--assume NAME]

Show, side by side, what this server has and what the product will see, with a reason for everything held back.
Nothing is changed.

options:
  --json         as JSON
  --qemu         QEMU's command line, quoted for a shell, one option a line
  --root PATH    of a recorded server: the tar that `hal record` wrote, or its directory
  --assume NAME  plan for this QEMU, not the one installed: debian12, el9, el10, fedora

examples:
  hal vmm plan
  hal vmm plan --root server.tar.gz --assume el9
  hal vmm plan --json | jq .held_back
"""


def main(argv: list[str]) -> int:
    """Print the plan.

    :raise HalError: it cannot be made; says why.
    """
    given = arguments.parse("hal-vmm plan", argv, {"--json", "--qemu"}, {"--root", "--assume"})
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    if "json" in given and "qemu" in given:
        raise UsageError("plan: --json and --qemu: only one of them is allowed")
    root = given.get("root", "/")
    gathered = inputs.for_planning(root, given.get("assume", ""))
    plan = gathered.plan()
    if "json" in given:
        qemu = {"name": gathered.flavour.name, "binary": gathered.flavour.binary}
        print(json.dumps({**plan.to_json(), "qemu": qemu}, indent=2))
    elif "qemu" in given:
        # A recorded server is taken to have vhost-net: every distribution's kernel does.
        vhost = root != "/" or os.path.exists("/dev/vhost-net")
        launch = commandline.compile_plan(plan, gathered.flavour, Site(paths.run_dir(), vhost))
        print("\n".join(options.lines(launch.argv)))
    else:
        sys.stdout.write(show.render(gathered.machine, plan, gathered.flavour))
    return 0
