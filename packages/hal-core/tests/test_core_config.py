"""Configuration: every wrong file gets one clear line, and every right one is merged key by key."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hal_core import config_doc, config_files
from hal_core.config import listed, load, numbered, option, problems, section
from hal_core.config_values import Option, Rejected, show, show_key, toml
from hal_core.errors import ConfigError


@dataclass(frozen=True)
class Beats:
    """How often."""

    interval: int = option(60, "Seconds.", low=1, high=3600)
    grace: float = option(1.5, "Minutes.", low=0.0)


@dataclass(frozen=True)
class Ring:
    """Buffers."""

    slots: int = option(256, "How many.", low=1)


@dataclass(frozen=True)
class Port:
    """One of many."""

    nics: tuple[str, ...] = option((), "Names.", pattern="[a-z0-9]+")
    mtu: int = option(0, "Bytes.", low=0, high=9000)
    ring: Ring = section(Ring, "The buffers.")


@dataclass(frozen=True)
class Rule:
    """One in a row."""

    serial: str = option("", "Its serial number.", pattern="[A-Z0-9]*")
    class_: str = option("", "Its class: the key is a keyword in Python.")
    give: bool = option(False, "Whether.")


@dataclass(frozen=True)
class Sample:
    """A sample of every kind of option."""

    era: str = option("modern", "Age.", choices=("modern", "ide"))
    user: str = option("hal", "A name.", pattern=r"[a-z]+")
    note: str = option("", "Anything -- at\nall, with a \\ in it.")
    watchdog: bool = option(True, "Bark.")
    free: int = option(0, "Any number.")
    keep: tuple[int, ...] = option((), "CPUs.", low=0)
    disks: tuple[str, ...] = option(("auto",), "Disks.", pattern="[a-z]+")
    beats: Beats = section(Beats, "The sign of life.")
    port: Mapping[int, Port] = numbered(Port, "A port of the product.", low=0, high=127)
    rule: tuple[Rule, ...] = listed(Rule, "A rule.")


@pytest.fixture(autouse=True)
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /etc/hal (and /usr/lib/hal beside it)."""
    (tmp_path / "etc/hal.toml.d").mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    monkeypatch.setenv("HAL_CONFIG_DIR", str(tmp_path / "etc"))
    monkeypatch.setenv("HAL_DEFAULTS_DIR", str(tmp_path / "lib"))
    return tmp_path / "etc"


def complaint(etc: Path, text: str | bytes) -> ConfigError:
    """The only problem that a file with this text has, which ``load`` raises too."""
    (etc / "hal.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    found = problems(Sample, "vmm")
    assert len(found) == 1
    with pytest.raises(ConfigError) as raised:
        load(Sample, "vmm")
    assert str(raised.value) == str(found[0])
    assert "\n" not in found[0].message
    assert found[0].message.startswith(f"{etc}/hal.toml: ")
    assert found[0].exit_status == 78
    return found[0]


def test_without_any_file_everything_is_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(Sample, "vmm") == Sample()
    monkeypatch.setenv("HAL_CONFIG_DIR", "/nonexistent")
    assert load(Sample, "vmm") == Sample()


def test_later_files_override_earlier_ones_key_by_key(etc: Path, tmp_path: Path) -> None:
    (tmp_path / "lib/hal.toml").write_text('[vmm]\nera = "ide"\nfree = 1\nkeep = [1]\n[vmm.beats]\ninterval = 10\n')
    (etc / "hal.toml").write_text("[vmm]\nfree = 2\nkeep = [2, 3]\n[vmm.beats]\ngrace = 2\n")
    (etc / "hal.toml.d/20-b.toml").write_text("[vmm]\nfree = 4\n")
    (etc / "hal.toml.d/10-a.toml").write_text("[vmm]\nfree = 3\nwatchdog = false\n[netcfg]\nwhatever = 1\n")
    (etc / "hal.toml.d/.30.toml").write_text("not read")
    (etc / "hal.toml.d/40.toml~").write_text("not read")
    assert load(Sample, "vmm") == Sample(
        era="ide", free=4, keep=(2, 3), watchdog=False, beats=Beats(interval=10, grace=2.0)
    )


def test_numbered_tables_are_overridden_key_by_key_each_and_come_in_order(etc: Path) -> None:
    (etc / "hal.toml").write_text('[vmm.port.12]\nnics = ["a"]\nmtu = 1500\n[vmm.port.2.ring]\nslots = 8\n')
    (etc / "hal.toml.d/a.toml").write_text('[vmm.port.127]\n[vmm.port.12]\nmtu = 9000\n[vmm.port.0]\nnics = ["b"]\n')
    ports = load(Sample, "vmm").port
    assert list(ports.items()) == [
        (0, Port(nics=("b",))),
        (2, Port(ring=Ring(8))),
        (12, Port(nics=("a",), mtu=9000)),
        (127, Port()),
    ]
    assert Sample().port == {}
    (etc / "hal.toml").write_text("[vmm.port]\n")
    (etc / "hal.toml.d/a.toml").unlink()
    assert load(Sample, "vmm") == Sample()


def test_every_kind_of_value_is_read_as_the_type_it_is_declared_as(etc: Path) -> None:
    (etc / "hal.toml").write_text('[vmm]\nkeep = [0]\ndisks = ["a", "b"]\nnote = "ü …"\n[vmm.beats]\ngrace = 3\n')
    loaded = load(Sample, "vmm")
    assert (loaded.keep, loaded.disks, loaded.note) == ((0,), ("a", "b"), "ü …")
    assert type(loaded.beats.grace) is float


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('era = "idee"', 'vmm.era = "idee": allowed is "modern" or "ide"', 'did you mean "ide"?'),
        ("era = 3", 'vmm.era = 3: allowed is "modern" or "ide"', ""),
        ('user = "A"', 'vmm.user = "A": allowed is a text that matches [a-z]+', ""),
        ('user = "a\\n"', 'vmm.user = "a\\u000a": allowed is a text that matches [a-z]+', ""),
        ('note = "\\u0000"', 'vmm.note = "\\u0000": allowed is a text', ""),
        ("note = 2020-01-01", "vmm.note = 2020-01-01: allowed is a text", ""),
        ("watchdog = 1", "vmm.watchdog = 1: allowed is true or false", ""),
        ('watchdog = "yes"', 'vmm.watchdog = "yes": allowed is true or false', ""),
        ("free = true", "vmm.free = true: allowed is a whole number", ""),
        ("free = 1.0", "vmm.free = 1.0: allowed is a whole number", ""),
        ("keep = 1", "vmm.keep = 1: allowed is an array, each item a whole number, 0 or more", ""),
        ("keep = [0, -1]", "vmm.keep[1] = -1: allowed is a whole number, 0 or more", ""),
        ("keep = [[1]]", "vmm.keep[0] = [1]: allowed is a whole number, 0 or more", ""),
        ('disks = ["a", ""]', 'vmm.disks[1] = "": allowed is a text that matches [a-z]+', ""),
        ("beats = 5", "vmm.beats = 5: allowed is a table", ""),
        ("era.x = 5", 'vmm.era = a table: allowed is "modern" or "ide"', ""),
        ("beats.interval = 0", "vmm.beats.interval = 0: allowed is a whole number from 1 to 3600", ""),
        ("beats.grace = nan", "vmm.beats.grace = nan: allowed is a number, 0.0 or more", ""),
        ("beats.grace = inf", "vmm.beats.grace = inf: allowed is a number, 0.0 or more", ""),
        ("wachdog = true", "vmm.wachdog: no such key; allowed are era, user, note", 'did you mean "watchdog"?'),
        ("interval = 5", "vmm.interval: no such key", 'did you mean "beats.interval"?'),
        ('"a\\u001bb" = 5', 'vmm."a\\u001bb": no such key', ""),
        ("port = 3", "vmm.port = 3: allowed are tables with numbers from 0 to 127", ""),
        ("port.3 = 3", "vmm.port.3 = 3: allowed is a table", ""),
        ("port.x.mtu = 3", "vmm.port.x: no such number; allowed are 0 to 127", ""),
        ("port.128.mtu = 3", "vmm.port.128: no such number; allowed are 0 to 127", ""),
        ("port.-1.mtu = 3", "vmm.port.-1: no such number; allowed are 0 to 127", ""),
        ("port.01.mtu = 3", "vmm.port.01: no such number; allowed are 0 to 127", 'did you mean "1"?'),
        ("port.00.mtu = 3", "vmm.port.00: no such number; allowed are 0 to 127", 'did you mean "0"?'),
        ('port."".mtu = 3', 'vmm.port."": no such number; allowed are 0 to 127', ""),
        ("port.mtu = 3", "vmm.port.mtu: no such number; allowed are 0 to 127", 'did you mean "0.mtu"?'),
        ("mtu = 3", "vmm.mtu: no such key", 'did you mean "port.0.mtu"?'),
        ("port.7.mtu = 9001", "vmm.port.7.mtu = 9001: allowed is a whole number from 0 to 9000", ""),
        ("port.7.mut = 3", "vmm.port.7.mut: no such key; allowed are nics, mtu, ring", 'did you mean "mtu"?'),
        (
            "port.7.slots = 3",
            "vmm.port.7.slots: no such key; allowed are nics, mtu, ring",
            'did you mean "ring.slots"?',
        ),
        ("port.7.ring.slots = 0", "vmm.port.7.ring.slots = 0: allowed is a whole number, 1 or more", ""),
    ],
)
def test_a_wrong_value_is_one_line(etc: Path, text: str, message: str, hint: str) -> None:
    found = complaint(etc, f"[vmm]\n{text}\n")
    assert f"{etc}/hal.toml: {message}" in found.message
    assert found.hint == hint


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        (b"[vmn]\n", "[vmn]: no such table; allowed are core, vmm, console", 'did you mean "vmm"?'),
        (b"era = 5\n", "era = 5: not in any table", "write it under its table, as [vmm]"),
        (b"vmm = 5\n", "vmm = 5: allowed is a table", ""),
        (b"[vmm\n", "not valid TOML: ", ""),
        (b"[vmm]\nera = modern\n", "not valid TOML: Invalid value (at line 2, column 7)", "texts need quotation marks"),
        (b"[vmm]\nfree = 1\nfree = 2\n", "not valid TOML: ", ""),
        (b"[vmm]\nnote = 'caf\xe9'\n", "byte 0xe9 in line 2 is not UTF-8", ""),
        (b"[vmm]\nkeep = " + b"[" * 5000, "not valid TOML: ", ""),
        (b"[vmm]\nfree = " + b"9" * 5000, "", ""),  # newer Pythons do not even read it
        (b"[vmm]\nfree = 0x" + b"9" * 5000, "vmm.free = 0x999", ""),
        (b"[vmm]\nfree = 9223372036854775808", "vmm.free = 9223372036854775808: allowed is a whole number", ""),
        (b"#" * (1 << 20) + b"\n", "larger than 1048576 bytes", ""),
        (b"\x00\x01\x02", "not valid TOML: ", ""),
    ],
)
def test_a_wrong_file_is_one_line(etc: Path, text: bytes, words: str, hint: str) -> None:
    found = complaint(etc, text)
    assert words in found.message
    assert found.hint.startswith(hint)
    assert len(found.message) < 300 + len(str(etc))


def test_a_byte_order_mark_is_passed_over(etc: Path) -> None:
    (etc / "hal.toml").write_bytes(b"\xef\xbb\xbf[vmm]\r\nfree = 7\r\n")
    assert load(Sample, "vmm").free == 7


@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling link", "loop"])
def test_what_is_no_file_is_one_line(etc: Path, kind: str) -> None:
    path = etc / "hal.toml"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere" if kind == "dangling link" else "hal.toml")
    with pytest.raises(ConfigError, match=r"hal\.toml: cannot be read: "):
        load(Sample, "vmm")


def test_a_file_in_place_of_the_directory_is_one_line(etc: Path) -> None:
    (etc / "hal.toml.d").rmdir()
    (etc / "hal.toml.d").write_text("")
    with pytest.raises(ConfigError, match=r"hal\.toml\.d: cannot be read: Not a directory"):
        load(Sample, "vmm")


def test_all_problems_are_found_in_the_order_of_the_files(etc: Path) -> None:
    (etc / "hal.toml").write_text("[vmm]\nfree = true\nbogus = 1\n")
    (etc / "hal.toml.d/a.toml").write_text("broken")
    (etc / "hal.toml.d/b.toml").write_text("[vmm.beats]\ninterval = -1\n[vmm]\nfree = 2\n")
    found = [problem.message.partition(": ")[0].rpartition("/")[2] for problem in problems(Sample, "vmm")]
    assert found == ["hal.toml", "hal.toml", "a.toml", "b.toml"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(text=st.binary(max_size=200))
def test_no_file_at_all_gives_a_traceback(etc: Path, text: bytes) -> None:
    (etc / "hal.toml").write_bytes(text)
    for problem in problems(Sample, "vmm"):
        assert problem.message.isprintable()
        assert len(problem.message) < 400 + len(str(etc))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(key=st.text() | st.integers(-200, 200).map(str) | st.from_regex(r"0*\d{1,3}", fullmatch=True))
def test_each_number_has_one_spelling_and_all_else_is_one_line(etc: Path, key: str) -> None:
    try:
        (etc / "hal.toml").write_text(f"[vmm.port.{toml(key)}]\n", "utf-8")
    except UnicodeEncodeError:
        return
    if key in [str(number) for number in range(128)]:
        assert load(Sample, "vmm").port == {int(key): Port()}
    else:
        (found,) = problems(Sample, "vmm")
        assert f": vmm.port.{show_key(key)}: no such number; allowed are 0 to 127" in found.message
        assert found.message.isprintable()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    files=st.lists(
        st.dictionaries(
            st.integers(0, 127),
            st.fixed_dictionaries({}, optional={"mtu": st.integers(0, 9000), "nics": st.just(["a"])}),
        ),
        max_size=4,
    )
)
def test_what_files_say_of_numbered_tables_adds_up(etc: Path, files: list[dict[int, dict[str, Any]]]) -> None:
    expected: dict[int, Port] = {}
    for path in etc.glob("hal.toml.d/*"):
        path.unlink()
    for index, tables in enumerate(files):
        lines = []
        for number, keys in tables.items():
            lines += [f"[vmm.port.{number}]", *(f"{key} = {toml(value)}" for key, value in keys.items())]
            new: dict[str, Any] = {key: tuple(value) if key == "nics" else value for key, value in keys.items()}
            expected[number] = dataclasses.replace(expected.get(number, Port()), **new)
        (etc / f"hal.toml.d/{index}.toml").write_text("\n".join(lines))
    assert list(load(Sample, "vmm").port.items()) == sorted(expected.items())


json_like = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
every_option = [field for field in dataclasses.fields(Sample) if "option" in field.metadata]


@given(value=json_like, field=st.sampled_from(every_option))
def test_what_is_accepted_has_the_declared_type_and_is_accepted_again(value: object, field: Any) -> None:
    one = Option(field.name, field.type, field.default, **field.metadata["option"])
    try:
        accepted = one.accept(value)
    except Rejected:
        return
    assert type(accepted) is type(field.default)
    assert one.accept(list(accepted) if isinstance(accepted, tuple) else accepted) == accepted


@given(value=st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.lists(st.text(), max_size=3))
def test_what_we_write_as_toml_reads_back(value: object) -> None:
    try:
        text = toml(value).encode()
    except UnicodeEncodeError:
        return  # a lone surrogate cannot be in a UTF-8 file at all
    assert config_files.parse(b"key = " + text) == {"key": value}


def test_a_long_value_is_cut_off_in_messages() -> None:
    assert show("x" * 100) == '"' + "x" * 58 + "…"


def test_the_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "lib/hal.toml").write_text(config_doc.defaults_toml({"vmm": Sample}))
    assert load(Sample, "vmm") == Sample()
    text = (tmp_path / "lib/hal.toml").read_text()
    assert '\n# Age.\n# Allowed: "modern" or "ide".\nera = "modern"\n' in text
    assert "\n# The sign of life.\n[vmm.beats]\n" in text
    assert "# Anything -- at all, with a \\ in it.\nnote" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_first_numbered_table_is_documented_in_comments(tmp_path: Path) -> None:
    text = config_doc.defaults_toml({"vmm": Sample})
    assert "port" not in config_files.parse(text.encode())["vmm"]
    assert (
        "\n# A port of the product.\n# Allowed: [vmm.port.N], N from 0 to 127. By default there is none.\n"
        "# [vmm.port.0]\n\n# Names.\n# Allowed: an array, each item a text that matches [a-z0-9]+.\n# nics = []\n"
    ) in text
    assert "\n\n# The buffers.\n# [vmm.port.0.ring]\n\n# How many.\n" in text
    (tmp_path / "lib/hal.toml").write_text(re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE))
    assert load(Sample, "vmm") == Sample(port={0: Port()}, rule=(Rule(),))


def test_numbered_tables_in_the_manual_page() -> None:
    page = config_doc.man_section({"vmm": Sample})
    assert (
        "\n.SS [vmm.port.N]\nA port of the product. Allowed: [vmm.port.N], N from 0 to 127. By default there is none.\n"
        '.TP\n.BR nics " = []"\nNames. '
    ) in page
    assert '\n.SS [vmm.port.N.ring]\nThe buffers.\n.TP\n.BR slots " = 256"\nHow many. ' in page


def test_tables_in_a_row_keep_their_order_and_those_of_a_later_file_replace_them(etc: Path) -> None:
    (etc / "hal.toml").write_text('[[vmm.rule]]\nserial = "B"\n[[vmm.rule]]\n[[vmm.rule]]\nclass = "A"\ngive = true\n')
    assert load(Sample, "vmm").rule == (Rule("B"), Rule(), Rule(class_="A", give=True))
    (etc / "hal.toml.d/1.toml").write_text('[[vmm.rule]]\nserial = "C"\n')
    assert load(Sample, "vmm").rule == (Rule("C"),)


def test_what_is_wrong_in_a_row_of_tables_is_told_with_its_number(etc: Path) -> None:
    found = complaint(etc, '[[vmm.rule]]\n[[vmm.rule]]\nserial = "b"\n')
    assert found.message.endswith('vmm.rule[1].serial = "b": allowed is a text that matches [A-Z0-9]*')
    assert complaint(etc, "[[vmm.rule]]\nserail = 1\n").hint == 'did you mean "serial"?'
    found = complaint(etc, "[vmm.rule]\ngive = true\n")
    assert found.message.endswith("vmm.rule = a table: allowed are tables in a row, [[…rule]]")


def test_tables_in_a_row_are_documented_in_comments(tmp_path: Path) -> None:
    text = config_doc.defaults_toml({"vmm": Sample})
    assert "\n# A rule.\n# Allowed: any number of [[vmm.rule]]. By default there is none.\n# [[vmm.rule]]\n" in text
    (tmp_path / "lib/hal.toml").write_text(re.sub(r"^# (?=\[\[|serial|class|give)", "", text, flags=re.MULTILINE))
    assert load(Sample, "vmm").rule == (Rule(),)
    assert "\n.SS [[vmm.rule]]\nA rule. Allowed: any number of" in config_doc.man_section({"vmm": Sample})


def test_the_manual_page_escapes_what_troff_would_eat() -> None:
    page = config_doc.man_section({"vmm": Sample})
    assert '.BR era " = \\(dqmodern\\(dq"\nAge. Allowed: "modern" or "ide".\n' in page
    assert "Anything \\-\\- at all, with a \\e in it." in page


@dataclass(frozen=True)
class Range:
    """Two keys that have to fit."""

    low: int = option(1, "The least.")
    high: int = option(9, "The most.")

    def wrong(self) -> Iterator[ConfigError]:
        if self.low > self.high:
            yield ConfigError(f"sample.low = {self.low}: more than sample.high = {self.high}")


def test_what_only_all_keys_together_say_is_looked_at_when_each_is_right(etc: Path) -> None:
    (etc / "hal.toml").write_text("[vmm]\nlow = 3\n")
    (etc / "hal.toml.d/10.toml").write_text("[vmm]\nhigh = 2\n")
    with pytest.raises(ConfigError, match=r"sample\.low = 3: more than sample\.high = 2"):
        load(Range, "vmm")
    assert [str(problem) for problem in problems(Range, "vmm")] == ["sample.low = 3: more than sample.high = 2"]
    (etc / "hal.toml.d/10.toml").write_text("[vmm]\nhigh = 3\n")
    assert load(Range, "vmm") == Range(3, 3)
    (etc / "hal.toml.d/10.toml").write_text('[vmm]\nhigh = "3"\n')
    assert len(problems(Range, "vmm")) == 1, "what is wrong by itself comes first"


def test_a_declaration_that_makes_no_sense_is_a_programming_error() -> None:
    @dataclass(frozen=True)
    class Odd:
        plain: int = 3

    @dataclass(frozen=True)
    class Set:
        things: frozenset[str] = option(frozenset(), "A set.")

    (Path(os.environ["HAL_CONFIG_DIR"]) / "hal.toml").write_text("[vmm]\nplain = 1\n")
    with pytest.raises(TypeError, match=r"Odd\.plain is made by none of option\(\), section"):
        load(Odd, "vmm")
    with pytest.raises(TypeError, match="cannot be a frozenset"):
        load(Set, "vmm")
