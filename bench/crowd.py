"""A big brand in the laboratory: members, what they bought, their tags, all that they did; in a database of its own.

`POND_BENCH_MEMBERS` says how many members there are; a million is what the promises are about, and brings 5 million
orders, 6 million tag links and 20 million facts. Rows are made by the database itself from a fixed seed, without
triggers and references' checks, with the wide indexes made at the end: none of that is measured. The first bench that
asks makes the world, every later one begins with a copy of its files.
"""

import os
import time
from datetime import timedelta

from bench import lab

MEMBERS = int(os.environ.get("POND_BENCH_MEMBERS", "100000"))
TAGS = 300
TAGS_EACH, ORDERS_EACH, FACTS_EACH = 6, 5, 20
FACT_DAYS = 720  # of what is no order
ORDER_DAYS = 1_900  # the oldest order of all
MOST_ORDERS = 200
MONTH = 30

TABLES = "'crm_member', 'crm_memberstats', 'crm_membertag', 'crm_activity'"
# A partition's index goes with its parent's.
INDEXES = f"""
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename IN ({TABLES}) AND schemaname = 'public' AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""
# Half of the members never bought; the others made ten orders on average, some very many, each with a rhythm of her
# own, the last of most long ago. Two in five were touched in the last sixty days. Tags are skewed: the first of each
# sixth is carried by one in seven.
PEOPLE = f"""
INSERT INTO crm_member (id, name, avatar_url, time_zone, note, tier, joined_via, session_version, created_at)
SELECT n, 'm' || n, '', '', '', (ARRAY['', '', '', '银卡', '金卡'])[1 + n %% 5], 'follow', 1,
       %(now)s::timestamptz - make_interval(secs => 86400 * 1000 * random())
FROM generate_series(1, {MEMBERS}) n;
INSERT INTO crm_memberstats (member_id, orders_count, paid_fen, refunded_fen, visits_count, first_paid_at, last_paid_at,
                             last_active_at, last_touch_at, marketing_consent)
SELECT n, orders, orders * (3000 + (random() * 30000)::bigint), 0, (random() * 20)::integer,
       CASE WHEN orders > 0 THEN last - make_interval(secs => LEAST((orders - 1) * rhythm, 1000) * 86400) END,
       CASE WHEN orders > 0 THEN last END,
       %(now)s::timestamptz - make_interval(secs => 86400 * 400 * random()),
       CASE WHEN n %% 5 < 2 THEN %(now)s::timestamptz - make_interval(secs => 86400 * 60 * random()) END,
       (ARRAY[true, true, NULL, false])[1 + n %% 4]
FROM (SELECT n, -ln(1 - random()) * 40 AS rhythm,
             %(now)s::timestamptz - make_interval(secs => 86400 * 899 * power(random(), 2)) AS last,
             CASE WHEN n %% 2 = 1 THEN 0 ELSE LEAST(
                 {MOST_ORDERS}, 1 + (ln(1 - random()) * ln(1 - random()) * ({2 * ORDERS_EACH} - 1))::integer
             ) END AS orders
      FROM generate_series(1, {MEMBERS}) n) one;
INSERT INTO crm_taggroup (id, name, sort) VALUES (1, '压测', 0);
INSERT INTO crm_tag (id, group_id, name, sort) SELECT n, 1, '标签' || n, 0 FROM generate_series(1, {TAGS}) n;
INSERT INTO crm_membertag (member_id, tag_id, origin, at)
SELECT n, 1 + slot + {TAGS_EACH} * floor({TAGS // TAGS_EACH} * power(random(), 2))::integer, 'import:bench', %(now)s
FROM generate_series(1, {MEMBERS}) n, generate_series(0, {TAGS_EACH - 1}) slot;
SELECT setval('crm_member_id_seq', {MEMBERS}), setval('crm_tag_id_seq', {TAGS}), setval('crm_taggroup_id_seq', 1);
"""
# The figures' orders, as the facts that they are summed from: the first and the last on their days, the others between.
ORDERS = f"""
INSERT INTO crm_activity (member_id, kind, at, subject, amount_fen, data)
SELECT member_id, 'paid', first_paid_at + (last_paid_at - first_paid_at) * CASE WHEN k = 1 THEN 0
       WHEN k = orders_count THEN 1 ELSE random() END,
       'order:' || (member_id * {MOST_ORDERS} + k), paid_fen / orders_count, '{{}}'
FROM crm_memberstats, generate_series(1, orders_count) k
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


def seed() -> None:
    """The world, and its bitmaps as Pond itself writes them."""
    from crm import bitmap_rows

    if not lab.has_kept():
        _make()
        lab.keep()
    lab.begin_with_kept()
    bitmap_rows.forget()  # those of the last bench's database


def facts_count() -> int:
    return MEMBERS * FACTS_EACH


def _make() -> None:
    from core import clock
    from crm import services

    started = time.perf_counter()
    moment = clock.now()
    lab.execute(
        "SET session_replication_role = replica; SET maintenance_work_mem = '512MB'; SELECT setseed(0.5)"
    )
    services.prepare_timeline(since=(moment - timedelta(days=ORDER_DAYS)).date(), until=moment.date())
    indexes = [(name, sql) for name, sql in lab.execute(INDEXES) if "crm_activity_" not in sql]
    for name, _definition in indexes:
        lab.execute(f'DROP INDEX "{name}"')
    lab.execute(PEOPLE, {"now": moment})
    lab.execute(ORDERS)
    others = facts_count() - lab.execute("SELECT sum(orders_count) FROM crm_memberstats")[0][0]
    each = others * MONTH // FACT_DAYS
    for number in range(FACT_DAYS // MONTH):
        begins = moment - timedelta(days=FACT_DAYS - number * MONTH)
        until = begins + timedelta(days=MONTH)
        lab.execute(FACTS, {"first": number * each, "count": each, "from": begins, "until": until})
    for _name, definition in indexes:
        lab.execute(definition.replace(" ON ONLY ", " ON "))
    lab.execute("RESET session_replication_role; RESET maintenance_work_mem")
    lab.execute("VACUUM ANALYZE")
    made = time.perf_counter()
    count = services.rebuild_bitmaps()
    lab.execute("VACUUM ANALYZE crm_segmentbitmap")
    lab.execute("VACUUM ANALYZE crm_bitmapdelta")
    (size,) = lab.execute("SELECT pg_database_size(current_database()) / 1000000")[0]
    print(
        f"# {MEMBERS:,} members, their orders, tags and {facts_count():,} facts made in {made - started:.0f} s, "
        f"{count:,} bitmaps in {time.perf_counter() - made:.1f} s; {size:,} MB",
        flush=True,
    )
