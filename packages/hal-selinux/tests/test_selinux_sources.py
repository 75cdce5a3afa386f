"""What can be told from the modules' sources alone; the package is built with these tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
MODULES = sorted(path.stem for path in PACKAGE.glob("*.te"))
POLICY = sorted(path for suffix in ("te", "if") for path in PACKAGE.glob(f"*.{suffix}"))
MACROS = {"can_exec", "gen_require", "gen_tunable", "ifdef", "interface", "optional_policy", "policy_module"}
MACROS |= {"tunable_policy"}


def text(*suffixes: str) -> str:
    return "\n".join(path.read_text() for suffix in suffixes for path in sorted(PACKAGE.glob(f"*.{suffix}")))


def declared(kind: str) -> set[str]:
    """The types, or attributes, that our modules declare."""
    outside_requirements = re.sub(r"gen_require\(`.*?'\)", "", text("te"), flags=re.DOTALL)
    return set(re.findall(rf"^{kind}\s+(\w+)", outside_requirements, flags=re.MULTILINE))


def quoted_comments(source: str) -> list[str]:
    """The comments within m4's quotations that have a quotation mark of it, ` or '."""
    depth, found = 0, []
    for line in source.splitlines():
        if depth == 0 and line.lstrip().startswith("#"):
            continue  # outside of quotations, m4 leaves comments alone
        if depth and re.search("#.*[`']", line):
            found.append(line.strip())
        depth += line.count("`") - line.count("'")
    return found


def test_an_apostrophe_within_a_quotation_is_noticed() -> None:
    assert quoted_comments("# QEMU's own\ninterface(`x',`\n\t# QEMU listens\n')\n") == []
    assert quoted_comments("interface(`x',`\n\t# QEMU's own\n\tallow a b:c d;\n')\n") == ["# QEMU's own"]


@pytest.mark.parametrize("path", POLICY, ids=lambda path: path.name)
def test_no_comment_ends_a_quotation_of_m4(path: Path) -> None:
    assert quoted_comments(path.read_text()) == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_called_as_its_file_and_has_all_three(module: str) -> None:
    assert f"policy_module({module}, " in (PACKAGE / f"{module}.te").read_text()
    assert (PACKAGE / f"{module}.fc").is_file()
    assert (PACKAGE / f"{module}.if").is_file()


def test_file_contexts_name_declared_types_only() -> None:
    used = set(re.findall(r"object_r:(\w+),s0", text("fc")))
    assert used
    assert used <= declared("type")


def test_every_path_below_run_is_there_in_both_spellings() -> None:
    rows = [re.sub(r"\s+", " ", line) for line in text("fc").splitlines() if not line.startswith("#")]
    old = {row[len("/var") :] for row in rows if row.startswith("/var/run/")}
    assert old
    assert old == {row for row in rows if row.startswith("/run/")}


def test_every_interface_is_ours_by_name_and_described() -> None:
    for path in PACKAGE.glob("*.if"):
        blocks = path.read_text().split("########################################\n")[1:]
        for block in blocks:
            assert re.search(r"^interface\(`hal_\w+',`$", block, flags=re.MULTILINE), block
            assert block.startswith("## <summary>\n")
            assert '## <param name="domain">' in block
        assert len(blocks) == path.read_text().count("\ninterface(")


def test_every_interface_of_the_base_policy_has_been_looked_up() -> None:
    """In Fedora's sources: the reference policy's headers, with which the tests build, have others as well."""
    looked_up = {
        line.split()[0]
        for line in (PACKAGE / "compat/el-interfaces.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    called = set(re.findall(r"^\s*([a-z]\w+)\(", text("te", "if"), flags=re.MULTILINE)) - MACROS
    base = {name for name in called if not name.startswith("hal_") and not name.endswith("_pattern")}
    assert base == looked_up


def test_the_manual_page_names_every_type_and_boolean() -> None:
    page = (PACKAGE / "man/hal_selinux.8").read_text()
    words = set(re.findall(r"[a-z_]+", page))
    booleans = set(re.findall(r"gen_tunable\((\w+),", text("te")))
    assert booleans
    assert declared("type") | booleans <= words


def test_the_manual_page_names_every_interface() -> None:
    page = (PACKAGE / "man/hal_selinux.8").read_text()
    assert set(re.findall(r"^interface\(`(\w+)'", text("if"), flags=re.MULTILINE)) <= set(re.findall(r"hal_\w+", page))
