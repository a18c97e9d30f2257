"""The statements of a lifecycle run. Its tables: `life_who` (whose purchases are read, with her figures as they were
before that), `life_days`, `life_now` (a row for everybody who is judged), `life_scores`, `life_changes`.
"""

from crm.lifecycle import rfm_sql, stage_sql

# Everybody who ever ordered.
EVERYBODY = """
CREATE TEMP TABLE life_who ON COMMIT DROP AS
SELECT s.member_id, s.orders_count, s.paid_fen, s.refunded_fen FROM crm_memberstats s WHERE s.orders_count > 0
"""

# Of whom something is new: her figures change in the transaction of each purchase, refund and merge.
CHANGED = """
CREATE TEMP TABLE life_who ON COMMIT DROP AS
SELECT s.member_id, s.orders_count, s.paid_fen, s.refunded_fen
FROM crm_memberstats s JOIN crm_member person ON person.id = s.member_id AND person.merged_into_id IS NULL
    AND person.erased_at IS NULL
LEFT JOIN crm_memberlife life ON life.member_id = s.member_id
WHERE CASE WHEN life.member_id IS NULL THEN s.orders_count > 0
      ELSE (life.seen_orders, life.seen_paid_fen, life.seen_refunded_fen)
           <> (s.orders_count, s.paid_fen, s.refunded_fen) END
"""


def days_sql(among: str = "") -> str:
    """The shop's days on which something was paid that was not refunded in full, with what was kept of it; of everybody
    or of those that `among` names. Takes the time zone and tomorrow's begin.
    """
    here = f"AND member_id IN (SELECT member_id FROM {among})" if among else ""  # noqa: S608  our own name
    return f"""
CREATE TEMP TABLE life_days ON COMMIT DROP AS
SELECT member_id, day, sum(kept)::bigint AS fen FROM (
    SELECT paid.member_id, (paid.at AT TIME ZONE %s)::date AS day, paid.amount_fen - COALESCE(back.fen, 0) AS kept
    FROM (SELECT * FROM crm_activity WHERE kind = 'paid' AND at < %s {here}) paid LEFT JOIN (
        SELECT member_id, subject, sum(amount_fen) AS fen FROM crm_activity WHERE kind = 'refunded' {here} GROUP BY 1, 2
    ) back ON back.member_id = paid.member_id AND back.subject = paid.subject
) orders WHERE kept > 0 GROUP BY 1, 2
"""  # noqa: S608  our own names


# The sufficient statistics of both models, a row a member.
NOW = """
CREATE TEMP TABLE life_now ON COMMIT DROP AS
SELECT member_id, (count(*) - 1)::int AS frequency, min(day) AS first_day, max(day) AS last_day,
       sum(fen)::bigint AS spent_fen, COALESCE(sum(fen) FILTER (WHERE day > first), 0)::bigint AS repeat_fen
FROM (SELECT member_id, day, fen, min(day) OVER (PARTITION BY member_id) AS first FROM life_days) days
GROUP BY member_id
"""

# What she is in RFM moves with the days and with everybody else: her purchases are known, her place is not. Takes the
# `rfm_params` and today.
DUE = f"""
INSERT INTO life_now
SELECT life.member_id, life.frequency, life.first_day, life.last_day, life.spent_fen, life.repeat_fen
FROM crm_memberlife life
WHERE (life.rfm <> {rfm_sql("life")} OR life.due_on <= %s::date)
  AND NOT EXISTS (SELECT FROM life_who w WHERE w.member_id = life.member_id)
"""  # noqa: S608

# Whose RFM is counted: who was erased has no place any more.
LIVING = """(
    SELECT n.* FROM life_now n JOIN crm_member person ON person.id = n.member_id AND person.merged_into_id IS NULL
        AND person.erased_at IS NULL
)"""
# The same in a night between: of those in `life_who` as they are now, of the others as they were.
STANDING = """(
    SELECT frequency, first_day, last_day, spent_fen, repeat_fen FROM life_now
    UNION ALL SELECT life.frequency, life.first_day, life.last_day, life.spent_fen, life.repeat_fen
    FROM crm_memberlife life
    WHERE NOT EXISTS (SELECT FROM life_who w WHERE w.member_id = life.member_id)
)"""


def ends_sql(rows: str) -> str:
    """The ends of the bands of RFM, a fifth of `rows` each; takes today."""
    fifths = "percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8])"
    return f"""
SELECT {fifths} WITHIN GROUP (ORDER BY %s::date - last_day), {fifths} WITHIN GROUP (ORDER BY frequency + 1),
       {fifths} WITHIN GROUP (ORDER BY spent_fen) FROM {rows} bought
"""  # noqa: S608


# The scores of everybody drift from day to day with nothing happening: a row is written again when they moved by so
# much, on the day that `due_on` names. What a purchase of hers is worth stays, so her value moves with the purchases
# expected of her.
DRIFT_BPS, DRIFT_MILLI, DRIFT_SHARE = 100, 5, 20
DRIFTED = f"""abs(old.vigour_bps - fresh.vigour_bps) >= {DRIFT_BPS}
   OR abs(old.chance_bps - fresh.chance_bps) >= {DRIFT_BPS}
   OR abs(old.orders_milli - fresh.orders_milli) > GREATEST({DRIFT_MILLI}, old.orders_milli / {DRIFT_SHARE})"""
# A new fit says something else of everybody, and on other days.
DIFFERS = """(old.chance_bps, old.vigour_bps, old.orders_milli)
      <> (fresh.chance_bps, fresh.vigour_bps, fresh.orders_milli)
   OR old.value_fen IS DISTINCT FROM fresh.value_fen OR old.due_on IS DISTINCT FROM fresh.due_on
   OR (old.seen_orders, old.seen_paid_fen, old.seen_refunded_fen)
      <> (fresh.orders_count, fresh.paid_fen, fresh.refunded_fen)"""


def changes_sql(moved: str) -> str:
    """What is to be written: a stage is always judged by the fresh score; of scores alone `moved` says when."""
    return f"""
CREATE TEMP TABLE life_changes ON COMMIT DROP AS
SELECT fresh.*, old.stage AS before FROM (
    SELECT bought.*, score.chance_bps, score.vigour_bps, score.orders_milli,
           round(score.orders_milli / 1000.0 * CASE WHEN bought.frequency = 0 THEN %s::float8
                 ELSE %s::float8 * (%s::float8 + bought.repeat_fen) / (%s::float8 * bought.frequency + %s::float8 - 1)
                 END)::bigint AS value_fen,
           {rfm_sql("bought")} AS rfm, score.stage, score.due_on,
           COALESCE(who.orders_count, seen.seen_orders, 0) AS orders_count,
           COALESCE(who.paid_fen, seen.seen_paid_fen, 0) AS paid_fen,
           COALESCE(who.refunded_fen, seen.seen_refunded_fen, 0) AS refunded_fen
    FROM life_now bought
    JOIN (SELECT given.*, {stage_sql("given")} AS stage FROM life_scores given) score
        ON score.frequency = bought.frequency AND score.recency = bought.last_day - bought.first_day
        AND score.age = %s::date - bought.first_day
    JOIN crm_member person ON person.id = bought.member_id AND person.merged_into_id IS NULL
        AND person.erased_at IS NULL
    LEFT JOIN life_who who ON who.member_id = bought.member_id
    LEFT JOIN crm_memberlife seen ON seen.member_id = bought.member_id
) fresh LEFT JOIN crm_memberlife old ON old.member_id = fresh.member_id
WHERE old.member_id IS NULL
   OR (old.frequency, old.first_day, old.last_day, old.spent_fen, old.repeat_fen, old.rfm, old.stage)
      IS DISTINCT FROM (fresh.frequency, fresh.first_day, fresh.last_day, fresh.spent_fen, fresh.repeat_fen,
                        fresh.rfm, fresh.stage)
   OR {moved}
"""  # noqa: S608  the sentences are ours


COLUMNS = (
    "member_id, frequency, first_day, last_day, spent_fen, repeat_fen, "
    "chance_bps, vigour_bps, orders_milli, value_fen, rfm, stage, due_on"
)
WRITE = f"""
INSERT INTO crm_memberlife AS life ({COLUMNS}, seen_orders, seen_paid_fen, seen_refunded_fen, since, scored_on)
SELECT {COLUMNS}, orders_count, paid_fen, refunded_fen, %s::date, %s::date FROM life_changes
ON CONFLICT (member_id) DO UPDATE SET frequency = excluded.frequency, first_day = excluded.first_day,
    last_day = excluded.last_day, spent_fen = excluded.spent_fen, repeat_fen = excluded.repeat_fen,
    chance_bps = excluded.chance_bps, vigour_bps = excluded.vigour_bps, orders_milli = excluded.orders_milli,
    value_fen = excluded.value_fen, rfm = excluded.rfm, stage = excluded.stage, scored_on = excluded.scored_on,
    since = CASE WHEN life.stage = excluded.stage THEN life.since ELSE excluded.since END,
    due_on = excluded.due_on, seen_orders = excluded.seen_orders, seen_paid_fen = excluded.seen_paid_fen,
    seen_refunded_fen = excluded.seen_refunded_fen
"""  # noqa: S608

# Something happened that comes to the same: an order refunded in full. Her row stays, her figures are seen.
SEEN = """
UPDATE crm_memberlife life SET seen_orders = w.orders_count, seen_paid_fen = w.paid_fen,
    seen_refunded_fen = w.refunded_fen
FROM life_who w WHERE w.member_id = life.member_id
  AND (life.seen_orders, life.seen_paid_fen, life.seen_refunded_fen) <> (w.orders_count, w.paid_fen, w.refunded_fen)
"""
