"""Every day's bill of WeChat Pay beside our own books; what differs waits in a queue until a person explains it."""

from datetime import date, datetime, time, timedelta

import structlog
from django.db import connection, transaction
from django.db.models import Count, Q, Sum
from django.utils.translation import gettext as _

from core import clock
from core.errors import Refusal
from shop.bills import Line, UnreadableBill, read_bill
from shop.errors import BadAmount, WrongState
from shop.models import Bill, BillDifference, BillLine, DirectPayment, Payment
from shop.queries.reconciliation import DIFFERENCES
from shop.services.direct import learn_direct
from shop.services.payments_ended import learn_payment
from wechat import errors as wechat_errors
from wechat import queries as wechat_queries
from wechat import services as wechat_services

log = structlog.get_logger(__name__)

READY = time(10, 30)  # WeChat promises ten o'clock
DAYS_BACK = 90  # and keeps bills for three months
ASK_AGAIN = timedelta(minutes=30)


def reconcile(*, limit: int = 5) -> int:
    """Note the bills that are due and work on them; returns how many were compared.

    Network, outside transactions. Each step (fetch, ask about what we missed, compare) is committed, so a worker that
    dies is followed by the next where it stopped. Claimed by a conditional update.
    """
    open_bills()
    moment, compared = clock.now(), 0
    due = Bill.objects.filter(next_attempt_at__lte=moment).order_by("day", "pk")
    for bill in list(due[:limit]):
        claimed = Bill.objects.filter(
            pk=bill.pk, attempts=bill.attempts, next_attempt_at=bill.next_attempt_at
        ).update(attempts=min(bill.attempts + 1, 30_000), next_attempt_at=moment + ASK_AGAIN)
        if claimed:
            compared += _tried(bill)
    return compared


def open_bills() -> int:
    """One waiting bill for every merchant and day up to today, from the day on which the shop began; returns how many
    are new. Idempotent on: account, day.
    """
    today = clock.now().astimezone(clock.zone()).date()
    opened = 0
    for account in wechat_queries.active_accounts("pay"):
        last = (
            Bill.objects.filter(account_id=account.pk).order_by("-day").values_list("day", flat=True).first()
        )
        day = today if last is None else max(last + timedelta(days=1), today - timedelta(days=DAYS_BACK))
        while day <= today:
            opened += open_bill(account_id=account.pk, day=day)[1]
            day += timedelta(days=1)
    return opened


def open_bill(*, account_id: int, day: date) -> tuple[Bill, bool]:
    """The bill of a merchant's day and whether it is new. Raises BadAmount (no day that WeChat has a bill of)."""
    today = clock.today()
    if not today - timedelta(days=DAYS_BACK) <= day <= today:
        raise BadAmount(_("WeChat keeps bills for three months."))
    ready_at = datetime.combine(day + timedelta(days=1), READY, tzinfo=clock.zone())
    return Bill.objects.get_or_create(
        account_id=account_id, day=day, defaults={"next_attempt_at": max(ready_at, clock.now())}
    )


def _tried(bill: Bill) -> bool:
    """What nobody foresaw of one bill is no reason to leave the others."""
    try:
        return _work(bill)
    except Exception as error:
        log.exception("bill not compared", bill=bill.pk, day=str(bill.day))
        Bill.objects.filter(pk=bill.pk).update(last_error=type(error).__name__)
        return False


def _work(bill: Bill) -> bool:
    try:
        if bill.status == Bill.WAITING:
            text = wechat_services.trade_bill(account_id=bill.account_id, day=bill.day)
            keep_lines(bill_id=bill.pk, lines=list(read_bill(text)) if text else [])
        _learn_missed(bill)
        compare_bill(bill_id=bill.pk)
    except (wechat_errors.PlatformError, UnreadableBill) as error:
        words = error.message if isinstance(error, Refusal) else str(error)
        log.warning("bill not compared", bill=bill.pk, day=str(bill.day), error=words)
        Bill.objects.filter(pk=bill.pk).update(last_error=words[:300])
        return False
    return True


@transaction.atomic
def keep_lines(*, bill_id: int, lines: list[Line]) -> None:
    """Write the lines of a bill down. Locks: the bill. Idempotent on: bill, numbers of the line."""
    bill = Bill.objects.select_for_update().get(pk=bill_id)
    BillLine.objects.bulk_create(
        (
            BillLine(
                bill=bill,
                out_trade_no=line.out_trade_no,
                transaction_id=line.transaction_id,
                out_refund_no=line.out_refund_no,
                refund_id=line.refund_id,
                state=line.state[:20],
                amount_fen=line.amount_fen,
                fee_fen=line.fee_fen,
                at=line.at,
            )
            for line in lines
        ),
        ignore_conflicts=True,
        batch_size=2000,
    )
    is_payment = Q(out_refund_no="")
    sums = bill.lines.aggregate(  # as kept: a line that was sent twice counts once
        payments_count=Count("pk", filter=is_payment),
        payments_fen=Sum("amount_fen", filter=is_payment, default=0),
        refunds_count=Count("pk", filter=~is_payment),
        refunds_fen=Sum("amount_fen", filter=~is_payment, default=0),
        fee_fen=Sum("fee_fen", default=0),
    )
    for name, value in sums.items():
        setattr(bill, name, value)
    bill.last_error = ""
    if bill.status == Bill.WAITING:
        bill.status = Bill.READ
    bill.save()


def _learn_missed(bill: Bill) -> None:
    """What is on the bill and not paid here lost its notice: ask WeChat, and book or return it like any other."""
    numbers = bill.lines.filter(out_refund_no="").values("out_trade_no")
    missed = Payment.objects.filter(
        account_id=bill.account_id, out_trade_no__in=numbers, status__in=[Payment.OPEN, Payment.CLOSED]
    )
    for payment in list(missed[:500]):
        learn_payment(payment)
    direct = DirectPayment.objects.filter(
        account_id=bill.account_id, out_trade_no__in=numbers, status__in=[Payment.OPEN, Payment.CLOSED]
    )
    for one in list(direct[:500]):
        learn_direct(one)


@transaction.atomic
def compare_bill(*, bill_id: int) -> int:
    """Put every difference of a bill that was read into the queue; returns how many are open. What is gone since an
    earlier comparison is resolved by itself.

    Locks: the bill. Idempotent. Raises WrongState (not fetched yet).
    """
    bill = Bill.objects.select_for_update().get(pk=bill_id)
    if bill.status == Bill.WAITING:
        raise WrongState(_("This bill is not here yet."))
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH found AS ({DIFFERENCES}), gone AS (
                UPDATE shop_billdifference d SET resolved_at = %(now)s, note = %(note)s, actor = 'system'
                WHERE d.bill_id = %(bill)s AND d.resolved_at IS NULL AND NOT EXISTS (
                    SELECT 1 FROM found f
                    WHERE (f.kind, f.is_refund, f.number) = (d.kind, d.is_refund, d.number))
            )
            INSERT INTO shop_billdifference
                (bill_id, kind, is_refund, number, payment_id, ours_fen, theirs_fen, found_at, note, actor)
            SELECT bill_id, kind, is_refund, number, max(payment_id), max(ours_fen), sum(theirs_fen), %(now)s, '', ''
            FROM found GROUP BY bill_id, kind, is_refund, number  -- a number may stand on several lines
            ON CONFLICT (bill_id, kind, is_refund, number) DO UPDATE
                SET ours_fen = excluded.ours_fen, theirs_fen = excluded.theirs_fen
            """,  # noqa: S608  a statement of ours
            {"bill": bill.pk, "now": moment, "note": _("Not different any more at a later comparison")},
        )
    bill.status, bill.compared_at, bill.next_attempt_at, bill.last_error = Bill.COMPARED, moment, None, ""
    bill.save(update_fields=["status", "compared_at", "next_attempt_at", "last_error"])
    still_open = bill.differences.filter(resolved_at__isnull=True).count()
    if still_open:
        log.error("bill differs", bill=bill.pk, day=str(bill.day), differences=still_open)
    return still_open


@transaction.atomic
def resolve_difference(
    *, difference_id: int, note: str, by: str = "", user_id: int | None = None
) -> BillDifference:
    """Close a difference with its explanation. Locks: the row, by conditional update. Raises WrongState, BadAmount."""
    note = " ".join(note.split())[:300]
    if not note:
        raise BadAmount(_("Write down what the difference was."))
    changed = BillDifference.objects.filter(pk=difference_id, resolved_at__isnull=True).update(
        resolved_at=clock.now(), note=note, actor=by, user_id=user_id
    )
    if not changed:
        raise WrongState(_("This difference is resolved already."))
    return BillDifference.objects.get(pk=difference_id)
