"""What the services and the queries of AIPL share: the sentence that says where a member stands, and what may be asked.

AIPL (aware, interested, purchase, loyal) is the consumer-asset model that Alibaba published in 2017; the windows are
the operator's.
"""

import datetime as dt
from typing import Any

from django.utils.translation import gettext as _

from core import clock
from crm.errors import WrongDefinition
from crm.models import AiplDefinition
from crm.models.aipl import INTERESTS

LARGEST_FEN = 10**12

EVERYBODY = """
SELECT s.member_id, s.orders_count, s.refunded_fen, s.visits_count, s.last_active_at, old.step AS before,
       old.since, old.due_on
FROM crm_memberstats s JOIN crm_member person ON person.id = s.member_id AND person.merged_into_id IS NULL
    AND person.erased_at IS NULL
LEFT JOIN crm_memberaipl old ON old.member_id = s.member_id
"""

# Somebody new, somebody of whom something is new, somebody whose time is over. Takes today.
CHANGED = f"""{EVERYBODY} WHERE old.member_id IS NULL OR old.due_on <= %s::date
   OR (old.seen_orders, old.seen_refunded_fen, old.seen_visits)
      IS DISTINCT FROM (s.orders_count, s.refunded_fen, s.visits_count)
   OR old.seen_active_at IS DISTINCT FROM s.last_active_at
"""


def judged_sql(who: str) -> str:
    """Rows of `who` with `step` and `due_on` (the day on which time alone may end it); takes `judged_params`.

    An order counts with what was paid less what was refunded of it, as in the lifecycle; a purchase is a day of the
    shop. The last of the facts that a step needs says how long it lasts.
    """
    return f"""
WITH back AS (
    SELECT member_id, subject, sum(amount_fen) AS fen FROM crm_activity
    WHERE kind = 'refunded' AND member_id IN (SELECT member_id FROM {who}) GROUP BY 1, 2
), days AS (
    SELECT paid.member_id, (paid.at AT TIME ZONE %s)::date AS day,
           sum(paid.amount_fen - COALESCE(back.fen, 0))::bigint AS fen
    FROM crm_activity paid LEFT JOIN back ON back.member_id = paid.member_id AND back.subject = paid.subject
    WHERE paid.kind = 'paid' AND paid.at >= %s AND paid.at < %s
      AND paid.member_id IN (SELECT member_id FROM {who}) AND paid.amount_fen > COALESCE(back.fen, 0)
    GROUP BY 1, 2
), bought AS (
    SELECT member_id, max(day) AS last_day, count(*) FILTER (WHERE day > %s::date) AS purchases,
           sum(fen) FILTER (WHERE day > %s::date) AS fen, min(day) FILTER (WHERE day > %s::date) AS oldest,
           (array_agg(day ORDER BY day DESC))[%s] AS needed
    FROM days GROUP BY 1
), looked AS (
    SELECT member_id, (at AT TIME ZONE %s)::date AS day,
           row_number() OVER (PARTITION BY member_id ORDER BY at DESC) AS place
    FROM crm_activity WHERE kind = ANY(%s) AND at >= %s AND at < %s
      AND member_id IN (SELECT member_id FROM {who})
), interested AS (
    SELECT member_id, day FROM looked WHERE place = %s
), stood AS (
    SELECT who.*, bought.last_day, bought.oldest, bought.needed, interested.day AS looked_day,
           CASE WHEN bought.purchases >= %s AND bought.fen >= %s THEN 'loyal'
                WHEN bought.last_day > %s::date THEN 'bought'
                WHEN interested.day IS NOT NULL THEN 'interested' ELSE 'aware' END AS step
    FROM {who} who LEFT JOIN bought ON bought.member_id = who.member_id
    LEFT JOIN interested ON interested.member_id = who.member_id
)
SELECT member_id, orders_count, refunded_fen, visits_count, last_active_at, before, since AS since_before,
       due_on AS due_before, step,
       CASE step WHEN 'loyal' THEN LEAST(needed, CASE WHEN %s > 0 THEN oldest END) + %s
                 WHEN 'bought' THEN last_day + %s WHEN 'interested' THEN looked_day + %s END AS due_on
FROM stood
"""  # noqa: S608  the sentences are ours


def judged_params(rule: AiplDefinition, today: dt.date) -> list[Any]:
    def before(days: int) -> dt.date:
        """The last day that is no more within so many days."""
        return today - dt.timedelta(days=days)

    def start(days: int) -> dt.datetime:
        return clock.day_start(before(days) + dt.timedelta(days=1))

    zone, tomorrow = clock.zone().key, clock.day_start(today + dt.timedelta(days=1))
    return [
        *(zone, start(max(rule.bought_days, rule.loyal_days)), tomorrow),
        *([before(rule.loyal_days)] * 3),
        rule.loyal_purchases,
        *(zone, list(rule.interest_kinds), start(rule.interest_days), tomorrow),
        rule.interest_facts,
        *(rule.loyal_purchases, rule.loyal_fen, before(rule.bought_days)),
        *(rule.loyal_fen, rule.loyal_days, rule.bought_days, rule.interest_days),
    ]


def check_aipl(rule: AiplDefinition) -> None:
    """Raises WrongDefinition, in words an operator can act on."""
    if not rule.interest_kinds or not set(rule.interest_kinds) <= set(dict(INTERESTS)):
        raise WrongDefinition(_("Choose at least one thing that shows interest."))
    windows = (
        (rule.interest_facts, 1, 100),
        (rule.interest_days, 1, 730),
        (rule.bought_days, 1, 3650),
        (rule.loyal_purchases, 2, 100),
        (rule.loyal_days, 1, 3650),
        (rule.loyal_fen, 0, LARGEST_FEN),
    )
    if not all(low <= value <= high for value, low, high in windows):
        raise WrongDefinition(
            _(
                "Times may be 1 to 100, days of interest up to 730, other days up to 3650; loyal is from 2 purchases."
            )
        )
