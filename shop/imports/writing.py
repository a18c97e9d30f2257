"""Writing a run's lines into the shop, set-based and in chunks: stage, products, members, orders, cancellations.

Each function is one transaction's work and may run again: what is written is found by its keys.
"""

import datetime as dt
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pgtrigger
from django.db import connection

from core import clock
from core.locks import advisory_lock
from core.statistics import refresh_statistics
from crm import services as crm_services
from crm.services import Purchases
from shop import services
from shop.imports.rules import Line
from shop.models import ImportLine, ImportRun, Order

# Reasons that only other lines show.
ALREADY_IMPORTED = "already_imported"
ORDER_DIFFERS = "order_differs"
SHIPPING_ALONE = "shipping_alone"
CANCELS_NOBODY = "cancels_nobody"
CANCELS_NOTHING = "cancels_nothing"

COLUMNS = (
    "run_id, number, source, kind, verdict, reason, order_number, code, name, quantity, price, placed_at, customer,"
    " fingerprint, occurrence, given_back"
)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Chunk:
    """What one chunk of orders brought: the last order number, to go on after; "" when none was left."""

    last_number: str
    lines: int


def stage(run: ImportRun, lines: Sequence[Line]) -> None:
    """Copy judged lines into the staging table; what is refused at once has its verdict already."""
    out = io.StringIO()
    for line in lines:
        verdict = ImportLine.REFUSED if line.reason else ImportLine.WAITING
        placed_at = line.placed_at.isoformat() if line.placed_at else "\\N"
        out.write(
            f"{run.pk}\t{line.number}\t{_cell(run.source)}\t{line.kind}\t{verdict}\t{line.reason}\t"
            f"{_cell(line.order_number)}\t{_cell(line.code)}\t{_cell(line.name)}\t{line.quantity}\t{line.price}\t"
            f"{placed_at}\t{_cell(line.customer)}\t{line.fingerprint or chr(92) + 'N'}\t1\t0\n"
        )
    out.seek(0)
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY shop_importline ({COLUMNS}) FROM STDIN", out)


def _cell(text: str) -> str:
    return text.translate(_ESCAPES)


def settle_known(run: ImportRun) -> None:
    """Number equal lines, and skip those that an earlier run of this source has imported."""
    refresh_statistics("shop.ImportLine")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE shop_importline line SET occurrence = twin.occurrence
            FROM (
                SELECT id, row_number() OVER (PARTITION BY fingerprint ORDER BY number) AS occurrence
                FROM shop_importline WHERE run_id = %(run)s AND fingerprint IS NOT NULL
            ) twin
            WHERE line.id = twin.id AND twin.occurrence > 1
            """,
            {"run": run.pk},
        )
        cursor.execute(
            """
            UPDATE shop_importline line SET verdict = 'skipped', reason = %(reason)s
            FROM shop_importline known
            WHERE line.run_id = %(run)s AND line.verdict = 'waiting'
              AND known.source = line.source AND known.fingerprint = line.fingerprint
              AND known.occurrence = line.occurrence AND known.verdict = 'imported' AND known.run_id <> %(run)s
            """,
            {"run": run.pk, "reason": ALREADY_IMPORTED},
        )


def write_products(run: ImportRun) -> None:
    """A product with one SKU, taken off the shelves, for each code that the catalogue does not know.

    Its name is the first one that the file gives it, else its code; its price is the last one it was sold at.
    """
    moment = clock.now()
    # Nobody edited these: they are no part of the edit history.
    with pgtrigger.ignore(), connection.cursor() as cursor:
        # A planner that has not seen these rows yet would go through all products once for each code.
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(
            """
            WITH sold AS (
                SELECT code, array_remove(array_agg(NULLIF(name, '') ORDER BY number), NULL) AS names,
                       (array_agg(price ORDER BY placed_at DESC, number DESC))[1] AS price
                FROM shop_importline line
                WHERE run_id = %s AND verdict = 'waiting' AND kind = 'goods'
                  AND NOT EXISTS (SELECT FROM shop_sku sku WHERE sku.code = line.code)
                GROUP BY code
            ), made AS (
                INSERT INTO shop_product (name, subtitle, kind, status, detail, sort, code, min_price_fen,
                                          max_price_fen, sold_count, video, video_url, video_poster, sound,
                                          value_ids, is_in_stock, created_at, updated_at)
                SELECT left(coalesce(names[1], code), 120), '', 'goods', 'off', '', 0, code, price, price, 0,
                       '', '', '', '', '{}', false, %s, %s
                FROM sold ORDER BY code
                ON CONFLICT (code) DO NOTHING
                RETURNING id, code
            ), homes AS (
                SELECT id, code FROM made
                UNION SELECT product.id, product.code FROM shop_product product JOIN sold USING (code)
            )
            INSERT INTO shop_sku (product_id, code, name, spec, price_fen, weight_grams, position, is_active)
            SELECT homes.id, sold.code, '', '{}', sold.price, 0, 0, true FROM sold JOIN homes USING (code)
            ON CONFLICT (code) DO NOTHING
            RETURNING product_id
            """,
            [run.pk, moment, moment],
        )
        made = [row[0] for row in cursor.fetchall()]
        cursor.execute("SET LOCAL enable_nestloop = on")
    services.refresh_products(product_ids=made)


def write_members(run: ImportRun, after: str, limit: int) -> str:
    """Members for the next customers of the file, with the moment of their first line; the last customer number,
    "" when none was left. Nothing is invented: no number, no member; no name, no name.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT customer, min(placed_at) FROM shop_importline
            WHERE run_id = %s AND customer > %s AND placed_at IS NOT NULL
            GROUP BY customer ORDER BY customer LIMIT %s
            """,
            [run.pk, after, limit],
        )
        rows = cursor.fetchall()
    if not rows:
        return ""
    crm_services.members_for_import(
        source=run.source, rows=[{"external_id": customer, "joined_at": first} for customer, first in rows]
    )
    return str(rows[-1][0])


def prepare_months(run: ImportRun) -> None:
    """The timeline's months behind."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(placed_at)::date, max(placed_at)::date FROM shop_importline WHERE run_id = %s",
            [run.pk],
        )
        since, until = cursor.fetchone()
    if since:
        crm_services.prepare_timeline(since=since - dt.timedelta(days=1), until=until + dt.timedelta(days=1))


def write_orders(run: ImportRun, after: str, limit: int) -> Chunk:
    """The next orders with their lines, and what they mean for their members.

    An order is one fact: it comes whole from one run. Lines of an order that an earlier run brought are skipped when
    they are the same, else refused. No stock moves, no message and no event: history is not news.
    """
    advisory_lock("import-orders", run.source)
    numbers, lines = _next_orders(run, after, limit)
    if not numbers:
        return Chunk("", 0)
    _settle_known_orders(run, numbers)
    _refuse_shipping_alone(run, numbers)
    orders = _insert_orders(run, numbers)
    _insert_lines(run, orders)
    _book(run, orders)
    return Chunk(numbers[-1], lines)


def _next_orders(run: ImportRun, after: str, limit: int) -> tuple[list[str], int]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT order_number, count(*) FROM shop_importline
            WHERE run_id = %s AND verdict = 'waiting' AND kind IN ('goods', 'shipping') AND order_number > %s
            GROUP BY order_number ORDER BY order_number LIMIT %s
            """,
            [run.pk, after, limit],
        )
        rows = cursor.fetchall()
    return [number for number, _count in rows], sum(count for _number, count in rows)


def _settle_known_orders(run: ImportRun, numbers: list[str]) -> None:
    known = list(
        Order.objects.filter(channel=channel_of(run), external_id__in=numbers).values_list(
            "external_id", flat=True
        )
    )
    if known:
        ImportLine.objects.filter(
            run=run,
            verdict=ImportLine.WAITING,
            kind__in=[ImportLine.GOODS, ImportLine.SHIPPING],
            order_number__in=known,
        ).update(verdict=ImportLine.REFUSED, reason=ORDER_DIFFERS)


def _refuse_shipping_alone(run: ImportRun, numbers: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE shop_importline line SET verdict = 'refused', reason = %(reason)s
            WHERE run_id = %(run)s AND order_number = ANY(%(numbers)s) AND verdict = 'waiting' AND kind = 'shipping'
              AND NOT EXISTS (
                  SELECT FROM shop_importline goods
                  WHERE goods.run_id = line.run_id AND goods.order_number = line.order_number
                    AND goods.verdict = 'waiting' AND goods.kind = 'goods'
              )
            """,
            {"run": run.pk, "numbers": numbers, "reason": SHIPPING_ALONE},
        )


def _insert_orders(run: ImportRun, numbers: list[str]) -> list[tuple[Any, ...]]:
    """(id, file's number, member id, total, paid at) of the new orders, in the state of something long received."""
    customers = (
        ImportLine.objects.filter(run=run, verdict=ImportLine.WAITING, order_number__in=numbers)
        .exclude(customer="")
        .values_list("customer", flat=True)
        .distinct()
    )
    members = crm_services.members_for_import(
        source=run.source, rows=[{"external_id": customer} for customer in customers]
    )
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH bought AS (
                SELECT order_number, max(customer) AS customer, min(placed_at) AS placed_at,
                       coalesce(sum(price * quantity) FILTER (WHERE kind = 'goods'), 0) AS items,
                       coalesce(sum(price * quantity) FILTER (WHERE kind = 'shipping'), 0) AS shipping
                FROM shop_importline
                WHERE run_id = %(run)s AND order_number = ANY(%(numbers)s) AND verdict = 'waiting'
                  AND kind IN ('goods', 'shipping')
                GROUP BY order_number
            ), made AS (
                INSERT INTO shop_order (
                    number, member_id, status, channel, external_id, currency, items_fen, shipping_fen, discount_fen,
                    total_fen, paid_fen, refunded_fen, receiver, phone, region, street, postal_code, note,
                    cancel_reason, placed_at, paid_at
                )
                SELECT CASE WHEN length(%(prefix)s || order_number) <= 32 THEN %(prefix)s || order_number
                            ELSE md5(%(prefix)s || order_number) END,
                       buyer.member_id, 'received', %(channel)s, order_number,
                       %(currency)s, items, shipping, 0, items + shipping, items + shipping, 0,
                       '', '', '', '', '', '', '', placed_at, placed_at
                FROM bought
                LEFT JOIN unnest(%(customers)s::text[], %(members)s::bigint[]) AS buyer (customer, member_id)
                    ON buyer.customer = bought.customer
                ORDER BY order_number
                RETURNING id, external_id, member_id, total_fen, paid_at
            ), logged AS (
                INSERT INTO shop_orderlog (order_id, action, actor, note, at)
                SELECT id, 'imported', 'system', %(note)s, %(now)s FROM made
            )
            SELECT id, external_id, member_id, total_fen, paid_at FROM made
            """,
            {
                "run": run.pk,
                "numbers": numbers,
                "prefix": f"{run.source}-".upper(),
                "channel": channel_of(run),
                "currency": run.currency,
                "customers": list(members),
                "members": list(members.values()),
                "note": f"#{run.pk}",
                "now": clock.now(),
            },
        )
        return cursor.fetchall()


def _insert_lines(run: ImportRun, orders: list[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH taken AS (
                UPDATE shop_importline line SET verdict = 'imported', order_id = made.id
                FROM unnest(%(ids)s::bigint[], %(numbers)s::text[]) AS made (id, number)
                WHERE line.run_id = %(run)s AND line.order_number = made.number AND line.verdict = 'waiting'
                  AND line.kind IN ('goods', 'shipping')
                RETURNING line.number, line.kind, line.order_id, line.code, line.name, line.price, line.quantity
            )
            INSERT INTO shop_orderline (order_id, sku_id, product_name, sku_name, image, unit_price_fen, quantity,
                                        discount_fen, total_fen)
            SELECT taken.order_id, sku.id, left(coalesce(NULLIF(taken.name, ''), product.name), 120), '', '',
                   taken.price, taken.quantity, 0, taken.price * taken.quantity
            FROM taken JOIN shop_sku sku ON sku.code = taken.code
            JOIN shop_product product ON product.id = sku.product_id
            WHERE taken.kind = 'goods' ORDER BY taken.number
            """,
            {"run": run.pk, "ids": [order[0] for order in orders], "numbers": [order[1] for order in orders]},
        )


def _book(run: ImportRun, orders: list[tuple[Any, ...]]) -> None:
    """Timeline facts and figures of the members, in the transaction of their orders."""
    facts = []
    bought: dict[int, list[tuple[int, dt.datetime]]] = defaultdict(list)
    for order_id, _number, member_id, total, paid_at in orders:
        if member_id is None:
            continue
        facts.append(
            {
                "member_id": member_id,
                "kind": "paid",
                "at": paid_at,
                "subject": f"order:{order_id}",
                "amount_fen": total,
                "data": {"source": run.source, "currency": run.currency},
            }
        )
        bought[member_id].append((total, paid_at))
    crm_services.record_activities(facts)
    crm_services.book_purchases(
        Purchases(
            member_id=member_id,
            orders_count=len(purchases),
            paid_fen=sum(total for total, _at in purchases),
            refunded_fen=0,
            first_paid_at=min(at for _total, at in purchases),
            last_paid_at=max(at for _total, at in purchases),
        )
        for member_id, purchases in bought.items()
    )


def take_back(run: ImportRun, limit: int) -> int:
    """Match the next cancellations, earliest first, to purchases of the same customer, SKU and price before them,
    the latest purchase first. A cancellation that they do not cover in full is refused: what it takes back is not in
    this history. Returns how many were looked at.
    """
    advisory_lock("import-orders", run.source)
    waiting = list(
        ImportLine.objects.filter(run=run, verdict=ImportLine.WAITING, kind=ImportLine.CANCELLATION).order_by(
            "placed_at", "number"
        )[:limit]
    )
    if not waiting:
        return 0
    candidates: dict[tuple[str, str, int], list[ImportLine]] = defaultdict(list)
    for bought in ImportLine.objects.filter(
        source=run.source,
        verdict=ImportLine.IMPORTED,
        kind=ImportLine.GOODS,
        customer__in={line.customer for line in waiting} - {""},
        code__in={line.code for line in waiting},
    ).order_by("-placed_at", "-number"):
        candidates[bought.customer, bought.code, bought.price].append(bought)
    given: dict[int, ImportLine] = {}
    refunds: list[tuple[int, int, dt.datetime]] = []  # order, amount, when
    for line in waiting:
        parts = _match(line, candidates[line.customer, line.code, line.price]) if line.customer else []
        if not parts:
            line.verdict = ImportLine.REFUSED
            line.reason = CANCELS_NOTHING if line.customer else CANCELS_NOBODY
            continue
        line.verdict, line.reason, line.order_id = ImportLine.IMPORTED, "", parts[0][0].order_id
        for bought, quantity in parts:
            bought.given_back += quantity
            given[bought.pk] = bought
            assert bought.order_id is not None, "it was imported"
            assert line.placed_at is not None, "it was matched by its time"
            refunds.append((bought.order_id, quantity * bought.price, line.placed_at))
    ImportLine.objects.bulk_update(waiting, ["verdict", "reason", "order"], batch_size=500)
    ImportLine.objects.bulk_update(given.values(), ["given_back"], batch_size=500)
    _refund(run, refunds)
    return len(waiting)


def _match(line: ImportLine, candidates: list[ImportLine]) -> list[tuple[ImportLine, int]]:
    """Purchases and how much of each is taken back; empty when they do not cover the whole line."""
    parts: list[tuple[ImportLine, int]] = []
    open_quantity = line.quantity
    for bought in candidates:
        left = bought.quantity - bought.given_back
        if (
            left <= 0
            or bought.placed_at is None
            or line.placed_at is None
            or bought.placed_at > line.placed_at
        ):
            continue
        quantity = min(left, open_quantity)
        parts.append((bought, quantity))
        open_quantity -= quantity
        if open_quantity == 0:
            return parts
    return []


def _refund(run: ImportRun, refunds: list[tuple[int, int, dt.datetime]]) -> None:
    """Book amounts on orders, in their log, and for their members. A fully refunded order is marked so."""
    if not refunds:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH back AS (
                SELECT * FROM unnest(%(orders)s::bigint[], %(amounts)s::bigint[], %(moments)s::timestamptz[])
                    AS back (order_id, amount, at)
            ), logged AS (
                INSERT INTO shop_orderlog (order_id, action, actor, note, at)
                SELECT order_id, 'refunded', 'system', %(note)s, at FROM back
            )
            UPDATE shop_order o SET
                refunded_fen = o.refunded_fen + sums.amount,
                status = CASE WHEN o.refunded_fen + sums.amount = o.paid_fen THEN 'refunded' ELSE o.status END,
                refunded_at = GREATEST(o.refunded_at, sums.at)
            FROM (SELECT order_id, sum(amount) AS amount, max(at) AS at FROM back GROUP BY order_id) sums
            WHERE o.id = sums.order_id
            """,
            {
                "orders": [order_id for order_id, _amount, _at in refunds],
                "amounts": [amount for _order_id, amount, _at in refunds],
                "moments": [at for _order_id, _amount, at in refunds],
                "note": f"#{run.pk}",
            },
        )
    members = dict(
        Order.objects.filter(pk__in={order_id for order_id, *_rest in refunds})
        .exclude(member=None)
        .values_list("pk", "member_id")
    )
    facts: list[dict[str, Any]] = [
        {
            "member_id": members[order_id],
            "kind": "refunded",
            "at": at,
            "subject": f"order:{order_id}",
            "amount_fen": amount,
            "data": {"source": run.source, "currency": run.currency},
        }
        for order_id, amount, at in refunds
        if order_id in members
    ]
    crm_services.record_activities(facts)
    sums: dict[int, int] = defaultdict(int)
    for fact in facts:
        sums[fact["member_id"]] += fact["amount_fen"]
    crm_services.book_purchases(
        Purchases(
            member_id=member_id,
            orders_count=0,
            paid_fen=0,
            refunded_fen=amount,
            first_paid_at=None,
            last_paid_at=None,
        )
        for member_id, amount in sums.items()
    )


def channel_of(run: ImportRun) -> str:
    return f"import:{run.source}"
