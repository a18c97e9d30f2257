"""A big brand in the laboratory: a million members, what they bought as figures, their tags, twenty million facts.

`POND_BENCH_MEMBERS` makes it smaller; everything else keeps its share. Rows are made by the database itself, without
triggers and references' checks, with the wide indexes made at the end: none of that is measured.
"""

import os
import time
from datetime import timedelta

from bench import lab

MEMBERS = int(os.environ.get("POND_BENCH_MEMBERS", "1000000"))
TAGS = 300
TAGS_EACH, ORDERS_EACH, FACTS_EACH = 6, 5, 20
FACT_DAYS = 720

INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename IN ('crm_member', 'crm_memberstats', 'crm_membertag', 'crm_activity') AND schemaname = 'public'
  AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""
# Half of the members never bought, the others five orders on average of all, most of them long ago; two in five were
# touched in the last sixty days. Tags are skewed: the first of each sixth is carried by one in seven.
PEOPLE = f"""
INSERT INTO crm_member (id, name, avatar_url, time_zone, note, tier, joined_via, session_version, created_at)
SELECT n, 'm' || n, '', '', '', (ARRAY['', '', '', '银卡', '金卡'])[1 + n %% 5], 'follow', 1,
       %(now)s::timestamptz - make_interval(secs => 86400 * 1000 * random())
FROM generate_series(1, {MEMBERS}) n;
INSERT INTO crm_memberstats (member_id, orders_count, paid_fen, refunded_fen, visits_count, first_paid_at, last_paid_at,
                             last_active_at, last_touch_at, marketing_consent)
SELECT n, orders, orders * (3000 + (random() * 30000)::bigint), 0, (random() * 20)::integer,
       CASE WHEN orders > 0 THEN %(now)s::timestamptz - interval '900 days' END,
       CASE WHEN orders > 0 THEN %(now)s::timestamptz - make_interval(secs => 86400 * 900 * power(random(), 2)) END,
       %(now)s::timestamptz - make_interval(secs => 86400 * 400 * random()),
       CASE WHEN n %% 5 < 2 THEN %(now)s::timestamptz - make_interval(secs => 86400 * 60 * random()) END,
       (ARRAY[true, true, NULL, false])[1 + n %% 4]
FROM (SELECT n,
             CASE WHEN n %% 2 = 0 THEN 1 + (-ln(1 - random()) * ({2 * ORDERS_EACH} - 1))::integer ELSE 0 END AS orders
      FROM generate_series(1, {MEMBERS}) n) one;
INSERT INTO crm_taggroup (id, name, sort) VALUES (1, '压测', 0);
INSERT INTO crm_tag (id, group_id, name, sort) SELECT n, 1, '标签' || n, 0 FROM generate_series(1, {TAGS}) n;
INSERT INTO crm_membertag (member_id, tag_id, origin, at)
SELECT n, 1 + slot + {TAGS_EACH} * floor({TAGS // TAGS_EACH} * power(random(), 2))::integer, 'import:bench', %(now)s
FROM generate_series(1, {MEMBERS}) n, generate_series(0, {TAGS_EACH - 1}) slot;
"""
# In order of time, as facts come in.
FACTS = f"""
INSERT INTO crm_activity (member_id, kind, at, subject, amount_fen, data)
SELECT 1 + floor(random() * {MEMBERS})::bigint,
       (ARRAY['visited', 'viewed_product', 'viewed_product', 'added_to_cart', 'opened', 'touched', 'message',
              'viewed_product'])[1 + n %% 8],
       %(from)s::timestamptz + (n - %(first)s) * (%(until)s::timestamptz - %(from)s::timestamptz) / %(count)s,
       'product:' || (random() * 500)::integer, 0, '{{}}'
FROM generate_series(%(first)s::bigint, %(first)s::bigint + %(count)s - 1) n
"""


def seed(*, facts: bool = False) -> None:
    """People and their figures; with `facts` the timeline too. Then the bitmaps, as Pond itself writes them."""
    from core import clock
    from crm import bitmap_rows, services

    bitmap_rows.forget()  # those of the last bench's database
    started = time.perf_counter()
    moment = clock.now()
    lab.execute(
        "SET session_replication_role = replica; SET maintenance_work_mem = '512MB'; SELECT setseed(0.5)"
    )
    if facts:
        services.prepare_timeline(since=(moment - timedelta(days=FACT_DAYS)).date(), until=moment.date())
    indexes = lab.execute(INDEXES)
    for name, definition in indexes:
        if "crm_activity_" not in definition:  # a partition's index goes with its parent's
            lab.execute(f'DROP INDEX "{name}"')
    lab.execute(PEOPLE, {"now": moment})
    if facts:
        total, month = MEMBERS * FACTS_EACH, 30
        each = total * month // FACT_DAYS
        for number in range(FACT_DAYS // month):
            begins = moment - timedelta(days=FACT_DAYS - number * month)
            lab.execute(
                FACTS,
                {
                    "first": number * each,
                    "count": each,
                    "from": begins,
                    "until": begins + timedelta(days=month),
                },
            )
    for _name, definition in indexes:
        if "crm_activity_" not in definition:
            lab.execute(definition.replace(" ON ONLY ", " ON "))
    lab.execute("RESET session_replication_role; RESET maintenance_work_mem")
    lab.execute("VACUUM ANALYZE")
    made = time.perf_counter()
    count = services.rebuild_bitmaps()
    lab.execute("VACUUM ANALYZE crm_segmentbitmap")
    lab.execute("VACUUM ANALYZE crm_bitmapdelta")
    print(
        f"# {MEMBERS:,} members{' and their facts' if facts else ''} made in {made - started:.0f} s, "
        f"{count:,} bitmaps in {time.perf_counter() - made:.1f} s",
        flush=True,
    )
