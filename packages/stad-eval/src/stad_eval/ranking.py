"""Orders that do not depend on the order of rows. Suffix legend: N = rows, D = coordinates."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def rank_order(
    group: NDArray[np.int64] | None, score: NDArray[np.float64], coordinates: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Rows by `group` [N], then the higher `score` [N], then `coordinates` [N, D]; indices [N].

    No `group`: all rows are of one. Rows that are equal in all three keep the order given; nothing
    can tell them apart.
    """
    if group is None:
        order = np.argsort(-score)
        equal = np.diff(score[order]) == 0
    else:
        order = np.lexsort((-score, group))
        equal = (np.diff(group[order]) == 0) & (np.diff(score[order]) == 0)
    resolve_ties(order, equal, lambda rows: coordinates[rows])
    return order


def falling_within(group: NDArray[np.int64], value: NDArray[np.floating]) -> NDArray[np.intp]:
    """Rows by `group` [N], numbers from 0, then the higher `value` [N]; equal rows anyhow."""
    if group.size == 0 or int(group.max()) >= 1 << 16:
        return np.lexsort((-value, group))
    # A quick sort and a radix sort of small integers take a fifth of the time of two stable sorts.
    order = np.argsort(-value)
    return order[np.argsort(group.astype(np.uint16)[order], kind="stable")]


def resolve_ties(
    order: NDArray[np.intp],
    equal: NDArray[np.bool_],
    key: Callable[[NDArray[np.intp]], NDArray[np.floating]],
) -> None:
    """Put rows of equal rank in the order of their `key`, then of their number; in place.

    Row `order[i]` and the next are equal where `equal[i]`; `key` makes [n, D] of n rows.
    """
    if not equal.any():
        return
    # Ties are few: only they pay for a sort by many columns.
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    run = np.cumsum(~np.append(False, equal))[tied]
    rows = order[tied]
    order[tied] = rows[np.lexsort((rows, *key(rows).T[::-1], run))]


def place_in_group(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """0-based place of every row within its group; `group` [N] holds equal values side by side."""
    new = np.append(True, np.diff(group) != 0)[: group.size]
    start = np.flatnonzero(new)
    sizes = np.diff(np.append(start, group.size))
    return np.arange(group.size) - np.repeat(start, sizes)


def split_where(rows: NDArray[np.intp], *columns: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Cut sorted `rows` wherever one of the columns changes; no rows give no parts."""
    if rows.size == 0:
        return []
    change = np.zeros(rows.size - 1, dtype=np.bool_)
    for column in columns:
        change |= np.diff(column[rows]) != 0
    return np.split(rows, np.flatnonzero(change) + 1)


def first_free(
    chooser_P: NDArray[np.int64], choice_P: NDArray[np.int64], choosers: int, choices: int
) -> NDArray[np.int64]:
    """What each chooser takes, int64 [choosers], -1 for nothing: one by one, the first still free.

    The P pairs say what each chooser would take, sorted by chooser and then by preference; chooser
    0 comes first. All choosers that nobody before them can disturb are served in one round.
    """
    taken = np.full(choosers, -1, dtype=np.int64)
    served = np.zeros(choosers, dtype=np.bool_)
    gone = np.zeros(choices, dtype=np.bool_)
    while chooser_P.size:
        claimant = np.full(choices, choosers, dtype=np.int64)
        np.minimum.at(claimant, choice_P, chooser_P)
        head = np.append(True, np.diff(chooser_P) != 0)
        final = np.flatnonzero(head & (claimant[choice_P] == chooser_P))
        taken[chooser_P[final]] = choice_P[final]
        served[chooser_P[final]] = True
        gone[choice_P[final]] = True
        left = ~(served[chooser_P] | gone[choice_P])
        chooser_P, choice_P = chooser_P[left], choice_P[left]
    return taken
