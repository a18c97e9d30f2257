"""The counter: a voucher is looked at, and redeemed once."""

import re

from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from core.locks import lock_row
from shop.errors import VoucherRefused
from shop.events import VoucherRedeemed
from shop.models import Order, Voucher
from shop.queries.recovery import current_rules
from shop.services.order_log import write_log
from shop.services.vouchers import end_of_day


def voucher_code(text: str) -> str:
    """The twelve digits in what was typed or scanned ("1234 5678 9012", or the address of the QR code); "" if none."""
    text = text.strip()[:300]
    if "code=" in text:
        text = text.rsplit("code=", 1)[1].split("&", 1)[0]
    digits = re.sub(r"[\s\-+]|%20", "", text)
    return digits if re.fullmatch(r"[0-9]{12}", digits) else ""


@transaction.atomic
def redeem_voucher(*, code: str, store_id: int, by: str, user_id: int | None = None) -> Voucher:
    """Redeem a voucher in a store, once: a guarded update of its state.

    Locks: order, voucher. A second call with the same code raises VoucherRefused ("used"), as do a wrong store, a
    voucher given back, and a time before or after its validity. Publishes: VoucherRedeemed.
    """
    found = find_voucher(code)
    order = lock_row(Order.objects.filter(pk=found.line.order_id))
    voucher = find_voucher(code)  # as it is under the order's lock
    refuse_voucher(voucher, store_id)
    moment = clock.now()
    done = Voucher.objects.filter(
        pk=voucher.pk, state=Voucher.UNUSED, valid_from__lte=moment, expires_at__gt=moment
    ).update(state=Voucher.REDEEMED, redeemed_at=moment, store_id=store_id, actor=by[:80], user_id=user_id)
    voucher.refresh_from_db()
    if not done or order is None:
        refuse_voucher(voucher, store_id)
        raise VoucherRefused(_("This voucher cannot be redeemed now."), code="not_open")
    write_log(
        order, "redeemed", actor=by, user_id=user_id, note=f"{voucher.store} · {voucher.line.product_name}"
    )
    if order.member_id:
        publish(
            VoucherRedeemed(
                voucher_id=voucher.pk,
                order_id=order.pk,
                member_id=order.member_id,
                store_id=store_id,
                at=moment,
            ),
            key=f"order:{order.pk}",
        )
    return voucher


def find_voucher(code: str) -> Voucher:
    """The voucher with this code, with line, order and terms. Raises VoucherRefused."""
    rows = Voucher.objects.select_related("line__order", "line__sku__terms", "store")
    found = rows.filter(code=code).first() if code else None
    if found is None:
        raise VoucherRefused(
            _("No voucher has this code. Please check its twelve digits."), code="unknown_code"
        )
    return found


def refuse_voucher(voucher: Voucher, store_id: int) -> None:
    """Raises VoucherRefused, with what the colleague should say, unless it may be redeemed here and now."""
    moment = clock.now()
    if voucher.state == Voucher.REDEEMED:
        raise VoucherRefused(
            _("This voucher was redeemed at %(time)s in %(store)s.")
            % {
                "time": f"{clock.local(voucher.redeemed_at or moment):%Y-%m-%d %H:%M}",
                "store": voucher.store.name if voucher.store else "",
            },
            code="used",
        )
    if voucher.state == Voucher.VOID:
        raise VoucherRefused(_("This voucher was paid back: it is not valid any more."), code="void")
    if voucher.state == Voucher.EXPIRED or voucher.expires_at <= moment:
        raise VoucherRefused(
            _("This voucher expired on %(day)s.") % {"day": f"{clock.local(voucher.expires_at):%Y-%m-%d}"},
            code="expired",
        )
    if voucher.valid_from > moment:
        raise VoucherRefused(
            _("This voucher is valid from %(day)s on.")
            % {"day": f"{clock.local(voucher.valid_from):%Y-%m-%d}"},
            code="too_early",
        )
    stores = list(voucher.line.sku.terms.stores.order_by("name"))
    if stores and store_id not in {store.pk for store in stores}:
        raise VoucherRefused(
            _("This voucher is redeemed in: %(stores)s.")
            % {"stores": "、".join(store.name for store in stores[:6])},
            code="wrong_store",
        )


@transaction.atomic
def extend_vouchers(*, voucher_ids: list[int], days: int) -> int:
    """Give vouchers that nobody used so many days more, the expired from today; returns how many.

    A decision of staff; not idempotent: each call adds.
    """
    if not 1 <= days <= 3_650:
        raise VoucherRefused(_("Between 1 and 3,650 days."), code="bad_days")
    moment, before = clock.now(), current_rules().voucher_days
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE shop_voucher v SET state = 'unused', expires_at = n.ends, reminder = '', remind_at = CASE
                WHEN %s > 0 THEN greatest(n.ends - make_interval(days => %s), n.begins + (n.ends - n.begins) / 2) END
            FROM (SELECT id, greatest(valid_from, %s) AS begins,
                         greatest(expires_at, %s) + make_interval(days => %s) AS ends FROM shop_voucher) n
            WHERE n.id = v.id AND v.id = ANY(%s) AND v.state IN ('unused', 'expired')
            """,
            [before, before, moment, end_of_day(moment), days, voucher_ids],
        )
        return int(cursor.rowcount)
