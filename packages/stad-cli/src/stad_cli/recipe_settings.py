"""What of a recipe decides a run's result, as one flat table: "section.key" to a plain value."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from stad_cli.config import Recipe

FREE = frozenset(
    {
        "name",
        "about",
        "data.cache_gib",
        "data.index",
        "eval.batch",
        "run.channels_last",
        "run.checkpoint_every",
        "run.compile",
        "run.log_every",
        "run.threads",
        "run.workers",
    }
)
"""Keys that change nothing that is learned, beyond the order in which a sum is rounded."""

_OPEN = "model.options."
"""Below this a recipe has no defaults of its own: what is not there has not been said."""

Settings = dict[str, Any]


class Difference(NamedTuple):
    """One key that two runs disagree on; None stands for "not said"."""

    key: str
    before: Any
    now: Any


def flat(table: Mapping[str, Any], prefix: str = "") -> Settings:
    """Nested tables as one, keys joined by points; tuples become lists."""
    found: Settings = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            found[prefix + key] = list(value) if isinstance(value, tuple) else value
    return found


def settings(recipe: Recipe) -> Settings:
    """Every key of a recipe but the free ones, as JSON would read it back."""
    plain = json.loads(json.dumps(recipe.model_dump(mode="json")))
    return {key: value for key, value in flat(plain).items() if key not in FREE}


def chosen(recipe: Recipe) -> frozenset[str]:
    """The keys of `settings` that are not at the schema's default."""
    plain = recipe.model_dump(mode="json", exclude_defaults=True)
    return frozenset(key for key in flat(plain) if key not in FREE)


def differences(before: Settings, now: Settings, chosen: frozenset[str]) -> list[Difference]:
    """Where a run of `now` would not be the run of `before`, in order of keys.

    A key that one side knows and the other does not is a difference only where it says something:
    recipes gain keys over time, and at its default a new one changes no earlier result.

    Args:
        before: Settings of an earlier run, perhaps of an earlier version.
        now: Settings of the run that is wanted.
        chosen: The keys of `now` that are not at their default.
    """
    found: list[Difference] = []
    for key in sorted(before.keys() | now.keys()):
        if key in before and key in now:
            differs = before[key] != now[key]
        elif key in now:
            differs = key in chosen
        else:
            differs = _OPEN in key
        if differs:
            found.append(Difference(key, before.get(key), now.get(key)))
    return found
