"""The demo: HAL's main job on this machine, step by step, each with its proof and its time. See ci/demo."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

sys.path.insert(0, str(Path(__file__).parent))  # run with -I: nothing but this directory is added

import productos
from console import Console
from hal_core import table
from hal_vmm.commands.status import collect
from hal_vmm.manager.qemulock import running_pid
from hal_vmm.testing.product import private_environment

PATIENCE = 90.0  # seconds for a step; each takes a few
MISSED = 3

CONFIG = """
[vmm.heartbeat]
interval = 1
missed = {missed}
boot_grace = 2
fsck_grace = 0

[vmm.crash]
backoff = 0
hung_after = 10
limit = 10
dump_limit_mib = 512
"""


class DemoError(Exception):
    """A step did not hold; the message says what was expected."""


@dataclass(frozen=True)
class Result:
    step: str
    proof: str
    seconds: float
    held: bool


class Demo:
    def __init__(self, base: Path, product: productos.ProductOs, console: Console) -> None:
        self._base = base
        self._run_dir = base / "run"
        self._console = console
        self.environment = private_environment(base, self._run_dir)
        (base / "etc").mkdir()
        (base / "etc" / "hal.toml").write_text(
            product.config("nobody" if os.getuid() == 0 else "", console.port) + CONFIG.format(missed=MISSED)
        )
        self._manager: Optional[subprocess.Popen[bytes]] = None

    # --- HAL ------------------------------------------------------------------------------------------------------

    def _hal(self, *arguments: str) -> str:
        done = subprocess.run(["hal", *arguments], env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            raise DemoError(f"hal {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def host_comes_up(self) -> None:
        """What systemd does at boot: plan, then the guest manager, which starts QEMU."""
        self._hal("vmm", "apply")
        log = (self._base / "manager.log").open("ab")
        self._manager = subprocess.Popen(
            ["hal", "vmm", "run", "--announce", "--child"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()

    def host_goes_down(self) -> None:
        """What a host's reboot leaves: nothing of the run directory."""
        if self._manager:
            self._manager.terminate()
            self._manager.wait(PATIENCE)
            self._manager = None
        pid = running_pid(str(self._run_dir))
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._wait(lambda: running_pid(str(self._run_dir)) is None, "QEMU to end")
        shutil.rmtree(self._run_dir, ignore_errors=True)

    @property
    def status(self) -> dict[str, Any]:
        return collect(str(self._run_dir), time.monotonic())

    @property
    def manager_log(self) -> str:
        return (self._base / "manager.log").read_text()

    def _wait(self, what: Callable[[], object], explain: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > deadline:
                raise DemoError(f"waited {PATIENCE:.0f} s for {explain}; status: {self.status}\n{self.manager_log}")
            select.select([], [], [], 0.05)

    def _wait_ready(self, since: int) -> None:
        if not self._console.wait_for("PRODUCT ready", since, PATIENCE):
            raise DemoError(f"the product did not come up; status: {self.status}\n{self.manager_log}")

    def _wait_beats(self, *transports: str) -> dict[str, int]:
        def have_come() -> bool:
            counts = self.status.get("heartbeats", {})
            return all(counts.get(name, 0) >= 2 for name in transports)

        self._wait(have_come, f"heartbeats by {' and '.join(transports)}")
        beats: dict[str, int] = self.status["heartbeats"]
        return beats

    # --- the steps: each returns its proof ------------------------------------------------------------------------

    def boot(self) -> str:
        since = self._console.mark()
        self._console.live = True
        self.host_comes_up()
        self._wait_ready(since)
        self._console.live = False
        pinned = sum(1 for pin in self.status["pinning"] if pin["actual"] == [pin["cpu"]])
        return f"QEMU pid {self.status['qemu_pid']}, {pinned} vCPU(s) pinned"

    def heartbeats(self) -> str:
        beats = self._wait_beats("line", "agent")
        return ", ".join(f"{count} by {name}" for name, count in beats.items())

    def _restarted(self, since: int, before: int, reason: str) -> str:
        self._wait_ready(since)
        self._wait(lambda: self.status["qemu_pid"] not in (before, None), "another QEMU")
        found = self.status["last_exit"].get("reason")
        if found != reason:
            raise DemoError(f"the run ended by {found}, not by {reason}")
        return f"{reason}: QEMU {before} → {self.status['qemu_pid']}"

    def hang(self) -> str:
        self._wait_beats("line")
        since, before = self._console.mark(), self.status["qemu_pid"]
        self._console.type("hang")
        return self._restarted(since, before, "heartbeats-missed") + f" after {MISSED} beats"

    def kill_qemu(self) -> str:
        since, before = self._console.mark(), self.status["qemu_pid"]
        os.kill(before, signal.SIGKILL)
        return self._restarted(since, before, "qemu-died")

    def panic(self) -> str:
        since, before = self._console.mark(), self.status["qemu_pid"]
        self._console.type("crash")
        proof = self._restarted(since, before, "guest-panic")
        dumps = list((self._base / "state" / "vmm" / "dumps").glob("*.kdump"))
        if len(dumps) != 1:
            raise DemoError(f"one memory dump was expected, found {dumps}")
        return f"{proof}, {dumps[0].stat().st_size / (1 << 20):.0f} MiB dump"

    def reboot(self) -> str:
        return self._asks_host("reboot -f", "reboot", "guest-reset")

    def power_off(self) -> str:
        since = self._console.mark()
        self.host_goes_down()
        self.host_comes_up()
        self._wait_ready(since)
        return self._asks_host("poweroff -f", "power-off", "guest-shutdown")

    def _asks_host(self, command: str, ending: str, reason: str) -> str:
        self._console.type(command)
        self._wait(lambda: self.status["state"] == f"host {ending}", f"the host's {ending} to be announced")
        noted = json.loads((self._base / "state" / "vmm" / "last-exit.json").read_text())
        if noted["reason"] != reason:
            raise DemoError(f"the reason on disk is {noted['reason']}, not {reason}")
        announced = [line for line in self.manager_log.splitlines() if "only announced" in line]
        if not announced:
            raise DemoError("nothing was announced")
        return announced[-1].split(": ", 1)[1]


STEPS: list[tuple[str, Callable[[Demo], str]]] = [
    ("the product boots", Demo.boot),
    ("heartbeats arrive", Demo.heartbeats),
    ("the product hangs → restarted", Demo.hang),
    ("kill -9 of QEMU → running again", Demo.kill_qemu),
    ("the product panics → dump, restarted", Demo.panic),
    ("product: reboot → host would reboot", Demo.reboot),
    ("product: poweroff → host would power off", Demo.power_off),
]


def run_steps(demo: Demo) -> list[Result]:
    """All steps, up to and including the first that does not hold."""
    results: list[Result] = []
    for name, step in STEPS:
        print(f"\n==> {name}", flush=True)
        begun = time.monotonic()
        try:
            proof, held = step(demo), True
        except DemoError as error:
            proof, held = str(error), False
        results.append(Result(name, proof.splitlines()[0][:100], time.monotonic() - begun, held))
        print(f"    {proof}", flush=True)
        if not held:
            break
    return results


def keep_running(demo: Demo) -> None:
    """Start the product once more and leave it be until ^C."""
    demo.host_goes_down()
    demo.host_comes_up()
    exports = "\n".join(
        f"  export {name}={demo.environment[name]}"
        for name in ("HAL_RUN_DIR", "HAL_STATE_DIR", "HAL_CONFIG_DIR", "HAL_DEFAULTS_DIR")
    )
    print(
        f"\nThe product is running again. Look around from another terminal, in this directory:\n\n{exports}\n"
        "  ci/hal vmm status          how it is doing\n"
        "  ci/hal vmm plan --qemu     what QEMU was told\n"
        "  ci/hal vmm maintenance on --for 10min\n"
        "  ci/hal vmm reset           its reset button\n"
        "  ci/hal vmm stop            end it politely\n\n"
        "Press ^C here to end it all.",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def main() -> int:
    # However it is told to end, and even when a script started it with ^C ignored: nothing is left running.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    cache, keep = Path(sys.argv[1]), "--keep" in sys.argv[2:]
    begun = time.monotonic()
    print("==> this very machine, and what a product would see of it", flush=True)
    if subprocess.run(["hal", "vmm", "plan"], check=False).returncode:
        raise DemoError("this machine cannot be planned for; the line above says why")
    print("\n==> a small product OS from this distribution's kernel and busybox", flush=True)
    product = productos.build(cache / "product", productos.Say())
    print(f"    {product.initrd.stat().st_size >> 10} KiB initrd, kernel {product.kernel.stat().st_size >> 20} MiB")
    print("    The demo keeps its hands off this machine: no disk, no network; host actions are only announced.")
    with tempfile.TemporaryDirectory(prefix="hal-demo-") as directory:
        Path(directory).chmod(0o711)  # QEMU, another user, passes through to its event journal
        demo = Demo(Path(directory), product, Console())
        try:
            results = run_steps(demo)
            held = len(results) == len(STEPS) and all(result.held for result in results)
            rows = [
                (result.step, "held" if result.held else "FAILED", f"{result.seconds:.1f} s", result.proof)
                for result in results
            ]
            print(f"\n{table.render(('STEP', 'RESULT', 'TIME', 'PROOF'), rows)}")
            print(
                f"\n{'All steps held' if held else 'NOT all steps held'}, {time.monotonic() - begun:.0f} s in all.",
                flush=True,
            )
            if keep and held:
                keep_running(demo)
        finally:
            demo.host_goes_down()
    return 0 if held else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (productos.BuildError, DemoError) as error:
        sys.exit(f"ci/demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
