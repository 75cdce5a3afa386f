"""The firewall's rules, as they are planned: what holds for every guard, whatever the kernel makes of them."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_netcfg.firewall import rules
from hal_netcfg.firewall.ports import Port
from hal_netcfg.firewall.rules import Guard, Json, ruleset

NAMES = st.lists(st.text("abcdefghij0123456789.", min_size=1, max_size=15), unique=True, max_size=4)
PORTS = st.lists(
    st.builds(
        Port,
        protocol=st.sampled_from(("tcp", "udp")),
        port=st.integers(1, 65535),
        what=st.text("abc (/-", min_size=1, max_size=60),
    ),
    unique_by=lambda port: (port.protocol, port.port),
    max_size=4,
)


@st.composite
def guards(draw: st.DrawFn) -> Guard:
    return Guard(
        "169.254.72.1", "169.254.72.2", "169.254.72.0/30", tuple(draw(PORTS)), tuple(draw(NAMES)), tuple(draw(NAMES))
    )


def added(commands: list[Json], kind: str) -> list[Json]:
    return [command["add"][kind] for command in commands if kind in command.get("add", {})]


def verdict(rule: Json) -> str:
    """The name of what a rule decides: "accept", "drop", "reject", "jump"."""
    (name,) = rule["expr"][-1]
    return str(name)


@given(guards())
def test_each_table_is_replaced_as_a_whole(guard: Guard) -> None:
    commands = ruleset(guard)
    for family in ("inet", "bridge"):
        table = {"table": {"family": family, "name": "hal"}}
        begin = commands.index({"add": table})
        assert commands[begin : begin + 3] == [{"add": table}, {"delete": table}, {"add": table}]
    families = {what["family"] for command in commands for action in command.values() for what in action.values()}
    assert families == {"inet", "bridge"}
    names = {
        what.get("table", "hal") for command in commands for action in command.values() for what in action.values()
    }
    assert names == {"hal"}, "no other table is touched"


@given(guards())
def test_what_is_not_decided_is_dropped_for_the_host_and_passes_on_bridges(guard: Guard) -> None:
    base = {
        (chain["family"], chain["hook"]): chain["policy"] for chain in added(ruleset(guard), "chain") if "hook" in chain
    }
    assert base == {
        ("inet", "input"): "drop",
        ("inet", "forward"): "drop",
        ("inet", "output"): "drop",
        ("bridge", "forward"): "accept",
        ("bridge", "input"): "accept",
        ("bridge", "output"): "accept",
    }


@given(guards())
def test_every_rule_that_drops_refuses_or_opens_a_port_counts_under_a_comment_of_its_own(guard: Guard) -> None:
    found = added(ruleset(guard), "rule")
    for rule in found:
        counts = {"counter": None} in rule["expr"]
        assert counts == ("comment" in rule)
        if verdict(rule) in ("drop", "reject") or any("dport" in json.dumps(part) for part in rule["expr"]):
            assert counts
    comments = Counter(rule["comment"] for rule in found if "comment" in rule)
    assert set(comments.values()) == {1}
    # NFTNL_UDATA_COMMENT_MAXLEN, libnftnl's udata.h, with the NUL at its end
    assert all(len(comment.encode()) < 128 and '"' not in comment for comment in comments)


@given(guards())
def test_the_last_rule_of_each_chain_of_the_host_drops_or_refuses(guard: Guard) -> None:
    last = {rule["chain"]: verdict(rule) for rule in added(ruleset(guard), "rule") if rule["family"] == "inet"}
    assert last == {"input": "drop", "product": "reject", "forward": "drop", "output": "drop"}


@given(guards())
def test_just_the_declared_ports_are_open_and_only_to_the_product(guard: Guard) -> None:
    opened = [rule for rule in added(ruleset(guard), "rule") if '"dport"' in json.dumps(rule)]
    assert [rule["comment"] for rule in opened] == [rules.port_comment(port) for port in guard.ports]
    assert {rule["chain"] for rule in opened} <= {"product"}
    assert {verdict(rule) for rule in opened} <= {"accept"}


@given(guards())
def test_the_link_passes_before_the_rule_for_all_taps(guard: Guard) -> None:
    for chain in ("input", "output"):
        found = [
            rule for rule in added(ruleset(guard), "rule") if rule["family"] == "bridge" and rule["chain"] == chain
        ]
        (accepting,) = (index for index, rule in enumerate(found) if verdict(rule) == "accept")
        assert '"haltapint"' in json.dumps(found[accepting])
        assert all('"haltapint"' in json.dumps(rule) for rule in found[:accepting])
        assert any('"haltap*"' in json.dumps(rule) for rule in found[accepting:])


def test_the_same_guard_gives_the_same_commands() -> None:
    guard = Guard("169.254.72.1", "169.254.72.2", "169.254.72.0/30", (Port("tcp", 1, "x"),), ("a",), ("b",))
    assert ruleset(guard) == ruleset(guard)
    assert json.loads(json.dumps(ruleset(guard))) == ruleset(guard)


def test_comments_say_which_port_and_which_interface() -> None:
    guard = Guard("169.254.72.1", "169.254.72.2", "169.254.72.0/30", (Port("tcp", 514, "syslog"),), ("eno1",), ())
    comments = [rule["comment"] for rule in added(ruleset(guard), "rule") if "comment" in rule]
    assert "port tcp/514 syslog" in comments
    assert "dropped: frame from eno1 to the host" in comments
    assert "dropped: frame from the host to eno1" in comments
    assert "refused: from the product" in comments


@pytest.mark.parametrize("network", ["", "169.254.72.1/30", "nonsense"])
def test_a_network_that_is_none_is_an_error(network: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ruleset(Guard("169.254.72.1", "169.254.72.2", network, (), (), ()))


def test_removal_succeeds_whether_or_not_the_tables_are_there() -> None:
    assert [next(iter(command)) for command in rules.removal()] == ["add", "delete", "add", "delete"]
