"""Vouchers of paid pieces: issued, given back, expired. `services.vouchers_desk` redeems them."""

import secrets
from datetime import datetime, timedelta

from django.db import IntegrityError, connection, transaction

from core import clock
from shop.models import GoodsTerms, OrderLine, Voucher

CODE_TRIES = 20


def issue_vouchers(line: OrderLine, terms: GoodsTerms, *, at: datetime) -> None:
    """One voucher for each paid piece of a line. Idempotent: a piece has its number once."""
    known = set(Voucher.objects.filter(line=line).values_list("number", flat=True))
    begins = max(terms.valid_from or at, at)
    ends = terms.valid_until or end_of_day(begins + timedelta(days=terms.valid_days or 1))
    missing = [number for number in range(1, line.quantity + 1) if number not in known]
    for _try in range(CODE_TRIES):  # a million million codes
        try:
            with transaction.atomic():
                Voucher.objects.bulk_create(
                    Voucher(
                        line=line,
                        number=number,
                        code=f"{secrets.randbelow(10**12):012d}",
                        valid_from=begins,
                        expires_at=max(ends, begins + timedelta(days=1)),
                        created_at=at,
                    )
                    for number in missing
                )
                return
        except IntegrityError:
            continue
    raise RuntimeError("no free voucher code was found")


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


def expire_vouchers() -> int:
    """Mark vouchers expired whose time is over; returns how many. One guarded statement; run hourly."""
    return Voucher.objects.filter(state=Voucher.UNUSED, expires_at__lte=clock.now()).update(
        state=Voucher.EXPIRED
    )
