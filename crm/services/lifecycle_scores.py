"""The numbers of a lifecycle run: groups of equal histories out of the database, scores of each group back in.

Loads NumPy and SciPy: imported only by the run itself.
"""

import datetime as dt
import io
from typing import Any

import numpy as np

from core import clock
from crm import alive
from crm.lifecycle import FEWEST_REPEATERS, HORIZON_DAYS, too_few
from crm.models import LifeFit

LONGEST_HOLDOUT, SHORTEST_HOLDOUT = 90, 14

GROUPS = """
SELECT frequency, last_day - first_day, %s::date - first_day, count(*) FROM life_now GROUP BY 1, 2, 3
"""

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
    cursor.execute("SELECT frequency, repeat_fen FROM life_now WHERE frequency > 0")
    repeats = np.array(cursor.fetchall(), dtype=np.float64).T
    spend = alive.fit_spend(repeats[0], repeats[1] / repeats[0])
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


def write_scores(cursor: Any, fit: LifeFit, today: dt.date) -> None:
    """life_scores: chance, vigour (bps) and expected purchases (thousandths) of every different history."""
    history = alive.History.of(*_rows(cursor, GROUPS, [today], width=4))
    rhythm = alive.Rhythm(fit.r, fit.alpha, fit.a, fit.b)
    chance = np.rint(alive.chance_alive(rhythm, history) * 10_000)
    vigour = np.rint(alive.vigour(rhythm, history, HORIZON_DAYS) * 10_000)
    orders = np.rint(alive.expected_purchases(rhythm, history, HORIZON_DAYS) * 1_000)
    columns = np.stack([history.frequency, history.recency, history.age, chance, vigour, orders])
    cursor.execute(
        """
        CREATE TEMP TABLE life_scores (frequency int, recency int, age int, chance_bps smallint,
            vigour_bps smallint, orders_milli int) ON COMMIT DROP
        """
    )
    out = io.StringIO()
    np.savetxt(out, columns.T, fmt="%d", delimiter="\t")
    out.seek(0)
    cursor.copy_expert("COPY life_scores FROM STDIN", out)
    cursor.execute("ANALYZE life_scores")


def _rows(cursor: Any, sql: str, params: list[Any], *, width: int) -> Any:
    """The answer as arrays, one a column."""
    cursor.execute(sql, params)
    return np.array(cursor.fetchall(), dtype=np.float64).reshape(-1, width).T
