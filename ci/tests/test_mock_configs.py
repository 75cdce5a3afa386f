"""mock-configs/ are what mock expects: asked of a fake mock here, and of the real one wherever it is installed.

The fake does what mock 6's loader does with configuration files, as far as ours depend on it (include(),
update_config_from_file() and load_config() in mock/py/mockbuild/config.py). In the place of mock-core-configs it has
made-up templates. It expands no Jinja.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "mock-configs"
THIN = sorted(path for path in CONFIGS.glob("*.cfg") if path.name != "local.cfg")
PASTED = [*sorted((CONFIGS / "templates").glob("*.tpl")), CONFIGS / "local.cfg"]
TARGETS = {"el9": "el9", "el10": "el10", "fedora-43": "fc43", "fedora-44": "fc44", "fedora-45": "fc45"}
PROCESSORS = ("x86_64", "aarch64")
MOCKS_OWN_KEYS = {"user_agent", "releasever", "dist", "target_arch"}  # that may stand in {{ }} without being ours

EL_TEMPLATE = """
config_opts['chroot_setup_cmd'] = 'install bash rpm-build'
config_opts['dist'] = 'el{0}.alma'
config_opts['releasever'] = '{0}'
config_opts['dnf.conf'] = '''
[main]
gpgcheck=0

[baseos]
baseurl=https://official.example/{0}/baseos
gpgcheck=1
'''
"""
EPEL_TEMPLATE = """
config_opts['chroot_setup_cmd'] += ' epel-rpm-macros'
config_opts['dnf.conf'] += '''
[epel]
baseurl=https://official.example/epel
gpgcheck=1
'''
"""
FEDORA_TEMPLATE = """
config_opts['root'] = 'fedora-{{ releasever }}-{{ target_arch }}'
config_opts['dist'] = 'fc{{ releasever }}'
config_opts['mirrored'] = config_opts['target_arch'] != 'i686'
config_opts['dnf.conf'] = '''
[main]
gpgcheck=0

[fedora]
baseurl=https://official.example/fedora
gpgcheck=1
'''
"""
FAKE_TEMPLATES = {
    "almalinux-9.tpl": EL_TEMPLATE.format(9),
    "almalinux-10.tpl": EL_TEMPLATE.format(10),
    "epel-9.tpl": EPEL_TEMPLATE,
    "epel-z-10.tpl": EPEL_TEMPLATE,
    "fedora-branched.tpl": FEDORA_TEMPLATE,
}


class FakeMock:
    """Not mock: a fake of its loader, for machines that have none. Relative includes are searched in *config_path*."""

    INCLUDE = re.compile(r"^\s*include\((.*)\)", re.MULTILINE)

    def __init__(self, config_path: Path) -> None:
        self.config_path = config_path

    def load(self, config: Path, site_defaults: str = "") -> dict[str, Any]:
        """What `mock -r config --debug-config` knows at its end, unexpanded."""
        config_opts: dict[str, Any] = {
            "macros": {"%_topdir": "/builddir/build"},
            "target_arch": "i386",
            "rpmbuild_networking": False,
            "use_host_resolv": False,
            "use_bootstrap_image": True,
        }
        exec(site_defaults, {"config_opts": config_opts})  # noqa: S102
        content = self.include(str(config.resolve()), set())
        exec(content, {"os": os, "config_opts": config_opts, "config_file": str(config.resolve())})  # noqa: S102
        assert "root" in config_opts, "mock: option config_opts['root'] must be present in your config."
        assert all(value for value in config_opts["macros"].values()), "mock: Bad macros"
        return config_opts

    def include(self, config_file: str, included: set[str]) -> str:
        """Return the file's text, every include in it replaced by what it names: any Python expression."""
        config_file = os.path.join(self.config_path, config_file)
        if config_file in included:
            return ""
        included.add(config_file)
        assert os.path.exists(config_file), f"mock: Could not find included config file: {config_file}"
        content = Path(config_file).read_text()
        for argument in self.INCLUDE.findall(content):
            found = eval(argument, {"os": os, "config_file": config_file})
            content = self.INCLUDE.sub(self.include(found, included), content, count=1)
        return content


@pytest.fixture
def mock(tmp_path: Path) -> FakeMock:
    templates = tmp_path / "etc/mock/templates"
    templates.mkdir(parents=True)
    for name, text in FAKE_TEMPLATES.items():
        (templates / name).write_text(text)
    return FakeMock(templates.parent)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of mock-configs/ in a checkout of its own, to change something in."""
    shutil.copytree(CONFIGS, tmp_path / "checkout/mock-configs")
    return tmp_path / "checkout"


def sections(dnf_conf: str) -> dict[str, dict[str, str]]:
    """What dnf is told, by section; lines that are Jinja's own are left out."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in dnf_conf.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            assert section not in found, f"[{section}] twice"
            found[section] = {}
        elif "=" in line and not line.startswith("{%"):
            key, _, value = line.partition("=")
            found[section][key.strip()] = value.strip()
    return found


def uncommented(sample: str) -> str:
    """local.cfg with every example in it in force: those that are code begin with "#" and no space."""
    return re.sub(r"^#(?! )", "", sample, flags=re.MULTILINE)


def test_every_target_has_a_config_for_every_processor() -> None:
    assert {path.stem for path in THIN} == {f"hal-{name}-{arch}" for name in TARGETS for arch in PROCESSORS}


@pytest.mark.parametrize("config", THIN, ids=lambda path: path.stem)
def test_a_config_is_thin(config: Path) -> None:
    assert len(ast.parse(config.read_text()).body) <= 6


@pytest.mark.parametrize("config", THIN, ids=lambda path: path.stem)
def test_names_are_those_of_the_file(config: Path, mock: FakeMock) -> None:
    options = mock.load(config)
    name, _, processor = config.stem.removeprefix("hal-").rpartition("-")
    assert options["root"] == config.stem
    assert options["target_arch"] == processor
    assert options["legal_host_arches"] == (processor,)
    assert options["dist"].replace("{{ releasever }}", options["releasever"]) == TARGETS[name]


@pytest.mark.parametrize("config", THIN, ids=lambda path: path.stem)
def test_the_os_has_all_its_repositories_and_then_hal(config: Path, mock: FakeMock) -> None:
    options = mock.load(config)
    expected = ["main", "fedora", "hal"] if "fedora" in config.stem else ["main", "baseos", "epel", "hal"]
    repositories = sections(options["dnf.conf"])
    assert list(repositories) == expected
    assert all(repositories[name]["gpgcheck"] == "1" for name in expected[1:-1])
    assert options["hal_repository"] == f"file://{ROOT}/dist/{{{{ dist }}}}"
    assert repositories["hal"]["baseurl"] == "{{ hal_repository }}"


@pytest.mark.parametrize("config", THIN, ids=lambda path: path.stem)
def test_hals_packages_are_checked_as_soon_as_a_key_is_named(config: Path, mock: FakeMock) -> None:
    options = mock.load(config)
    hal = sections(options["dnf.conf"])["hal"]
    assert options["hal_gpgkey"] == ""
    assert hal["gpgcheck"] == "{{ hal_gpgkey != '' }}"
    assert hal["gpgkey"] == "{{ hal_gpgkey }}"


def test_what_was_just_built_is_preferred_to_the_repository(mock: FakeMock) -> None:
    """It comes with --addrepo, in a section that names no priority."""
    hal = sections(mock.load(CONFIGS / "hal-el9-x86_64.cfg")["dnf.conf"])["hal"]
    assert not {"priority", "cost"} & set(hal)


def test_the_repository_is_that_of_the_checkout_the_config_is_in(mock: FakeMock, checkout: Path) -> None:
    options = mock.load(checkout / "mock-configs/hal-el9-x86_64.cfg")
    assert options["hal_repository"].startswith(f"file://{checkout}/dist/")


def test_a_build_has_no_network_whatever_the_site_says(mock: FakeMock) -> None:
    site = "config_opts['rpmbuild_networking'] = True; config_opts['use_host_resolv'] = True"
    options = mock.load(CONFIGS / "hal-el9-x86_64.cfg", site)
    assert not options["rpmbuild_networking"]
    assert not options["use_host_resolv"]


def test_what_a_package_says_of_its_build_is_the_same_everywhere(mock: FakeMock) -> None:
    macros = mock.load(CONFIGS / "hal-el9-x86_64.cfg")["macros"]
    assert macros["%_buildhost"] == "hal.invalid"
    assert macros["%source_date_epoch_from_changelog"] == "1"
    assert macros["%_topdir"] == "/builddir/build", "mock's own macros have to stay"


@pytest.mark.parametrize("path", PASTED, ids=lambda path: path.name)
def test_nothing_pasted_has_a_backslash(path: Path) -> None:
    """An included file is pasted in as a replacement text of re.sub(), which would eat them."""
    assert "\\" not in path.read_text()


def test_jinja_only_names_options_that_there_are(mock: FakeMock) -> None:
    for config in THIN:
        options = mock.load(config)
        ours = options["dnf.conf"].partition("[hal]")[2] + options["hal_repository"] + options["description"]
        named = set(re.findall(r"\{\{ (\w+)", ours))
        assert named >= {"dist", "hal_repository", "hal_gpgkey"}
        assert named - MOCKS_OWN_KEYS <= set(options)


def test_local_cfg_is_shipped_with_nothing_in_force() -> None:
    assert ast.parse((CONFIGS / "local.cfg").read_text()).body == []


def test_local_cfg_is_optional(mock: FakeMock, checkout: Path) -> None:
    config = checkout / "mock-configs/hal-fedora-44-x86_64.cfg"
    with_it = mock.load(config)
    (checkout / "mock-configs/local.cfg").unlink()
    assert mock.load(config) == with_it


@pytest.mark.parametrize("name", ["hal-el9-x86_64", "hal-el10-aarch64", "hal-fedora-44-x86_64"])
def test_the_examples_in_local_cfg_hold_together(name: str, mock: FakeMock, checkout: Path) -> None:
    """All of them at once: a mirror, and then no server but the mirror is asked."""
    local = checkout / "mock-configs/local.cfg"
    local.write_text(uncommented(local.read_text()))
    options = mock.load(checkout / f"mock-configs/{name}.cfg")
    repositories = sections(options["dnf.conf"])
    main = repositories.pop("main")
    assert main["reposdir"] == "/dev/null"
    assert main["gpgcheck"] == "1"
    assert list(repositories) == ["baseos", "appstream", "crb", "epel", "fedora", "updates", "hal"]
    assert options["hal_repository"] == "https://mirror.example.com/hal/{{ dist }}"
    for repository in repositories.values():
        assert repository["baseurl"].startswith(("{{ mirror }}/", "{{ hal_repository }}"))
        assert repository["gpgkey"]
    assert "official.example" not in options["dnf.conf"]
    assert options["use_bootstrap_image"] is False
    assert {"mirror", "http_proxy", "https_proxy"} <= set(options)


def test_one_more_repository_is_one_example(mock: FakeMock, checkout: Path) -> None:
    local = checkout / "mock-configs/local.cfg"
    example = re.search(r"^#config_opts\['dnf.conf'\] \+= .*?^#\"\"\"$", local.read_text(), re.MULTILINE | re.DOTALL)
    assert example is not None
    local.write_text(uncommented(example[0]) + "\n")
    repositories = sections(mock.load(checkout / "mock-configs/hal-el9-x86_64.cfg")["dnf.conf"])
    assert list(repositories) == ["main", "baseos", "epel", "acme", "hal"]


def test_the_fake_is_as_strict_as_mock(mock: FakeMock, checkout: Path) -> None:
    (checkout / "mock-configs/templates/hal.tpl").unlink()
    with pytest.raises(AssertionError, match="Could not find included config file"):
        mock.load(checkout / "mock-configs/hal-el9-x86_64.cfg")


@pytest.mark.skipif(shutil.which("mock") is None, reason="mock is not installed")
@pytest.mark.parametrize("config", THIN, ids=lambda path: path.stem)
def test_the_real_mock_accepts_it(config: Path) -> None:
    run = subprocess.run(
        ["mock", "-r", str(config), "--debug-config-expanded"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert f"config_opts['root'] = '{config.stem}'" in run.stdout
    dist = TARGETS[config.stem.removeprefix("hal-").rpartition("-")[0]]
    assert f"baseurl=file://{ROOT}/dist/{dist}" in run.stdout
