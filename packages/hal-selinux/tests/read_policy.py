"""Everything that a linked policy says about HAL's types, as JSON: for the tests' fixtures.

A program of its own, for the system's Python, because setools belongs to that. Attributes are expanded: a rule for all
domains is a rule for each of HAL's. About 2 s, nearly all of it reading the policy.

usage: python3 read_policy.py POLICY
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

import setools

OURS = "hal_"


def names(type_or_attribute: Any) -> list[str]:
    """The types behind a name in a rule."""
    return [str(name) for name in type_or_attribute.expand()]


def permissions(object_class: Any) -> set[str]:
    """All that a class has, those included that it shares with others."""
    try:
        return set(object_class.perms) | set(object_class.common.perms)
    except setools.exception.NoCommon:
        return set(object_class.perms)


def condition(rule: Any) -> str:
    """The boolean expression that a rule depends on; "" if it always holds, or whatever the booleans are."""
    try:
        return f"{rule.conditional} is {rule.conditional_block}".lower()
    except setools.exception.RuleNotConditional:
        return ""


def allowed(policy: Any, unconfined: set[str]) -> dict[str, str]:
    """By "source target class permission" the condition, for every rule of which one side is HAL's.

    Left out are unconfined domains, an administrator's for instance, to which everything is allowed; not systemd.
    """
    found: dict[str, str] = {}
    expanded: dict[Any, tuple[list[str], list[str], list[str]]] = {}

    def expand(name: Any) -> tuple[list[str], list[str], list[str]]:
        if name not in expanded:
            every = names(name)
            confined = [one for one in every if one not in unconfined]
            expanded[name] = confined, every, [one for one in every if one.startswith(OURS)]
        return expanded[name]

    for rule in policy.terules():
        if rule.ruletype.name != "allow":
            continue
        (sources, _, our_sources), (_, targets, our_targets) = expand(rule.source), expand(rule.target)
        if not our_sources and not our_targets:
            continue
        pairs = {(source, target) for source in our_sources for target in targets}
        pairs |= {(source, target) for source in sources for target in our_targets}
        when = condition(rule)
        for permission in rule.perms:
            for source, target in pairs:
                key = f"{source} {target} {rule.tclass} {permission}"
                found[key] = when if found.get(key, when) else ""
    return found


def ioctls(policy: Any) -> dict[str, list[int]]:
    """By "source target class" the only ioctl numbers, for those of HAL's types that are restricted to some."""
    found: dict[str, set[int]] = defaultdict(set)
    for rule in policy.terules():
        if rule.ruletype.name == "allowxperm" and str(rule.source).startswith(OURS):
            found[f"{rule.source} {rule.target} {rule.tclass}"] |= set(rule.perms)
    return {key: sorted(numbers) for key, numbers in found.items()}


def transitions(policy: Any) -> dict[str, str]:
    """By "source target class [name]" the type of the new process or file, where HAL's types are involved."""
    found = {}
    for rule in policy.terules():
        if rule.ruletype.name != "type_transition":
            continue
        if not any(str(part).startswith(OURS) for part in (rule.source, rule.target, rule.default)):
            continue
        try:
            name = f" {rule.filename}"
        except (AttributeError, setools.exception.TERuleNoFilename):
            name = ""
        for source in names(rule.source):
            for target in names(rule.target):
                found[f"{source} {target} {rule.tclass}{name}"] = str(rule.default)
    return found


def facts(policy: Any) -> dict[str, Any]:
    """All of it."""
    unconfined = set(names(policy.lookup_typeattr("unconfined_domain_type"))) - {"init_t"}
    return {
        "known types": sorted(str(one) for one in policy.types()),
        "known permissions": {str(one): sorted(permissions(one)) for one in policy.classes()},
        "types": {
            str(one): sorted(str(attribute) for attribute in one.attributes())
            for one in policy.types()
            if str(one).startswith(OURS)
        },
        "permissive": sorted(str(one) for one in policy.types() if one.ispermissive),
        "booleans": {str(one): one.state for one in policy.bools() if str(one).startswith(OURS)},
        "allowed": allowed(policy, unconfined),
        "ioctls": ioctls(policy),
        "transitions": transitions(policy),
    }


if __name__ == "__main__":
    json.dump(facts(setools.SELinuxPolicy(sys.argv[1])), sys.stdout)
