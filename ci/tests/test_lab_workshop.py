"""Where servers come from: what makes two of them the same, and what their hosts are told. Nothing is made here."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hal_core import config, config_files
from hal_vmm.config import VmmConfig
from lab import workshop
from lab.errors import LabError
from lab.images import product
from lab.ingredients import Ingredients
from lab.simulator import files, installed, server, snapshot
from lab.simulator.machine import Machine
from lab.simulator.server import Server
from lab.workshop import Workshop


class FakeIngredients(Ingredients):
    """Names of images."""

    def __init__(self, key: str = "host1", products: str = "1") -> None:
        self._key, self._products = key, products

    @property
    def key(self) -> Path:
        return Path(f"/images/{self._key}.img")

    def product(self, kind: str) -> Path:
        assert kind in product.KINDS
        return Path(f"/images/product-{kind}-{self._products}.img")

    def next_release(self) -> list[Path]:
        return []


class FakeSite:
    """A site that writes down what is done to it."""

    def __init__(self, description: Server, done: list[str]) -> None:
        self.server = SimpleNamespace(server=description, power_on=lambda: done.append("power on"))
        self.product = SimpleNamespace(wait_until_ready=lambda _: done.append("product is up"))
        shell = SimpleNamespace(wait_until_up=lambda _: done.append("host is up"))
        self.host = SimpleNamespace(shell=shell, qmp=done.append)

    def __enter__(self) -> FakeSite:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def shop(cache: Path, ingredients: Ingredients, accel: str = "tcg") -> Workshop:
    return Workshop(ingredients, cache, accel, lambda _: None)


@pytest.fixture(autouse=True)
def qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "qemu_version", lambda: "QEMU emulator version 7.2")


@pytest.fixture
def one_u() -> Server:
    return server.load(server.shipped()["one-u"])


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, one_u: Server, tmp_path: Path) -> list[str]:
    """What happens, in order."""
    happened: list[str] = []

    def new(self: Workshop, description: Server, place: Path) -> Any:
        place.mkdir()
        return FakeSite(description, happened)

    def save(machine: Machine, directory: Path) -> None:
        happened.append("saved")
        directory.mkdir()

    def restore(directory: Path, place: Path) -> Any:
        assert directory.exists()
        assert not place.exists(), "the place of the one that was saved"
        happened.append("restored")
        return SimpleNamespace(server=one_u)

    monkeypatch.setattr(Workshop, "new", new)
    monkeypatch.setattr(snapshot, "save", save)
    monkeypatch.setattr(snapshot, "restore", restore)
    monkeypatch.setattr(workshop, "Site", lambda machine: FakeSite(machine.server, happened))
    return happened


def test_a_server_is_saved_elsewhere_as_soon_as_anything_is_different(
    tmp_path: Path, one_u: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(ingredients: Ingredients, description: Server = one_u, accel: str = "tcg") -> Path:
        return shop(tmp_path, ingredients, accel)._saved(description)

    same = place(FakeIngredients())
    assert place(FakeIngredients()) == same
    assert same.parent == tmp_path
    assert same.name.startswith("host1-one-u-")

    others = [
        place(FakeIngredients(key="host2")),
        place(FakeIngredients(products="2")),
        place(FakeIngredients(), replace(one_u, toml=one_u.toml + "# a comment\n")),
        place(FakeIngredients(), replace(one_u, name="two-u")),
        place(FakeIngredients(), accel="kvm"),
    ]
    monkeypatch.setattr(workshop, "_HAL_TOML", workshop._HAL_TOML + "# a comment\n")
    others.append(place(FakeIngredients()))
    monkeypatch.undo()
    monkeypatch.setattr(installed, "qemu_version", lambda: "QEMU emulator version 8.2")
    others.append(place(FakeIngredients()))
    assert len({same, *others}) == 1 + len(others)


def test_every_product_has_a_server(tmp_path: Path) -> None:
    servers = [server.load(path) for path in server.shipped().values()]
    images = [shop(tmp_path, FakeIngredients())._images(one) for one in servers]
    assert {str(disk).split("/product-")[1][:-6] for one in images for disk in one.disks.values()} == set(product.KINDS)
    for one, made in zip(servers, images):
        assert list(made.disks) == [one.product_disk.serial]
    assert set(workshop._PRODUCTS) <= set(server.shipped())


@pytest.mark.parametrize("name", sorted(server.shipped()))
def test_what_the_host_is_told_passes_hals_own_check(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = shop(tmp_path / "saved", FakeIngredients())._images(server.load(server.shipped()[name]))
    monkeypatch.setenv("HAL_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HAL_DEFAULTS_DIR", str(tmp_path / "none"))
    (tmp_path / "hal.toml.d").mkdir()
    (tmp_path / "hal.toml.d/50-lab.toml").write_text(images.hal_toml)
    (file,) = config_files.read()
    assert list(config.file_problems(file)) == []
    assert list(file.content) == ["vmm"]
    assert config.problems(VmmConfig, "vmm") == []
    told = config.load(VmmConfig, "vmm")
    (disk,) = images.disks.values()
    assert disk is not None
    assert f"product-{told.era}-" in disk.name, "the host expects another era than is on the disk"
    assert (told.heartbeat.interval, told.heartbeat.missed) == (5, 3)


def test_the_first_boot_is_saved_and_the_next_is_not(tmp_path: Path, one_u: Server, done: list[str]) -> None:
    there = shop(tmp_path / "saved", FakeIngredients())
    assert there.boot(there.new(one_u, tmp_path / "first")) < 60
    # The product rests while it is saved.
    saving = ["host is up", "stop", "saved", "cont"]
    assert done == ["power on", "product is up", *saving]
    done.clear()
    there.boot(there.new(one_u, tmp_path / "second"))
    assert done == ["power on", "product is up"]


def test_a_story_goes_on_from_a_saved_server(tmp_path: Path, one_u: Server, done: list[str]) -> None:
    there = shop(tmp_path / "saved", FakeIngredients())
    there.running(one_u, tmp_path / "server")
    assert done == ["power on", "product is up", "host is up", "stop", "saved", "cont", "restored", "cont"]
    done.clear()
    there.running(one_u, tmp_path / "server")
    assert done == ["restored", "cont"]


def test_servers_of_another_host_image_are_not_kept(tmp_path: Path, one_u: Server, done: list[str]) -> None:
    for name in ("host0-one-u-1", "host1-old-box-2", ".host0-one-u-1.partial"):
        (tmp_path / "saved" / name).mkdir(parents=True)
    there = shop(tmp_path / "saved", FakeIngredients())
    there.running(one_u, tmp_path / "server")
    kept = {path.name for path in (tmp_path / "saved").iterdir() if path.is_dir()}
    # Somebody else may be saving the hidden one just now.
    assert kept == {"host1-old-box-2", ".host0-one-u-1.partial", there._saved(one_u).name}


class StuckSite(FakeSite):
    """Its product does not come up the first so many times."""

    def __init__(self, description: Server, done: list[str], times: int) -> None:
        super().__init__(description, done)
        left = [times]

        def wait_until_ready(seconds: float) -> None:
            left[0] -= 1
            if left[0] >= 0:
                raise LabError(f"nothing after {seconds:g} s")
            done.append("product is up")

        self.product = SimpleNamespace(wait_until_ready=wait_until_ready)
        self.server.cut_power = lambda: done.append("power cut")
        self.server.directory = Path("/nowhere")


@pytest.mark.parametrize(
    ("name", "accel", "times", "comes_up"),
    [("numa", "tcg", 2, True), ("numa", "tcg", 3, False), ("numa", "kvm", 1, False), ("one-u", "tcg", 1, False)],
)
def test_only_several_emulated_processors_get_another_chance(
    name: str, accel: str, times: int, comes_up: bool, tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "renew", lambda *_: done.append("new disks"))
    site: Any = StuckSite(server.named(name), done, times)
    boot = shop(tmp_path, FakeIngredients(), accel).boot
    if comes_up:
        assert boot(site) >= 0
        again = ["power on", "power cut", "new disks"]
        assert done[:8] == [*again, *again, "power on", "product is up"]
    else:
        with pytest.raises(LabError, match="nothing after 900 s"):
            boot(site)


def test_who_still_says_something_is_not_stuck(
    tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site: Any = StuckSite(server.named("numa"), done, 3)
    site.server.directory = tmp_path
    console = tmp_path / files.HOST_CONSOLE
    wait = site.product.wait_until_ready

    def slowly(seconds: float) -> None:
        with open(console, "a") as file:
            file.write("a line\n")
        done.append("a line")
        wait(seconds)

    site.product.wait_until_ready = slowly
    assert shop(tmp_path / "saved", FakeIngredients()).boot(site) >= 0
    assert done[:3] == ["power on", "a line", "a line"]
    assert "power cut" not in done


def test_others_wait_for_the_boot_that_is_going_to_be_saved(tmp_path: Path, one_u: Server, done: list[str]) -> None:
    there = shop(tmp_path / "saved", FakeIngredients())
    site: Any = there.new(one_u, tmp_path / "first")
    lock = there._saved(one_u).with_suffix(".lock")

    def power_on() -> None:
        with open(lock) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done.append("power on")

    site.server.power_on = power_on
    there.boot(site)
    assert done[0] == "power on"


def test_a_boot_that_fails_before_a_story_leaves_evidence(
    tmp_path: Path, one_u: Server, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailingSite(StuckSite):
        def gather(self, place: Path) -> None:
            done.append(f"gathered in {place.parent.name}/{place.name}")

    monkeypatch.setattr(Workshop, "new", lambda *_: FailingSite(one_u, done, 9))
    with pytest.raises(LabError, match="nothing after"):
        shop(tmp_path / "saved", FakeIngredients()).running(one_u, tmp_path / "server")
    assert done == ["power on", "gathered in results/boot-of-one-u"]
