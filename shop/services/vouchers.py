"""Vouchers of paid pieces: issued, given back, reminded of, expired. `services.vouchers_desk` redeems them."""

import secrets
from datetime import datetime, timedelta

from django.db import IntegrityError, connection, transaction

from core import clock
from core.events import publish
from core.locks import lock_row
from core.sweeps import sweep
from crm import queries as crm_queries
from crm import services as crm_services
from shop import logistics
from shop.events import VoucherExpired
from shop.models import GoodsTerms, Order, OrderLine, Voucher
from shop.queries.recovery import current_rules
from shop.services.logistics import send_order_message

CODE_TRIES = 20
ASK_AGAIN = timedelta(hours=6)  # when a reminder may not go out now


def issue_vouchers(line: OrderLine, terms: GoodsTerms, *, at: datetime) -> None:
    """One voucher for each paid piece of a line. Idempotent: a piece has its number once."""
    known = set(Voucher.objects.filter(line=line).values_list("number", flat=True))
    begins = max(terms.valid_from or at, at)
    ends = terms.valid_until or end_of_day(begins + timedelta(days=terms.valid_days or 1))
    ends = max(ends, begins + timedelta(days=1))
    missing = [number for number in range(1, line.quantity + 1) if number not in known]
    remind_at = reminded_at(begins, ends)
    for _try in range(CODE_TRIES):  # a million million codes
        try:
            with transaction.atomic():
                Voucher.objects.bulk_create(
                    Voucher(
                        line=line,
                        number=number,
                        code=f"{secrets.randbelow(10**12):012d}",
                        valid_from=begins,
                        expires_at=ends,
                        created_at=at,
                        remind_at=remind_at,
                    )
                    for number in missing
                )
                return
        except IntegrityError:
            continue
    raise RuntimeError("no free voucher code was found")


def reminded_at(begins: datetime, ends: datetime) -> datetime | None:
    """When the owner of a voucher is reminded: some days before it ends, not before half of its time is over."""
    days = current_rules().voucher_days
    return max(ends - timedelta(days=days), begins + (ends - begins) / 2) if days else None


def end_of_day(moment: datetime) -> datetime:
    return clock.local(moment).replace(hour=23, minute=59, second=59, microsecond=0)


def void_vouchers(line: OrderLine, quantity: int) -> int:
    """Make so many vouchers of a line void that nobody used, the unused before the expired; returns how many."""
    return _turn(line, quantity, "state IN ('unused', 'expired')", "void")


def restore_vouchers(line: OrderLine, quantity: int) -> int:
    """The last that became void are good again; the sweeper expires those whose time is over."""
    return _turn(line, quantity, "state = 'void'", "unused")


def _turn(line: OrderLine, quantity: int, old: str, new: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH chosen AS (
                SELECT id FROM shop_voucher WHERE line_id = %s AND {old}
                ORDER BY state DESC, voided_at DESC, number DESC LIMIT %s FOR UPDATE
            )
            UPDATE shop_voucher v SET state = %s, voided_at = %s FROM chosen WHERE v.id = chosen.id AND {old}
            """,  # noqa: S608  two conditions of ours
            [line.pk, quantity, new, clock.now() if new == "void" else None],
        )
        return int(cursor.rowcount)


@transaction.atomic
def expire_vouchers(*, limit: int = 500) -> int:
    """Mark vouchers expired whose time is over; returns how many. One guarded statement; run every ten minutes.

    Locks: vouchers, those that nobody holds. Publishes: VoucherExpired, once each.
    """
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH ended AS (
                SELECT id FROM shop_voucher WHERE state = 'unused' AND expires_at <= %s
                ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
            )
            UPDATE shop_voucher v SET state = 'expired', remind_at = NULL
            FROM ended, shop_orderline l JOIN shop_order o ON o.id = l.order_id
            WHERE v.id = ended.id AND l.id = v.line_id AND v.state = 'unused'
            RETURNING v.id, o.id, o.member_id
            """,
            [moment, limit],
        )
        gone = cursor.fetchall()
    for pk, order_id, member_id in gone:
        if member_id:
            publish(
                VoucherExpired(voucher_id=pk, order_id=order_id, member_id=member_id, at=moment),
                key=f"order:{order_id}",
            )
    return len(gone)


def remind_of_vouchers(*, limit: int = 200) -> int:
    """Tell members whose vouchers end soon, once for all pieces of a line; returns how many were written to.

    One transaction per line. Who may not be touched now is asked about again hours later, while there is time.
    """
    moment = clock.now()
    due = Voucher.objects.filter(state=Voucher.UNUSED, remind_at__lte=moment, expires_at__gt=moment)
    lines = due.order_by("line_id").values_list("line_id", flat=True).distinct()
    return sweep(
        list(lines[:limit]),
        lambda line_id: remind_of_line(line_id=line_id),
        fault="reminder of vouchers failed",
        put_off=lambda line_id: due.filter(line=line_id).update(remind_at=moment + ASK_AGAIN),
    )


@transaction.atomic
def remind_of_line(*, line_id: int) -> bool:
    """The one reminder of a line's vouchers; True when a message was queued.

    Locks: order; memberstats by the touch. Idempotent: what was reminded of has no `remind_at`. The touch policy is
    asked with the purpose service, and the touch is booked under "voucher:" and the first piece's id.
    """
    order = lock_row(Order.objects.filter(lines=line_id))
    moment = clock.now()
    due = Voucher.objects.filter(
        line=line_id, state=Voucher.UNUSED, remind_at__lte=moment, expires_at__gt=moment
    )
    vouchers = list(due.select_related("line").order_by("expires_at", "number"))
    if order is None or not vouchers:
        return False
    if order.member_id is None:
        due.update(remind_at=None)
        return False
    verdict = crm_queries.touch_verdict(order.member_id, "service", moment)
    channel = ""
    if verdict.answer == "send":
        channel = send_order_message(order=order, kind=logistics.VOUCHER, vouchers=vouchers)
    if channel:
        crm_services.book_touches(
            origin=f"voucher:{vouchers[0].pk}:{vouchers[0].expires_at:%Y%m%d}",
            member_ids=[order.member_id],
            purpose="service",
            channel=channel,
            at=moment,
        )
        due.update(remind_at=None, reminder=channel)
        return True
    why = "no_way" if verdict.answer == "send" else verdict.reason or "another"
    later = moment + ASK_AGAIN
    due.update(remind_at=later if later < vouchers[0].expires_at else None, reminder=why)
    return False
