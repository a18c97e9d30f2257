"""RFM when a month has ended: counted from the timeline as it was then, so a month missed is counted later just so."""

import datetime as dt

from django.db import connection, transaction
from django.db.models import Min

from core import clock
from crm.lifecycle import rfm_params, rfm_sql
from crm.models import LifeDefinition, MemberStats, RfmMember, RfmMonth
from crm.rfm import MONTHS_KEPT, cell_sql, months_due, months_later
from crm.services.lifecycle import NIGHT_HOUR, SORT_MEMORY
from crm.services.lifecycle_sql import NOW, days_sql, ends_sql

WRITE = f"""
INSERT INTO crm_rfmmember (member_id, month, rfm)
SELECT bought.member_id, %s::date, {rfm_sql("bought")} FROM life_now bought
JOIN crm_member person ON person.id = bought.member_id AND person.merged_into_id IS NULL AND person.erased_at IS NULL
"""  # noqa: S608  the sentences are ours

FLOWS = f"""
INSERT INTO crm_rfmflow (month, from_cell, to_cell, members_count)
SELECT %s::date, {cell_sql("before.rfm")}, {cell_sql("after.rfm")}, count(*)
FROM (SELECT member_id, rfm FROM crm_rfmmember WHERE month = %s) before
FULL JOIN (SELECT member_id, rfm FROM crm_rfmmember WHERE month = %s) after USING (member_id)
GROUP BY 2, 3
"""  # noqa: S608


def count_rfm_months() -> int:
    """Count the months that have ended and are not counted yet; returns how many. At night.

    A month is one transaction, so a run that dies goes on where it stopped. Idempotent on: the month.
    """
    if clock.local(clock.now()).hour < NIGHT_HOUR:
        return 0
    first = MemberStats.objects.aggregate(at=Min("first_paid_at"))["at"]
    if first is None:
        return 0
    newest = RfmMonth.objects.order_by("-month").values_list("month", flat=True).first()
    due = months_due(today=clock.today(), first_purchase=clock.local(first).date(), newest=newest)
    return sum(count_rfm_month(month=month) for month in due)


@transaction.atomic
def count_rfm_month(*, month: dt.date) -> bool:
    """Keep who stood where when this month ended, by the bands in force now; False when it was kept already.

    Purchases until the month's end count, less what was refunded of them until now. Locks: an advisory one. Idempotent
    on: the month.
    """
    until = months_later(month, 1)
    last_day = until - dt.timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('crm.rfm', 0))")
        if RfmMonth.objects.filter(month=month).exists():
            return False
        cursor.execute(f"SET LOCAL work_mem = '{SORT_MEMORY}'")
        cursor.execute("DROP TABLE IF EXISTS life_days, life_now")
        cursor.execute(days_sql(), [clock.zone().key, clock.day_start(until)])
        cursor.execute(NOW)
        cursor.execute("ANALYZE life_now")
        rule = LifeDefinition.objects.order_by("-pk").first() or LifeDefinition()
        if rule.bands == LifeDefinition.QUANTILES:
            cursor.execute(ends_sql("life_now"), [last_day])
            ends = cursor.fetchone()
            if ends[0] is not None:
                rule.days_ends, rule.purchases_ends, rule.spend_ends_fen = ends
        # A merge that this run did not see waits here, and then moves the row that was written.
        cursor.execute("LOCK TABLE crm_rfmmember IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(WRITE, [month, *rfm_params(rule, last_day)])
        RfmMonth.objects.create(
            month=month,
            counted_at=clock.now(),
            bands=rule.bands,
            days_ends=rule.days_ends,
            purchases_ends=rule.purchases_ends,
            spend_ends_fen=rule.spend_ends_fen,
            members_count=cursor.rowcount,
        )
        cursor.execute(FLOWS, [month, months_later(month, -1), month])
        cursor.execute("DELETE FROM crm_rfmmember WHERE month < %s", [months_later(month, -MONTHS_KEPT)])
    return True


@transaction.atomic
def move_rfm_months(*, kept_id: int, merged_id: int) -> None:
    """Two members are one: her months are the kept one's where that had not bought yet; the others go.

    Locks: rfmmember. Idempotent on: the pair.
    """
    hers, others = RfmMember.objects.filter(member=kept_id), RfmMember.objects.filter(member=merged_id)
    others.filter(month__in=hers.values("month")).delete()
    others.update(member=kept_id)
