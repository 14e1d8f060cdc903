"""Whether two engines gave the same answer."""

import datetime
import math
from decimal import Decimal

RELATIVE_TOLERANCE = 1e-9


def same(ours, theirs):
    """Whether two values are the same. Exact, but for doubles, and for a double beside a decimal, which may be off by one in its last place."""
    if isinstance(ours, float) or isinstance(theirs, float):
        if ours is None or theirs is None:
            return False
        last_places = [10.0 ** value.as_tuple().exponent for value in (ours, theirs) if isinstance(value, Decimal)]
        return math.isclose(float(ours), float(theirs), rel_tol=RELATIVE_TOLERANCE, abs_tol=max(last_places, default=1e-12))
    return utc(ours) == utc(theirs)


def utc(value):
    """A timestamp without its zone, so that engines which keep one can be compared with those that do not."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return value


def sort_key(row):
    """Orders rows whatever their types; numbers are rounded, so that tiny differences do not change the order."""
    return [f"{value:.4g}" if isinstance(value, (int, float, Decimal)) else str(utc(value)) for value in row]


def difference(ours, theirs, ordered=False):
    """What differs between two lists of rows, in a line; `None` when they are the same. Unless `ordered`, order does not count."""
    if len(ours) != len(theirs):
        return f"{len(ours)} rows instead of {len(theirs)}"
    if not ordered:
        ours, theirs = sorted(ours, key=sort_key), sorted(theirs, key=sort_key)
    for number, (left, right) in enumerate(zip(ours, theirs), start=1):
        if len(left) != len(right):
            return f"{len(left)} columns instead of {len(right)}"
        if not all(map(same, left, right)):
            return f"row {number}: {left} instead of {right}"
    return None
