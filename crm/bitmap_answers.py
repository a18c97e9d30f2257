"""Whom a plan means, exactly and now.

Bitmaps say who is surely meant and who possibly. Members who changed since the bitmaps were written, and those who
stand in a band through which a rule cuts, are judged by their own rows. So an answer is right at once, whoever wrote
the bitmaps and whenever; folding the changed members in only makes the next answer cheaper, and is left to a worker.
"""

from collections.abc import Mapping

from pyroaring import BitMap

from core.wakeups import wake_now
from crm import bitmap_asks, bitmap_rows, bitmaps
from crm.bitmap_rows import Range
from crm.bitmaps import Asked, Plan, Sets, Within

FOLD_WISHED = 1_000  # changed members from which a worker is asked to fold them in now
MOST_CHANGED = 10_000  # judged one by one; of more the tables are asked as a whole


def members_of(plan: Plan) -> BitMap | None:
    """The living members whom the plan means; the caller's own set. None: so many have changed since the bitmaps were
    written that a statement over the tables is quicker.
    """
    wanted = _wanted(plan)
    unions, changed = bitmap_rows.read(list(wanted), most_changed=MOST_CHANGED + 1)
    if len(changed) > FOLD_WISHED:
        wake_now("crm.tasks.fold_bitmaps", queue="bulk")
    if len(changed) > MOST_CHANGED:
        return None
    facts = {leaf: bitmap_asks.who(leaf) for leaf in bitmaps.leaves(plan) if not isinstance(leaf, Within)}
    sets = _sets(plan, unions, facts)
    sure, possible = bitmaps.evaluate(plan, sets)
    if possible is not sure and (unsure := possible - sure - changed):
        sure, _possible = bitmaps.evaluate(plan, _settled(sets, unsure))
    found = sure - changed
    asked = {leaf.dimension for leaf in bitmaps.leaves(plan) if isinstance(leaf, Within)}
    for member_id, state in bitmap_rows.states_of(changed, asked) if changed else ():
        if bitmaps.holds(plan, state, {leaf for leaf, doers in facts.items() if member_id in doers}):
            found.add(member_id)
    return found


EVERYBODY: Range = (bitmaps.LIVING, 0, 0)


def _wanted(plan: Plan) -> dict[Range, None]:
    """The ranges of bitmaps that the plan needs, in order."""
    wanted: dict[Range, None] = {EVERYBODY: None}
    for leaf in bitmaps.leaves(plan):
        if isinstance(leaf, Within):
            (first, last), cut = leaf.bands()
            wanted[leaf.dimension, first, last] = None
            wanted |= {(leaf.dimension, band, band): None for band in cut}
    return wanted


def _sets(plan: Plan, unions: Mapping[Range, BitMap], facts: Mapping[Asked, BitMap]) -> Sets:
    """What each leaf needs."""
    sets = Sets(living=unions[EVERYBODY], sure={}, possible={})
    for did, doers in facts.items():
        sets.sure[did] = sets.possible[did] = doers & sets.living
    for leaf in bitmaps.leaves(plan):
        if isinstance(leaf, Within):
            (first, last), cut = leaf.bands()
            sets.sure[leaf] = sets.possible[leaf] = unions[leaf.dimension, first, last]
            if cut:
                bands = (unions[leaf.dimension, band, band] for band in cut)
                sets.possible[leaf] = BitMap.union(sets.sure[leaf], *bands)
    return sets


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
