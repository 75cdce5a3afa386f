"""Residents carry no OpenSSL, and whoever needs it still gets it. In a process each: imports happen once."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded(program: str) -> set[str]:
    """The modules that are there at the program's end."""
    return set(run(f"{program}\nimport sys; print(*sys.modules)").split())


def test_qmp_works_without_openssl() -> None:
    modules = loaded("from hal_core import no_tls; no_tls.load(); import asyncio, hal_core.qmp")
    assert {"asyncio", "qemu.qmp", "hal_core.qmp"} <= modules
    assert not {"ssl", "_ssl", "_hashlib"} & modules


def test_otherwise_it_would_be_there() -> None:
    """So the test above can fail."""
    assert "_ssl" in loaded("import hal_core.qmp")


def test_ssl_can_be_imported_later() -> None:
    assert run("from hal_core import no_tls; no_tls.load(); import ssl; print(ssl.SSLWantReadError.__name__)")


@pytest.mark.parametrize("earlier", ["ssl", "asyncio", "hal_core.qmp"])
def test_what_is_loaded_already_is_left_alone(earlier: str) -> None:
    modules = loaded(
        f"import {earlier}; from hal_core import no_tls; no_tls.load(); import ssl; ssl.create_default_context"
    )
    assert "_ssl" in modules


def test_an_event_loop_serves_unix_sockets() -> None:
    program = """
from hal_core import no_tls; no_tls.load()
import asyncio, os, tempfile

async def main():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "socket")
        server = await asyncio.start_unix_server(lambda _, writer: (writer.write(b"hello"), writer.close()), path)
        reader, writer = await asyncio.open_unix_connection(path)
        print((await reader.read()).decode())
        writer.close()
        server.close()

asyncio.run(main())
"""
    assert run(program) == "hello"
