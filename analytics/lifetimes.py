"""What members are worth by where they came from: counted once a night, as rows that a page can read at once.

Where a member belongs:
- channel: the channel code that she came through first, else the way in which she became a member;
- store: that of her first paid order, else that of her channel code;
- guide: the one who has had her in WeCom for the longest, else that of her channel code;
- first product: the dearest line of her first paid order.
"""

import datetime as dt

from django.db import connection, transaction

from analytics import queries
from analytics.models import LifetimeCount, LifetimeExport, LifetimeRow
from core import clock
from core.locks import try_advisory_lock
from crm import queries as crm_queries

NIGHT_HOUR = 4  # by the shop's clock: an hour after the lifecycle, whose expectations are summed here

BELONGS = """
CREATE TEMP TABLE lifetime_members ON COMMIT DROP AS
WITH first_orders AS (
    SELECT DISTINCT ON (member_id) member_id, id, store_id FROM shop_order
    WHERE paid_at IS NOT NULL AND paid_fen > 0 AND member_id IS NOT NULL ORDER BY member_id, paid_at, id
), first_products AS (
    SELECT DISTINCT ON (line.order_id) line.order_id, sku.product_id
    FROM first_orders JOIN shop_orderline line ON line.order_id = first_orders.id
    JOIN shop_sku sku ON sku.id = line.sku_id ORDER BY line.order_id, line.total_fen DESC, line.id
), guides AS (
    SELECT DISTINCT ON (identity.member_id) identity.member_id, staff.id AS staff_id
    FROM crm_contact contact JOIN crm_identity identity ON identity.id = contact.identity_id
    JOIN crm_staff staff ON staff.work_userid = contact.userid
    WHERE contact.added_at IS NOT NULL AND (contact.removed_at IS NULL OR contact.added_at > contact.removed_at)
    ORDER BY identity.member_id, contact.added_at, contact.id
)
SELECT COALESCE('code:' || m.source_id, 'via:' || m.joined_via) AS channel,
       COALESCE('store:' || COALESCE(o.store_id, code.store_id), '') AS store,
       COALESCE('staff:' || COALESCE(guides.staff_id, code.staff_id), '') AS guide,
       COALESCE('product:' || p.product_id, '') AS product,
       COALESCE(s.orders_count, 0) AS orders, COALESCE(s.paid_fen - s.refunded_fen, 0) AS kept_fen,
       life.orders_milli, life.value_fen, life.vigour_bps
FROM crm_member m JOIN crm_memberstats s ON s.member_id = m.id
LEFT JOIN crm_channelcode code ON code.id = m.source_id
LEFT JOIN first_orders o ON o.member_id = m.id LEFT JOIN first_products p ON p.order_id = o.id
LEFT JOIN guides ON guides.member_id = m.id LEFT JOIN crm_memberlife life ON life.member_id = m.id
WHERE m.merged_into_id IS NULL
"""

COUNT = """
INSERT INTO analytics_lifetimerow (dimension, key, label, members, buyers, orders, kept_fen, alive,
    expected_orders_milli, expected_fen)
SELECT counted.dimension, counted.key, COALESCE(code.name, store.name, staff.name, product.name, ''), counted.members,
       counted.buyers, counted.orders, counted.kept_fen, counted.alive, counted.orders_milli, counted.value_fen
FROM (
    SELECT CASE WHEN GROUPING(channel) = 0 THEN 'channel' WHEN GROUPING(store) = 0 THEN 'store'
                WHEN GROUPING(guide) = 0 THEN 'guide' ELSE 'product' END AS dimension,
           COALESCE(channel, store, guide, product) AS key, count(*) AS members,
           count(*) FILTER (WHERE orders > 0) AS buyers, sum(orders)::bigint AS orders,
           sum(kept_fen)::bigint AS kept_fen, count(*) FILTER (WHERE orders > 0 AND vigour_bps >= 5000) AS alive,
           COALESCE(sum(orders_milli), 0)::bigint AS orders_milli, COALESCE(sum(value_fen), 0)::bigint AS value_fen
    FROM lifetime_members GROUP BY GROUPING SETS ((channel), (store), (guide), (product))
) counted
LEFT JOIN crm_channelcode code ON 'code:' || code.id = counted.key
LEFT JOIN crm_store store ON 'store:' || store.id = counted.key
LEFT JOIN crm_staff staff ON 'staff:' || staff.id = counted.key
LEFT JOIN shop_product product ON 'product:' || product.id = counted.key
"""


def count_due_lifetimes() -> int:
    """The nightly count when it is due, at once where there has been none, and again after the lifecycle was counted
    anew; returns how many rows it wrote.
    """
    newest, fit = queries.lifetimes_counted(), crm_queries.newest_fit()
    if newest is not None:
        is_night = newest.day < clock.today() and clock.local(clock.now()).hour >= NIGHT_HOUR
        is_behind = fit is not None and fit.fitted_at > newest.counted_at
        if not (is_night or is_behind):
            return 0
    return count_lifetimes()


@transaction.atomic
def count_lifetimes() -> int:
    """Count everything anew; returns how many rows there are. The mark of the day is written with the rows, so that a
    run that dies is done again.

    Locks: an advisory one; a second run at the same time does nothing. Idempotent on: the facts.
    """
    if not try_advisory_lock("analytics.lifetimes"):
        return 0
    today: dt.date = clock.today()
    LifetimeRow.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute("DROP TABLE IF EXISTS lifetime_members")
        cursor.execute(BELONGS)
        members = int(cursor.rowcount)
        cursor.execute(COUNT)
        written = int(cursor.rowcount)
    LifetimeCount.objects.update_or_create(
        day=today, defaults={"counted_at": clock.now(), "members_count": members}
    )
    return written


@transaction.atomic
def log_lifetime_export(*, dimension: str, rows_count: int, by_id: int) -> LifetimeExport:
    """Note who takes the table out of the house, before the first line goes."""
    return LifetimeExport.objects.create(
        dimension=dimension, rows_count=rows_count, at=clock.now(), by_id=by_id
    )
