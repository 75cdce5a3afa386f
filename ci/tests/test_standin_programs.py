"""The programs that scriptlets and rpmbuild run in the stand-in OS, run here as they are there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from factory.standin.own import HERE

PROGRAMS = HERE / "programs"


def run(
    program: str, *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    interpreter = [sys.executable, "-B"] if program.endswith(".py") else ["bash"]
    return subprocess.run(
        [*interpreter, str(PROGRAMS / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )


# --- sysusers.generate-pre.sh ------------------------------------------------------------------------------------


def scriptlet(tmp_path: Path, text: str) -> str:
    (tmp_path / "x.conf").write_text(text)
    done = run("sysusers.generate-pre.sh", tmp_path / "x.conf")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_user_becomes_a_group_and_a_user(tmp_path: Path) -> None:
    text = scriptlet(tmp_path, '# comment\n\nu hal-qemu - "QEMU, confined" /var/lib/hal -\n')
    assert text.splitlines() == [
        "getent group 'hal-qemu' > /dev/null || groupadd -r 'hal-qemu' || :",
        "getent passwd 'hal-qemu' > /dev/null || useradd -r -g 'hal-qemu' -d '/var/lib/hal' "
        "-s '/usr/sbin/nologin' -c 'QEMU, confined' 'hal-qemu' || :",
    ]


def test_an_apostrophe_in_a_description_is_as_wrong_as_on_older_els(tmp_path: Path) -> None:
    text = scriptlet(tmp_path, 'u x - "the product\'s user"\n')
    assert subprocess.run(["sh", "-n", "-c", text], capture_output=True, check=False).returncode != 0


def test_numbers_groups_and_members(tmp_path: Path) -> None:
    text = scriptlet(tmp_path, "g kvm 36\nu qemu 107:36\nm qemu kvm\n")
    assert "groupadd -r -f -g 36 'kvm'" in text
    assert "useradd -r -u 107 -g '36' -d '/'" in text
    assert "usermod -a -G 'kvm' 'qemu' || :" in text
    assert "groupadd -r 'qemu'" not in text


def test_what_a_shell_would_expand_stays_a_text(tmp_path: Path) -> None:
    assert """-c '$(touch /x) `id`'""" in scriptlet(tmp_path, 'u x - "$(touch /x) `id`"\n')


def test_what_els_script_does_not_know_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text("u! x -\n")
    done = run("sysusers.generate-pre.sh", tmp_path / "x.conf")
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path}/x.conf: u!: there is no such type of line in sysusers.d\n"


# --- what rpmbuild does to a build root --------------------------------------------------------------------------


def buildroot(tmp_path: Path, **programs: str) -> Path:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    for name, text in programs.items():
        (root / "usr/bin" / name).write_text(text)
        (root / "usr/bin" / name).chmod(0o755)
    return root


def test_shebangs_are_mangled_as_on_el(tmp_path: Path) -> None:
    root = buildroot(
        tmp_path, a="#!/usr/bin/env python3\nx\n", b="#! /bin/sh -e\n", c="no program\n", d="#!/usr/bin/sh\n"
    )
    done = run("brp-mangle-shebangs", RPM_BUILD_ROOT=str(root))
    assert done.returncode == 0, done.stderr
    assert (root / "usr/bin/a").read_text() == "#!/usr/bin/python3\nx\n"
    assert (root / "usr/bin/b").read_text() == "#!/usr/bin/sh -e\n"
    assert not (root / "usr/bin/c").stat().st_mode & 0o111
    assert (root / "usr/bin/d").read_text() == "#!/usr/bin/sh\n"


def test_an_ambiguous_python_is_an_error(tmp_path: Path) -> None:
    done = run("brp-mangle-shebangs", RPM_BUILD_ROOT=str(buildroot(tmp_path, a="#!/usr/bin/env python\n")))
    assert done.returncode == 1
    assert "ERROR: ambiguous python shebang in /usr/bin/a" in done.stderr


def test_compiled_modules_have_the_time_of_the_package_and_are_the_same_each_time(tmp_path: Path) -> None:
    compiled = []
    for build in ("first", "second"):
        root = tmp_path / build
        package = root / "usr/lib/python3.11/site-packages/x"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("WORDS = {'a', 'b', 'c'}\nassert WORDS\n")
        done = run("brp-python-bytecompile", sys.executable, RPM_BUILD_ROOT=str(root), SOURCE_DATE_EPOCH="1000000000")
        assert done.returncode == 0, done.stderr
        assert (package / "__init__.py").stat().st_mtime == 1000000000
        compiled.append({path.name: path.read_bytes() for path in (package / "__pycache__").iterdir()})
    assert compiled[0] == compiled[1]
    assert len(compiled[0]) == 2  # with and without assertions
    for content in compiled[0].values():
        assert content[4:8] == b"\0\0\0\0"  # by time, not by hash: PEP 552
        assert int.from_bytes(content[8:12], "little") == 1000000000
        assert str(tmp_path).encode() not in content


def test_programs_get_the_interpreter_and_the_options_of_the_distribution(tmp_path: Path) -> None:
    texts = ("#!/build/venv/bin/python3\nx\n", "#!/usr/bin/env -S python3 -I\n", "#!/bin/sh\n", "#!python\n")
    files = [tmp_path / str(number) for number in range(len(texts))]
    for file, text in zip(files, texts):
        file.write_text(text)
    assert run("standin_shebangs.py", "/usr/bin/python3", "sP", *files).returncode == 0
    assert [file.read_text() for file in files] == [
        "#! /usr/bin/python3 -sP\nx\n",
        "#! /usr/bin/python3 -sPI\n",
        "#!/bin/sh\n",
        "#! /usr/bin/python3 -sP\n",
    ]


# --- pyproject ---------------------------------------------------------------------------------------------------

SETUP_CFG = """\
[metadata]
name = halo
version = 1.2
license_files = LICENSE
[options]
packages = halo, halo._private
install_requires =
    qemu.qmp >= 0.0.3
    tomli >= 1.1; python_version < "3.0"
[options.extras_require]
table = rich ~= 12.3
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    (place / "halo/_private").mkdir(parents=True)
    (place / "halo/__init__.py").write_text("")
    (place / "halo/broken.py").write_text("import a_module_that_does_not_exist\n")
    (place / "halo/_private/__init__.py").write_text("")
    (place / "setup.cfg").write_text(SETUP_CFG)
    (place / "LICENSE").write_text("You may.\n")
    (place / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools >= 40"]\nbuild-backend = "setuptools.build_meta"\n'
    )
    return place


def needs(project: Path, *arguments: str) -> list[str]:
    pytest.importorskip("setuptools")
    if not Path("/usr/lib/rpm/pythondistdeps.py").exists():
        pytest.skip("rpm's generator for Python is not installed")
    done = run("standin_pyproject.py", "buildrequires", *arguments, cwd=project)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_a_project_needs_is_asked_its_build_backend(project: Path) -> None:
    found = needs(project)
    assert found[:3] == ["python3-devel", "python3dist(packaging)", "python3dist(pip)"]
    assert {"python3dist(setuptools) >= 40", "python3dist(qemu-qmp) >= 0.0.3"} <= set(found)
    assert not any("tomli" in line or "rich" in line for line in found)


def test_extras_are_asked_for_and_runtime_requirements_can_be_left_out(project: Path) -> None:
    assert "(python3dist(rich) >= 12.3 with python3dist(rich) < 13)" in needs(project, "-x", "table")
    assert not any("qemu" in line for line in needs(project, "-R"))


def test_what_is_missing_ends_the_round_before_the_backend_is_asked(project: Path) -> None:
    (project / "pyproject.toml").write_text('[build-system]\nrequires = ["not-there"]\nbuild-backend = "not_there"\n')
    assert needs(project)[3:] == ["python3dist(not-there)"]


def test_requirements_files_are_read(project: Path) -> None:
    (project / "tests.txt").write_text("# for tests\npytest >= 7.0  # or so\n")
    assert needs(project, "-N", "tests.txt")[3:] == ["python3dist(pytest) >= 7"]


def install(project: Path, root: Path) -> Path:
    """What pip leaves, made by hand: the record is what counts."""
    site = root / "site"
    info = site / "halo-1.2.dist-info"
    info.mkdir(parents=True)
    files = ["halo/__init__.py", "halo/broken.py", "halo/_private/__init__.py", "halo/py.typed", "single.py"]
    for name in files:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text((project / name).read_text() if (project / name).exists() else "")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halo\nVersion: 1.2\nLicense-File: LICENSE\n")
    (info / "LICENSE").write_text("You may.\n")
    recorded = [
        *files,
        *(f"{info.name}/{name}" for name in ("METADATA", "LICENSE", "RECORD", "INSTALLER")),
        "../bin/halo",
    ]
    (info / "RECORD").write_text("".join(f"{name},sha256=x,1\n" for name in recorded))
    done = run("standin_pyproject.py", "installed", root, "/site", root / "record")
    assert done.returncode == 0, done.stderr
    return info


def save(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = {"buildroot": root, "sitelib": "/site", "bindir": "/bin", "mandir": "/man"}
    written = {"record": root / "record", "files": root / "files", "modules": root / "modules"}
    options = [text for name, value in {**places, **written}.items() for text in (f"--{name}", str(value))]
    return run("standin_pyproject.py", "save", *options, *arguments)


def test_the_files_of_the_modules_asked_for_are_listed_with_what_they_are_compiled_to(
    project: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    info = install(project, root)
    assert not (info / "RECORD").exists()
    assert (info / "INSTALLER").read_text() == "rpm\n"
    assert save(root, "-l", "halo").returncode == 0
    tag = f"cpython-{sys.version_info[0]}{sys.version_info[1]}"
    listed = (root / "files").read_text().splitlines()
    assert {
        "%dir /site/halo-1.2.dist-info",
        "%license /site/halo-1.2.dist-info/LICENSE",
        "/site/halo-1.2.dist-info/METADATA",
        "%dir /site/halo",
        "%dir /site/halo/__pycache__",
        "/site/halo/__init__.py",
        f"/site/halo/__pycache__/__init__.{tag}{{,.opt-?}}.pyc",
        "%dir /site/halo/_private",
        "/site/halo/py.typed",
    } <= set(listed)
    assert not any("single" in line or "/bin/" in line or "RECORD" in line for line in listed)
    assert (root / "modules").read_text() == "halo\nhalo.broken\n"


def test_programs_are_listed_when_asked_for(project: Path, tmp_path: Path) -> None:
    install(project, tmp_path / "root")
    assert save(tmp_path / "root", "single", "+auto").returncode == 0
    listed = (tmp_path / "root/files").read_text().splitlines()
    assert "/bin/halo" in listed
    assert "/site/single.py" in listed


def test_a_module_that_is_not_there_is_named(project: Path, tmp_path: Path) -> None:
    install(project, tmp_path / "root")
    done = save(tmp_path / "root", "halo", "hola", "holo*")
    assert done.returncode == 1
    assert done.stderr == "pyproject: %pyproject_save_files: no module matches hola, holo*\n"


def test_a_licence_that_is_not_there_is_an_error_where_one_is_asked_for(project: Path, tmp_path: Path) -> None:
    info = install(project, tmp_path / "root")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halo\nVersion: 1.2\n")
    assert save(tmp_path / "root", "halo").returncode == 0
    done = save(tmp_path / "root", "-l", "halo")
    assert done.returncode == 1
    assert done.stderr.startswith("pyproject: %pyproject_save_files -l: no licence file is in the metadata")


def test_imports_are_checked(project: Path, tmp_path: Path) -> None:
    install(project, tmp_path / "root")
    save(tmp_path / "root", "halo")
    modules, path = tmp_path / "root/modules", str(tmp_path / "root/site")
    assert run("standin_check_import.py", "-f", modules, PYTHONPATH=path).returncode == 1
    assert run("standin_check_import.py", "-f", modules, "-e", "*.broken", PYTHONPATH=path).returncode == 0
    assert run("standin_check_import.py", "-f", modules, "-t", PYTHONPATH=path).returncode == 0
    assert "no module to import" in run("standin_check_import.py", "-f", modules, "-e", "*", PYTHONPATH=path).stderr
