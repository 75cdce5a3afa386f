"""The programs behind the macros of pyproject-rpm-macros: what a project needs, and what it has installed.

pyproject buildrequires [-x EXTRAS] [-R | -r] [-N] [-w] [-p] [REQUIREMENTS-FILE…]
pyproject installed BUILDROOT SITELIB RECORD
pyproject save --buildroot … MODULE-GLOB… [+auto]
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import fnmatch
import importlib
import importlib.metadata
import json
import keyword
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator, NoReturn, Optional, Sequence

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    import tomli as tomllib

# What a build needs when pyproject.toml does not say: PEP 518.
DEFAULT_BUILD_SYSTEM = {
    "requires": ["setuptools >= 40.8", "wheel"],
    "build-backend": "setuptools.build_meta:__legacy__",
}


def fail(message: str) -> NoReturn:
    sys.exit(f"pyproject: {message}")


# --- what a project needs ----------------------------------------------------------------------------------------


class Wanted:
    """Collects requirements as rpm spells them, and knows whether Python has them all already."""

    def __init__(self, extras: Sequence[str]) -> None:
        self.lines: list[str] = []
        self.missing = False
        self._extras = extras

    def add(self, texts: Sequence[str]) -> None:
        """Add what PEP 508 texts ask for, here and now."""
        # Not at the top: packaging may be one of the things that are still to be installed.
        from packaging.requirements import InvalidRequirement, Requirement

        for text in texts:
            try:
                requirement = Requirement(text)
            except InvalidRequirement as error:
                fail(f'"{text}" is no requirement: {error}')
            if requirement.url:
                fail(f'"{text}": an address cannot be a BuildRequires')
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in ["", *self._extras]):
                continue
            self._look(requirement)
            for extra in ["", *sorted(requirement.extras)]:
                name = canonical(requirement.name) + (f"[{extra}]" if extra else "")
                self.lines.append(dependency(f"python3dist({name})", requirement.specifier))

    def _look(self, requirement: Any) -> None:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            self.missing = True
            return
        if not requirement.specifier.contains(version, prereleases=True):
            self.missing = True


def canonical(name: str) -> str:
    """The one spelling of a distribution's name: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def dependency(name: str, specifier: Any) -> str:
    """An rpm dependency on some versions: several conditions become a rich dependency.

    The generator of Requires, which has to speak of versions in the same way, is rpm's: so is the conversion.
    """
    sys.path.insert(0, "/usr/lib/rpm")
    try:
        convert = importlib.import_module("pythondistdeps").convert
    finally:
        del sys.path[0]
    parts = sorted(convert(name, one.operator, one.version) for one in specifier)
    if len(parts) < 2:
        return parts[0] if parts else name
    return f"({' with '.join(parts)})"


@contextlib.contextmanager
def only_errors() -> Iterator[None]:
    """Rpmbuild reads our standard output: what a build backend says there goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def build_backend(system: dict[str, Any]) -> Any:
    """The object with the hooks of PEP 517."""
    sys.path[:0] = [os.path.abspath(path) for path in system.get("backend-path", [])] or [os.getcwd()]
    module, _, attribute = system.get("build-backend", DEFAULT_BUILD_SYSTEM["build-backend"]).partition(":")
    backend = importlib.import_module(module)
    for part in attribute.split(".") if attribute else []:
        backend = getattr(backend, part)
    return backend


def runtime_requirements(backend: Any) -> list[str]:
    """What the project's own metadata ask for."""
    with tempfile.TemporaryDirectory() as place:
        if not hasattr(backend, "prepare_metadata_for_build_wheel"):
            fail("the build backend cannot prepare metadata: -R leaves the runtime requirements out")
        with only_errors():
            name = backend.prepare_metadata_for_build_wheel(place)
        return importlib.metadata.PathDistribution(Path(place, name)).requires or []


def buildrequires(arguments: argparse.Namespace) -> None:
    extras = [extra.strip() for option in arguments.extras for extra in option.split(",")]
    lines = ["python3-devel", "python3dist(packaging)", "python3dist(pip)"]
    if sys.version_info < (3, 11):
        lines.append("python3dist(tomli)")
    print("\n".join(lines))
    try:
        importlib.metadata.version("packaging")
    except importlib.metadata.PackageNotFoundError:
        return  # the next round knows more
    wanted = Wanted(extras)
    for name in arguments.files:
        wanted.add([line for line in map(uncommented, Path(name).read_text().splitlines()) if line])
    if not arguments.no_project:
        wanted = of_project(wanted, runtime=not arguments.no_runtime)
    print("\n".join(wanted.lines))


def of_project(wanted: Wanted, runtime: bool) -> Wanted:
    """Add what the project asks for, as far as can be known with what is installed by now."""
    project = Path("pyproject.toml")
    content = tomllib.loads(project.read_text()) if project.exists() else {}
    system = content.get("build-system", DEFAULT_BUILD_SYSTEM)
    wanted.add(system["requires"])
    if wanted.missing:
        return wanted
    backend = build_backend(system)
    if hasattr(backend, "get_requires_for_build_wheel"):
        with only_errors():
            more = backend.get_requires_for_build_wheel()
        wanted.add(more)
    if not wanted.missing and runtime:
        wanted.add(runtime_requirements(backend))
    return wanted


def uncommented(line: str) -> str:
    """A line of a requirements file without its comment."""
    return re.sub(r"(^|\s)#.*", "", line).strip()


# --- what a project has installed --------------------------------------------------------------------------------


def installed(arguments: argparse.Namespace) -> None:
    """Keep the list of what pip has installed, and take pip's traces away."""
    site = Path(arguments.buildroot + arguments.sitelib)
    record: dict[str, list[str]] = {}
    for info in sorted(site.glob("*.dist-info")):
        with open(info / "RECORD", newline="") as file:
            rows = [row[0] for row in csv.reader(file) if row]
        record[f"{arguments.sitelib}/{info.name}"] = [
            os.path.normpath(os.path.join(arguments.sitelib, row)) for row in rows
        ]
        (info / "INSTALLER").write_text("rpm\n")
        for name in ("RECORD", "REQUESTED", "direct_url.json"):
            (info / name).unlink(missing_ok=True)
    if not record:
        fail(f"%pyproject_install has installed nothing below {arguments.sitelib}")
    Path(arguments.record).write_text(json.dumps(record))


def save(arguments: argparse.Namespace) -> None:
    """Write the %files of the modules that were asked for, and the names that can be imported."""
    record: dict[str, list[str]] = json.loads(Path(arguments.record).read_text())
    globs = [glob for glob in arguments.globs if not glob.startswith("+")]
    flags = {glob for glob in arguments.globs if glob.startswith("+")}
    if flags - {"+auto"}:
        fail(f"%pyproject_save_files: {', '.join(sorted(flags))}: there is only +auto")
    if not globs and not arguments.no_modules:
        fail("%pyproject_save_files: which modules?")
    files: list[str] = []
    modules: list[str] = []
    unmatched = set(globs)
    licences = 0
    for info, paths in record.items():
        metadata, count = of_metadata(info, paths, arguments.buildroot)
        files += metadata
        licences += count
        files += of_modules(paths, globs, unmatched, modules, arguments.sitelib)
        if "+auto" in flags:
            files += of_programs(paths, arguments.bindir, arguments.mandir)
    if unmatched:
        fail(f"%pyproject_save_files: no module matches {', '.join(sorted(unmatched))}")
    if arguments.licence and not licences:
        fail("%pyproject_save_files -l: no licence file is in the metadata: name it in the project's license_files")
    Path(arguments.files).write_text("".join(f"{line}\n" for line in dict.fromkeys(files)))
    Path(arguments.modules).write_text("".join(f"{name}\n" for name in sorted(set(modules))))


def of_metadata(info: str, paths: Sequence[str], buildroot: str) -> tuple[list[str], int]:
    """The lines of one .dist-info, and how many of them are licences: those that its metadata call so."""
    metadata = importlib.metadata.PathDistribution(Path(buildroot + info)).metadata
    named = metadata.get_all("License-File") or []
    licences = {f"{info}/{place}{name}" for name in named for place in ("", "licenses/")}
    lines = [f"%dir {info}"]
    count = 0
    for path in paths:
        if not path.startswith(f"{info}/") or not os.path.exists(buildroot + path):
            continue
        parent = os.path.dirname(path)
        while parent != info:
            lines.append(f"%dir {parent}")
            parent = os.path.dirname(parent)
        count += path in licences
        lines.append(f"%license {path}" if path in licences else path)
    return lines, count


def of_modules(
    paths: Sequence[str], globs: Sequence[str], unmatched: set[str], modules: list[str], sitelib: str
) -> Iterator[str]:
    """The lines of the modules that match, with what they are compiled to and the directories they are in."""
    for path in paths:
        if not path.startswith(f"{sitelib}/") or ".dist-info/" in path or path.endswith(".pyc"):
            continue
        parts = path[len(sitelib) + 1 :].split("/")
        top = parts[0].split(".")[0]
        matching = {glob for glob in globs if fnmatch.fnmatchcase(top, glob)}
        if not matching:
            continue
        unmatched -= matching
        for depth in range(1, len(parts)):
            yield f"%dir {sitelib}/{'/'.join(parts[:depth])}"
        yield path
        if path.endswith(".py"):
            directory, stem = os.path.split(path[:-3])
            tag = f"cpython-{sys.version_info[0]}{sys.version_info[1]}"
            if directory != sitelib:
                yield f"%dir {directory}/__pycache__"
            yield f"{directory}/__pycache__/{stem}.{tag}{{,.opt-?}}.pyc"
        name = module_name(parts)
        if name:
            modules.append(name)


def module_name(parts: Sequence[str]) -> Optional[str]:
    """The name to import a file by; None: it is no module, or a private one."""
    *directories, file = parts
    stem, _, suffix = file.partition(".")
    if not suffix.endswith(("py", "so")) or suffix.endswith("pyc"):
        return None
    names = [*directories, *([] if stem == "__init__" else [stem])]
    public = all(name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_") for name in names)
    return ".".join(names) if names and public else None


def of_programs(paths: Sequence[str], bindir: str, mandir: str) -> Iterator[str]:
    """The lines of programs and manual pages, which are compressed later."""
    for path in paths:
        if os.path.dirname(path) == bindir:
            yield path
        elif path.startswith(f"{mandir}/"):
            yield re.sub(r"\.(gz|bz2|xz|zst)$", "", path) + "*"


def main() -> None:
    parser = argparse.ArgumentParser(prog="pyproject")
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("buildrequires")
    verb.add_argument("-x", "--extras", action="append", default=[])
    verb.add_argument("-R", "--no-runtime", action="store_true")
    verb.add_argument("-N", "--no-project", action="store_true")
    for option in ("-r", "-w", "-p"):  # the default; metadata from a wheel, from pyproject.toml: asked the backend
        verb.add_argument(option, action="store_true")
    verb.add_argument("files", nargs="*")
    verb.set_defaults(run=buildrequires)
    verb = verbs.add_parser("installed")
    for name in ("buildroot", "sitelib", "record"):
        verb.add_argument(name)
    verb.set_defaults(run=installed)
    verb = verbs.add_parser("save")
    for name in ("buildroot", "sitelib", "bindir", "mandir", "record", "files", "modules"):
        verb.add_argument(f"--{name}", required=True)
    verb.add_argument("-l", dest="licence", action="store_true")
    verb.add_argument("-L", dest="no_licence", action="store_true")
    verb.add_argument("-M", dest="no_modules", action="store_true")
    verb.add_argument("globs", nargs="*")
    verb.set_defaults(run=save)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
