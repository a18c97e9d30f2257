"""Whom a plan means, exactly and now.

Bitmaps say who is surely meant and who possibly. Members who changed since the bitmaps were written, and those who
stand in a band through which a rule cuts, are judged by their own rows. So an answer is right at once, whoever wrote
the bitmaps and whenever; folding the changed members in only makes the next answer cheaper.
"""

import datetime as dt
from typing import Any

from django.db import connection
from pyroaring import BitMap

from core import clock
from crm import bitmap_rows, bitmaps
from crm.bitmap_folding import fold
from crm.bitmap_rows import Range
from crm.bitmaps import Facts, Plan, Sets, Within

MOST_CHANGED = 2_000  # judged one by one; when more have changed, they are folded in first


def members_of(plan: Plan) -> BitMap:
    """The living members whom the plan means; the caller's own set."""
    facts = {leaf: who_did(leaf) for leaf in bitmaps.leaves(plan) if isinstance(leaf, Facts)}
    sets, changed = _sets(plan, facts)
    sure, possible = bitmaps.evaluate(plan, sets)
    if possible is not sure and (unsure := possible - sure - changed):
        sure, _possible = bitmaps.evaluate(plan, _settled(sets, unsure))
    found = sure - changed
    for member_id, state in bitmap_rows.states_of(changed) if changed else ():
        if bitmaps.holds(plan, state, {leaf for leaf, doers in facts.items() if member_id in doers}):
            found.add(member_id)
    return found


def _sets(plan: Plan, facts: dict[Facts, BitMap]) -> tuple[Sets, BitMap]:
    """What each leaf needs, and who has changed since it was written."""
    whole: dict[Within, Range] = {}
    cut: dict[Within, list[Range]] = {}
    for leaf in bitmaps.leaves(plan):
        if isinstance(leaf, Within):
            (first, last), bands = leaf.bands()
            whole[leaf] = (leaf.dimension, first, last)
            cut[leaf] = [(leaf.dimension, band, band) for band in bands]
    everybody = (bitmaps.LIVING, 0, 0)
    ranges = list(
        dict.fromkeys([everybody, *whole.values(), *(one for ones in cut.values() for one in ones)])
    )
    unions, changed = bitmap_rows.read(ranges, most_changed=MOST_CHANGED + 1)
    if len(changed) > MOST_CHANGED:
        fold()
        unions, changed = bitmap_rows.read(ranges, most_changed=None)
    sets = Sets(living=unions[everybody], sure={}, possible={})
    for did, doers in facts.items():
        sets.sure[did] = sets.possible[did] = doers & sets.living
    for leaf, span in whole.items():
        sets.sure[leaf] = sets.possible[leaf] = unions[span]
        if cut[leaf]:
            sets.possible[leaf] = BitMap.union(unions[span], *(unions[one] for one in cut[leaf]))
    return sets, changed


def _settled(sets: Sets, unsure: BitMap) -> Sets:
    """The same with bands that a rule cuts settled for the unsure, by their own numbers. For everybody else it makes no
    difference on which side of the cut they stand.
    """
    sure = dict(sets.sure)
    for leaf, possible in sets.possible.items():
        if (
            isinstance(leaf, Within)
            and possible is not sure[leaf]
            and (open_ones := (possible - sure[leaf]) & unsure)
        ):
            sure[leaf] = sure[leaf] | bitmap_rows.whose_number_is(leaf, open_ones)
    return Sets(living=sets.living, sure=sure, possible=sure)


def who_did(facts: Facts) -> BitMap:
    """The members with so many facts. One statement over an index of the timeline."""
    sql, params = facts_sql(facts)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT array_agg(member_id) FROM ({sql}) AS found", params)  # noqa: S608  the names stand in the source
        return BitMap(cursor.fetchone()[0] or ())


def facts_sql(facts: Facts, member_id: int | None = None) -> tuple[str, list[Any]]:
    """The statement and its parameters; for one member: how many such facts she has."""
    conditions = "kind = %s AND at >= %s AND at < %s"
    params = [
        facts.kind,
        clock.day_start(facts.first),
        clock.day_start(facts.last + dt.timedelta(days=1)),
    ]
    if facts.subjects:
        conditions += " AND subject = ANY(%s)"
        params.append(list(facts.subjects))
    if member_id is not None:
        return f"SELECT count(*) FROM crm_activity WHERE member_id = %s AND {conditions}", [  # noqa: S608  the names stand in the source
            member_id,
            *params,
        ]
    return (
        f"SELECT member_id FROM crm_activity WHERE {conditions} GROUP BY member_id HAVING count(*) >= %s",  # noqa: S608  the names stand in the source
        [*params, facts.times],
    )
