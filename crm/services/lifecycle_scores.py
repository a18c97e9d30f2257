"""The numbers of a lifecycle run: groups of equal histories out of the database, scores of each group back in.

Loads NumPy and SciPy: imported only by the run itself.
"""

import datetime as dt
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import clock
from crm import alive
from crm.lifecycle import FEWEST_REPEATERS, HORIZON_DAYS, too_few
from crm.models import LifeFit
from crm.services.lifecycle_sql import DRIFT_BPS, DRIFT_MILLI, DRIFT_SHARE, STANDING

Scores = tuple[
    alive.Floats, alive.Floats, alive.Floats
]  # chance, vigour (bps), expected purchases (thousandths)

NIGHTS = 7
"""So far ahead it is known who will be judged; after them everybody is (`lifecycle.WHOLE_EVERY`)."""
ANOTHER = 0.01
"""Of so many members another fit may say something else before it is taken; at the latest it is after NIGHTS."""
LONGEST_HOLDOUT, SHORTEST_HOLDOUT = 90, 14

GROUPS = """
SELECT frequency, last_day - first_day, %s::date - first_day, count(*) FROM life_now GROUP BY 1, 2, 3
"""
GROUPS_STANDING = GROUPS.replace("life_now", f"{STANDING} bought")
REPEATS = "SELECT frequency, repeat_fen FROM life_now WHERE frequency > 0"
REPEATS_STANDING = REPEATS.replace("life_now", f"{STANDING} bought")

# What would have been known on the last day before the holdout, and what was bought in it.
HELD_OUT = """
SELECT frequency, recency, age, count(*), sum(later)::bigint FROM (
    SELECT count(*) FILTER (WHERE day <= %s::date) - 1 AS frequency,
           max(day) FILTER (WHERE day <= %s::date) - min(day) AS recency,
           %s::date - min(day) AS age, count(*) FILTER (WHERE day > %s::date) AS later
    FROM life_days GROUP BY member_id HAVING min(day) <= %s::date
) histories GROUP BY 1, 2, 3
"""


def fit_all(cursor: Any, today: dt.date) -> LifeFit:
    """Both models on everybody's purchases until today, and how well a fit without the last weeks foretold them.

    The row is not saved. Raises NotEnoughBuyers.
    """
    groups = _rows(cursor, GROUPS, [today], width=4)
    history = alive.History.of(*groups)
    if history.repeaters < FEWEST_REPEATERS:
        raise too_few(history.repeaters)
    rhythm = alive.fit_rhythm(history)
    repeats, spent = _rows(cursor, REPEATS, [], width=2)
    spend = alive.fit_spend(repeats, spent / repeats)
    days, calibration = _hold_out(cursor, today, rhythm)
    return LifeFit(
        as_of=today,
        fitted_at=clock.now(),
        r=rhythm.r,
        alpha=rhythm.alpha,
        a=rhythm.a,
        b=rhythm.b,
        log_likelihood=rhythm.log_likelihood,
        p=spend.p,
        q=spend.q,
        v=spend.v,
        converged=rhythm.converged and spend.converged,
        members_count=history.customers,
        repeaters_count=history.repeaters,
        holdout_days=days,
        calibration=calibration,
    )


def still_right(cursor: Any, fit: LifeFit, today: dt.date, levels: Sequence[int]) -> bool:
    """Whether the models, fitted tonight to everybody's purchases, say what `fit` says: of at most one member in a
    hundred something that would be written (another stage, or scores as far apart as a drift that is written), and of
    the worth of a purchase nothing that would. `levels` are those of the stages.
    """
    history = alive.History.of(*_rows(cursor, GROUPS_STANDING, [today], width=4))
    if history.repeaters < FEWEST_REPEATERS:
        return True  # there is nothing better to go by
    then = alive.Rhythm(fit.r, fit.alpha, fit.a, fit.b)
    try:
        now = alive.fit_rhythm(history, starts=[then], anew=False)
    except alive.TooLittle:
        return False  # from the old parameters nothing is found: sought from all starts
    moved = _moved(_scores(then, history), _scores(now, history), levels)
    if history.count @ moved > ANOTHER * history.customers:
        return False
    if fit.p is None or fit.q is None or fit.v is None or fit.q <= 1:
        return True
    repeats, spent = _rows(cursor, REPEATS_STANDING, [], width=2)
    before = alive.Spend(fit.p, fit.q, fit.v)
    worth = alive.fit_spend(repeats, spent / repeats, near=before).mean
    return bool(abs(worth - before.mean) <= before.mean / DRIFT_SHARE)


def _hold_out(cursor: Any, today: dt.date, near: alive.Rhythm) -> tuple[int, list[dict[str, float]]]:
    """Days held out and the calibration; (0, []) for a history too short. The holdout is at most a third of it."""
    cursor.execute("SELECT min(day) FROM life_days")
    (first,) = cursor.fetchone()
    days = min(LONGEST_HOLDOUT, (today - first).days // 3)
    if days < SHORTEST_HOLDOUT:
        return 0, []
    cut = today - dt.timedelta(days=days)
    *groups, actual = _rows(cursor, HELD_OUT, [cut] * 5, width=5)
    history = alive.History.of(*groups)
    if history.repeaters < FEWEST_REPEATERS:
        return 0, []
    rhythm = alive.fit_rhythm(history, starts=[near])
    predicted = alive.expected_purchases(rhythm, history, days)
    return days, alive.calibration(history.frequency, predicted, actual, history.count)


def write_scores(cursor: Any, fit: LifeFit, today: dt.date, levels: Sequence[int]) -> int:
    """life_scores: chance, vigour (bps) and expected purchases (thousandths) of every different history in life_now,
    and the day on which they will have drifted; `levels` are those of the stages. Returns how many members these are.
    """
    rhythm = alive.Rhythm(fit.r, fit.alpha, fit.a, fit.b)
    history = alive.History.of(*_rows(cursor, GROUPS, [today], width=4))
    now = _scores(rhythm, history)
    drift = _days_until_drift(rhythm, history, now, levels)
    columns = np.stack([history.frequency, history.recency, history.age, *now, drift])
    cursor.execute(
        """
        CREATE TEMP TABLE life_scores (frequency int, recency int, age int, chance_bps smallint,
            vigour_bps smallint, orders_milli int, due_on date) ON COMMIT DROP
        """
    )
    days = [(today + dt.timedelta(days=ahead)).isoformat() for ahead in range(NIGHTS + 1)] + ["\\N"]
    out = io.StringIO()
    for *numbers, ahead in columns.T.astype(np.int64).tolist():
        out.write("\t".join(map(str, numbers)) + f"\t{days[ahead]}\n")
    out.seek(0)
    cursor.copy_expert("COPY life_scores FROM STDIN", out)
    cursor.execute("ANALYZE life_scores")
    return history.customers


def _scores(rhythm: alive.Rhythm, history: alive.History) -> Scores:
    """(chance, vigour, expected purchases) in whole bps and thousandths. All fall with the age of a history."""
    orders = alive.expected_purchases(rhythm, history, HORIZON_DAYS)
    return (
        np.rint(alive.chance_alive(rhythm, history) * 10_000),
        np.rint(alive.vigour(rhythm, history, HORIZON_DAYS, expected=orders) * 10_000),
        np.rint(orders * 1_000),
    )


def _days_until_drift(
    rhythm: alive.Rhythm,
    history: alive.History,
    now: Scores,
    levels: Sequence[int],
) -> alive.Floats:
    """In how many days scores will be written again though nothing happens, by the rule of `lifecycle_sql.DRIFTED`; one
    more than NIGHTS where none of those nights does. Scores only fall, so the first day is found by halving.
    """
    quiet = np.zeros_like(history.age)
    for step in (4, 2, 1):
        then = alive.History(history.frequency, history.recency, history.age + quiet + step, history.count)
        quiet += np.where(_moved(now, _scores(rhythm, then), levels), 0, step)
    return quiet + 1


def _moved(written: Scores, fresh: Scores, levels: Sequence[int]) -> NDArray[np.bool_]:
    """Of which histories the fresh scores would be written: `lifecycle_sql.DRIFTED`, or another stage."""
    chance, vigour, orders = written
    fresh_chance, fresh_vigour, fresh_orders = fresh
    return np.asarray(
        (np.searchsorted(levels, vigour, side="right") != np.searchsorted(levels, fresh_vigour, side="right"))
        | (np.abs(vigour - fresh_vigour) >= DRIFT_BPS)
        | (np.abs(chance - fresh_chance) >= DRIFT_BPS)
        | (np.abs(orders - fresh_orders) > np.maximum(DRIFT_MILLI, orders // DRIFT_SHARE))
    )


def _rows(cursor: Any, sql: str, params: list[Any], *, width: int) -> Any:
    """The answer as arrays, one a column."""
    cursor.execute(sql, params)
    return np.array(cursor.fetchall(), dtype=np.float64).reshape(-1, width).T
