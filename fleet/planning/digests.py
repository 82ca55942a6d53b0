"""Which digests are worth their time beyond those that identify a file."""

from collections.abc import Iterable

from fleet.planning import selector
from fleet.planning.facts import RuleFacts, SiteFacts

# What takes a deposit checks it by its md5, and shows that to its readers
_MD5_KINDS = frozenset({"repository", "archive"})


def wants_md5(rule: RuleFacts, sites: Iterable[SiteFacts]) -> bool:
    """Whether the rule selects a site that wants to be told md5s."""
    matches = selector.parse(rule.selector)
    return any(site.kind in _MD5_KINDS and matches(site) for site in sites)
