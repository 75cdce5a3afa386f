"""Real screenshots (screens/*.png, with what a person reads on them beside), and drawn ones."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lab.display import screen
from lab.display.screen import FONTS, UNKNOWN, Grid, grids
from lab.errors import LabError

SCREENS = Path(__file__).with_name("screens")
TEXT = "The quick brown fox: {[0.1;2],[3/4]} \\ #!~"
GREY, BLACK, RED, BLUE = (170, 170, 170), (0, 0, 0), (170, 0, 0), (0, 0, 170)


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("seabios", "VGA text"),
        ("vga-text", "VGA text"),
        ("installer", "VGA text"),
        ("linux-efifb", "Linux console"),
        ("linux-vesafb", "Linux console"),
        ("uefi-shell", "UEFI console"),
        ("uefi-80x25", "UEFI console"),
        ("grub-uefi", "UEFI console"),
        ("grub-gfxterm", "GRUB gfxterm"),
    ],
)
def test_a_real_screenshot(name: str, grid: str) -> None:
    read = screen.read(SCREENS / f"{name}.png")
    assert read.text.rstrip("\n") == (SCREENS / f"{name}.txt").read_text().rstrip("\n")
    assert read.grid == grid
    assert read.unknown == []


def test_every_screenshot_is_read() -> None:
    assert {path.stem for path in SCREENS.iterdir()} == {path.stem for path in SCREENS.glob("*.png")}
    assert len(list(SCREENS.glob("*.png"))) == 9


def glyphs(font: str) -> dict[str, list[int]]:
    lines = (line.split(":") for line in (FONTS / f"{font}.hex").read_text().splitlines() if line[0] != "#")
    return {chr(int(point, 16)): list(bytes.fromhex(rows)) for point, rows in lines}


def draw(
    size: tuple[int, int],
    grid: Grid,
    lines: list[str],
    colours: tuple[tuple[int, int, int], tuple[int, int, int]] = (BLACK, GREY),
) -> Image.Image:
    """:param colours: background and foreground"""
    image = Image.new("RGB", size, colours[0])
    known = {**glyphs(grid.fonts[-1]), **glyphs(grid.fonts[0]), " ": [0] * grid.cell[1]}
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            for y, bits in enumerate(known[character]):
                for x in range(8):
                    if bits & 0x80 >> x:
                        at = (grid.origin[0] + column * grid.cell[0] + x, grid.origin[1] + row * grid.cell[1] + y)
                        image.putpixel(at, colours[1])
    return image


def saved(image: Image.Image, form: str = "PPM") -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("form", ["PPM", "PNG"])
@pytest.mark.parametrize("size", [(640, 480), (720, 400), (800, 600), (1024, 768), (1280, 800)])
def test_text_in_every_place(size: tuple[int, int], form: str) -> None:
    assert grids(*size)
    for grid in grids(*size):
        lines = ["", TEXT, "", "  and again", "x" * grid.size[0]]
        read = screen.read(saved(draw(size, grid, lines), form))
        # Another grid may fit as well, and begin further to the left, or above.
        assert [line.strip() for line in read.lines if line] == [TEXT, "and again", lines[-1]]
        assert read.contains(r"The quick .*~$")
        assert not read.contains("slow")


@pytest.mark.parametrize("colours", [(GREY, BLACK), (BLUE, GREY), (RED, BLUE), (BLACK, RED)])
def test_colours_do_not_matter(colours: tuple[tuple[int, int, int], tuple[int, int, int]]) -> None:
    (grid, *_) = grids(640, 480)
    assert screen.read(saved(draw((640, 480), grid, [TEXT], colours))).lines[0] == TEXT


def test_a_guests_screen_within_the_servers() -> None:
    display = Image.new("RGB", (1280, 800), BLUE)
    with Image.open(SCREENS / "vga-text.png") as guest:
        display.paste(guest.convert("RGB"), ((1280 - 720) // 2, (800 - 400) // 2))
    assert screen.read(saved(display)).text.rstrip() == (SCREENS / "vga-text.txt").read_text().rstrip()


@pytest.mark.parametrize("rows", [(14, 16), (13, 15), (15, 16), (0, 16)])
def test_a_cursor_hides_nothing(rows: tuple[int, int]) -> None:
    (grid, *_) = grids(640, 480)
    for under in ("x", " "):
        image = draw((640, 480), grid, [f"/ # {under}"])
        cell = image.crop((32, 0, 40, 16))
        cursor = ImageDraw.Draw(image)
        cursor.rectangle((32, rows[0], 39, rows[1] - 1), fill=GREY)
        if rows == (0, 16):  # a block inverts
            image.paste(cell.point([255 - value for value in range(256)] * 3), (32, 0))
        assert screen.read(saved(image)).lines[0] == f"/ # {under}".rstrip()


def test_a_glyph_of_a_slightly_other_font() -> None:
    (grid, *_) = grids(640, 480)
    image = draw((640, 480), grid, [TEXT])
    for at in ((9, 1), (8, 12)):  # in the h
        image.putpixel(at, GREY)
    assert screen.read(saved(image)).lines[0] == TEXT


def test_an_unknown_glyph_can_be_learned_from_the_report() -> None:
    (grid, *_) = grids(640, 480)
    image = draw((640, 480), grid, [TEXT])
    for x in range(0, 8, 2):
        for y in range(1, 15):
            image.putpixel((24 + x, y), GREY)
    read = screen.read(saved(image))
    assert read.lines[0] == TEXT[:3] + UNKNOWN + TEXT[4:]
    assert read.unknown == [f"{UNKNOWN}:00AAAAAAAAAAAAAAAAAAAAAAAAAAAA00"]


def test_a_picture_without_text() -> None:
    """It says nothing, and takes no long time for it."""
    noise = Image.frombytes("RGB", (1280, 800), random.Random(1).randbytes(1280 * 800 * 3))
    assert set(screen.read(saved(noise)).text) <= {UNKNOWN, "\n"}
    assert screen.read(saved(Image.new("RGB", (1280, 800)))).text.strip() == ""


@pytest.mark.parametrize("wrong", [b"", b"no picture", saved(Image.new("RGB", (720, 400)))[:-1000]])
def test_no_screenshot(wrong: bytes, tmp_path: Path) -> None:
    path = tmp_path / "screen.ppm"
    path.write_bytes(wrong)
    with pytest.raises(LabError, match=r"^this is no screenshot: "):
        screen.read(wrong)
    with pytest.raises(LabError, match=r"screen\.ppm is no screenshot: "):
        screen.read(path)


def test_a_display_too_small() -> None:
    with pytest.raises(LabError, match="4x4 pixels has no room for text"):
        screen.read(saved(Image.new("RGB", (4, 4))))


def test_the_fonts() -> None:
    """Every font that a grid names is there and has what a person types; none is left over."""
    named = {font for grid in grids(4000, 4000) for font in grid.fonts}
    assert named == {path.stem for path in FONTS.glob("*.hex")}
    for font in named - {"linux"}:  # that is only what differs from vga
        assert set(map(chr, range(0x21, 0x7F))) <= set(glyphs(font))
