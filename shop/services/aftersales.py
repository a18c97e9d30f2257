"""After-sales (售后): applied for, answered, sent back, received, paid back or exchanged.

Every command locks the order first, so two of them on one order follow each other.
"""

from collections.abc import Mapping, Sequence
from typing import IO

import structlog
from django.apps import apps
from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, money
from core.errors import Refusal
from core.locks import lock_row
from shop import aftersales_rules as rules
from shop.errors import (
    AfterSaleRefused,
    NoSuchAfterSale,
    NoSuchOrder,
    NothingToRefund,
    SoldOut,
    WrongState,
)
from shop.models import AfterSale, AfterSaleLine, Order, OrderLine, Payment, Refund, Sku, StockMovement
from shop.queries.aftersales import held_of
from shop.queries.vouchers import lines_with_unused_vouchers, redeemed_of
from shop.services.aftersales_gifts import gifts_coming_back
from shop.services.aftersales_photos import keep_photos, photos_of
from shop.services.aftersales_steps import move, note_step, refused_of
from shop.services.messages import tell_buyer
from shop.services.order_log import write_log
from shop.services.orders import held_lines
from shop.services.refunds import refund_lines, repeat_refund
from shop.services.routing import plan_instead
from shop.services.stock import Move, move_stock, warehouse_id

log = structlog.get_logger(__name__)


def apply_for_aftersale(
    *,
    order_id: int,
    member_id: int,
    kind: str,
    parts: Sequence[tuple[int, int]],
    reason: str,
    idempotency_key: str,
    description: str = "",
    files: Sequence[IO[bytes]] = (),
    new_skus: Mapping[int, int] | None = None,
    held_skus: Mapping[int, int] | None = None,
) -> AfterSale:
    """A shopper applies for pieces of her own order, (line id, quantity) each, with photos.

    `new_skus`: for an exchange, line id → the SKU that is wanted instead (without one: the same).
    `held_skus`: line id → which SKU it is about, when an exchange left her with several of one line. Locks: order.
    Idempotent on: (order, idempotency_key). Publishes: AfterSaleMoved. Raises NoSuchOrder, WrongState,
    AfterSaleRefused, NothingToRefund, BadPhoto.
    """
    photos = photos_of(files)
    with transaction.atomic():
        order = lock_row(Order.objects.filter(pk=order_id, member_id=member_id))
        if order is None:
            raise NoSuchOrder(_("This order does not exist."))
        known = AfterSale.objects.filter(order=order, idempotency_key=idempotency_key).first()
        if known is not None:
            return known
        _refuse_what_comes_too_late(order, kind, {line_id for line_id, _quantity in parts})
        lines = _lines_applied_for(order, kind, parts, new_skus or {}, held_skus or {})
        lines += _gifts_with(order, kind, lines)
        moment = clock.now()
        aftersale = AfterSale.objects.create(
            number=f"{order.number}-{AfterSale.objects.filter(order=order).count() + 1}",
            order=order,
            kind=kind,
            reason=" ".join(reason.split())[:80] or _("Other"),
            description=" ".join(description.split())[: rules.MAX_DESCRIPTION],
            amount_fen=sum(line.amount_fen for line in lines),
            was_shipped=order.status != Order.PAID,
            idempotency_key=idempotency_key,
            applied_at=moment,
            due_at=rules.due_at(kind, rules.APPLIED, moment),
        )
        for line in lines:
            line.aftersale = aftersale
        AfterSaleLine.objects.bulk_create(lines)
        keep_photos(aftersale, photos)
        note_step(aftersale, actor="member", note=_why(aftersale, lines))
        write_log(
            order,
            "aftersale",
            actor="member",
            note=f"{aftersale.number} {aftersale.get_kind_display()}",
        )
        return aftersale


def _why(aftersale: AfterSale, lines: Sequence[AfterSaleLine]) -> str:
    """Her reason; for a price that has fallen, which one and from what: it may change again before it is answered."""
    if aftersale.kind != rules.PRICE_PROTECTION:
        return aftersale.reason
    facts = [
        _("%(name)s ×%(count)d: paid ¥%(paid)s, now ¥%(now)s")
        % {
            "name": f"{row.line.product_name} {row.line.sku_name}".strip(),
            "count": kept,
            "paid": money.yuan(row.line.total_fen - row.line.refunded_fen),
            "now": money.yuan(row.line.sku.price_fen * kept),
        }
        for row in lines
        for kept in [row.line.quantity - row.line.refunded_quantity]
    ]
    return "；".join(facts)[:300]


def _gifts_with(order: Order, kind: str, lines: Sequence[AfterSaleLine]) -> list[AfterSaleLine]:
    """What was given along and goes with these: sent back too, or not sent at all. It is worth no money.

    Where something sent is paid back without its return, the fault is ours and the gift stays.
    """
    if kind not in (rules.REFUND_ONLY, rules.RETURN_REFUND):
        return []
    back = gifts_coming_back(order, {row.line_id: row.quantity for row in lines})
    if not back:
        return []
    unsent = {line.pk for line in held_lines(order)} if order.status == Order.PAID else set()
    busy = AfterSaleLine.objects.filter(line__in=back, is_open=True).values("line_id")
    gifts = OrderLine.objects.filter(pk__in=back).exclude(pk__in=busy).exclude(sku__supply=Sku.PIECES)
    return [
        AfterSaleLine(line=gift, quantity=back[gift.pk])
        for gift in gifts.order_by("pk")
        if kind == rules.RETURN_REFUND or gift.pk in unsent
    ]


def _refuse_what_comes_too_late(order: Order, kind: str, line_ids: set[int]) -> None:
    if kind not in rules.KINDS:
        raise AfterSaleRefused(_("Please choose what we can do for you."))
    if order.is_refunding:
        raise WrongState(_("The money for this order is already on its way back."))
    allowed = [Order.SHIPPED, Order.RECEIVED]
    if kind not in rules.WITH_RETURN:
        allowed.append(Order.PAID)
    if order.status not in allowed:
        raise WrongState(
            _("This cannot be applied for now; the order is: %(status)s.") % {"status": order.status_label}
        )
    moment = clock.now()
    is_late = order.received_at is not None and moment > order.received_at + rules.APPLY_WITHIN
    if is_late and not line_ids <= lines_with_unused_vouchers(order.pk):
        raise AfterSaleRefused(
            _("After-sales can be applied for within %(days)d days of receipt. Please write to us.")
            % {"days": rules.APPLY_WITHIN.days}
        )
    if kind == rules.PRICE_PROTECTION and (
        order.paid_at is None or moment > order.paid_at + rules.PROTECTION_TIME
    ):
        raise AfterSaleRefused(
            _("The price is protected for %(days)d days after payment.")
            % {"days": rules.PROTECTION_TIME.days}
        )


def _lines_applied_for(
    order: Order,
    kind: str,
    parts: Sequence[tuple[int, int]],
    new_skus: Mapping[int, int],
    held_skus: Mapping[int, int],
) -> list[AfterSaleLine]:
    """The lines with what they would give back, not saved yet. Raises AfterSaleRefused, NothingToRefund."""
    wanted: dict[int, int] = {}
    for line_id, quantity in parts:
        wanted[line_id] = wanted.get(line_id, 0) + quantity
    asked = OrderLine.objects.filter(order=order, pk__in=wanted)
    lines = list(asked.select_related("sku").order_by("pk"))
    if not wanted or len(lines) != len(wanted):
        raise AfterSaleRefused(_("Please choose what it is about."))
    if AfterSaleLine.objects.filter(line__in=wanted, is_open=True).exists():
        raise AfterSaleRefused(_("You have already applied for one of these; it is being looked at."))
    if kind in rules.WITH_RETURN and any(line.sku.supply == Sku.PIECES for line in lines):
        raise AfterSaleRefused(
            _("There is nothing to send back of a voucher or a code: ask for the money only.")
        )
    rows = []
    used, held = redeemed_of(order.pk), held_of(lines)
    for line in lines:
        quantity = wanted[line.pk]
        left = line.quantity - line.refunded_quantity - used.get(line.pk, 0)
        if not 1 <= quantity <= left:
            raise NothingToRefund(
                _("%(name)s: %(count)d pieces can be applied for.")
                % {"name": line.product_name, "count": left}
            )
        row = AfterSaleLine(line=line, quantity=quantity)
        if kind in rules.WITH_RETURN:
            sku = _held_sku(line, quantity, held[line.pk], held_skus.get(line.pk))
            row.held_sku = None if sku.pk == line.sku_id else sku
            if kind == rules.EXCHANGE:
                row.new_sku = _exchanged_for(sku, new_skus.get(line.pk, sku.pk))
        if kind != rules.EXCHANGE:
            row.amount_fen = _amount(kind, line, quantity)
        rows.append(row)
    if kind != rules.EXCHANGE and not any(row.amount_fen for row in rows):
        if kind == rules.PRICE_PROTECTION:
            raise AfterSaleRefused(_("The price has not fallen since you paid."))
        raise NothingToRefund(_("There is nothing to give back: it is already back, or on its way."))
    return rows


def _amount(kind: str, line: OrderLine, quantity: int) -> int:
    numbers = {
        "total_fen": line.total_fen,
        "quantity": line.quantity,
        "refunded_fen": line.refunded_fen,
        "refunded_quantity": line.refunded_quantity,
    }
    if kind == rules.PRICE_PROTECTION:
        return rules.protection_fen(**numbers, price_now_fen=line.sku.price_fen)
    return rules.share_fen(**numbers, returning=quantity)


def _held_sku(line: OrderLine, quantity: int, held: Mapping[int, int], chosen: int | None) -> Sku:
    """Which variant comes back: the only one she has of this line, or the chosen one. Raises AfterSaleRefused."""
    sku_id = chosen or (next(iter(held)) if len(held) == 1 else 0)
    if held.get(sku_id, 0) < quantity:
        names = Sku.objects.in_bulk(held)
        raise AfterSaleRefused(
            _("%(name)s: you have %(variants)s. Please choose which it is about, one variant at a time.")
            % {
                "name": line.product_name,
                "variants": "、".join(
                    f"{names[sku].name or names[sku].code} ×{held[sku]}" for sku in sorted(held)
                ),
            }
        )
    return line.sku if sku_id == line.sku_id else Sku.objects.get(pk=sku_id)


def _exchanged_for(held: Sku, sku_id: int) -> Sku:
    """Another variant of the same product at the same price. Raises AfterSaleRefused."""
    sku = Sku.objects.filter(pk=sku_id, product_id=held.product_id).first()
    if sku is None or (sku.pk != held.pk and (sku.price_fen != held.price_fen or not sku.is_active)):
        raise AfterSaleRefused(_("Only variants of the same product at the same price can be exchanged."))
    return sku


@transaction.atomic
def approve_aftersale(
    *,
    aftersale_id: int,
    by: str = "system",
    user_id: int | None = None,
    answer: str = "",
    return_address: str = "",
) -> AfterSale:
    """Say yes: money goes back at once, or the shopper is told where to send the goods (default: the warehouse).

    An exchange reserves what will be sent instead, elsewhere when the store that sent the order has none.
    Locks: order, payment, stock. Idempotent. Publishes: AfterSaleMoved. Raises NoSuchAfterSale, WrongState,
    NothingToRefund, AfterSaleRefused (the exchange is sold out).
    """
    order, aftersale = _locked(aftersale_id)
    if aftersale.status not in (rules.APPLIED, rules.REFUSED, rules.CLOSED):
        return aftersale
    answer = answer.strip()[:300]
    if aftersale.kind == rules.EXCHANGE:
        _refuse_what_was_given_back(aftersale)
    if aftersale.kind in rules.WITH_RETURN:
        address = " ".join(return_address.split())[:300] or warehouse_address()
        move(
            aftersale, rules.APPROVED, actor=by, user_id=user_id, note=answer, answer=answer, return_address=address
        )  # fmt: skip
        if aftersale.kind == rules.EXCHANGE:
            _reserve_exchange(order, aftersale, by)
        _tell(
            order,
            aftersale,
            _("Your application %(number)s is approved. Please send the goods to: %(address)s")
            % {"number": aftersale.number, "address": address},
        )
    else:
        move(aftersale, rules.APPROVED, actor=by, user_id=user_id, note=answer, answer=answer)
        _pay_back(order, aftersale, by=by, user_id=user_id)
    return aftersale


def _refuse_what_was_given_back(aftersale: AfterSale) -> None:
    """Money may have gone back since she applied, and nobody gets the money and other goods as well."""
    for row in aftersale.lines.select_related("line"):
        left = row.line.quantity - row.line.refunded_quantity
        if row.quantity > left:
            raise AfterSaleRefused(
                _("%(name)s: of these %(count)d pieces are left.")
                % {"name": row.line.product_name, "count": left}
            )


def warehouse_address() -> str:
    """Where goods come back to when staff says nothing else."""
    store = apps.get_model("crm", "Store").objects.get(pk=warehouse_id())
    region = "".join(dict.fromkeys([store.province, store.city]))
    return f"{region}{store.address} {store.name}".strip()


@transaction.atomic
def refuse_aftersale(*, aftersale_id: int, reason: str, by: str, user_id: int | None = None) -> AfterSale:
    """Say no, with a reason the shopper reads; also when the parcel that came back is not what was agreed.

    Locks: order, stock. Idempotent. Publishes: AfterSaleMoved. Raises NoSuchAfterSale, WrongState.
    """
    order, aftersale = _locked(aftersale_id)
    if aftersale.status == rules.REFUSED:
        return aftersale
    reason = " ".join(reason.split())[:300]
    if not reason:
        raise WrongState(_("Please say why: the shopper reads it."), code="no_reason")
    before = aftersale.status
    move(aftersale, rules.REFUSED, actor=by, user_id=user_id, note=reason, answer=reason)
    if before != rules.APPLIED:
        _release_exchange(order, aftersale, by)
    _tell(
        order,
        aftersale,
        _("Your application %(number)s was not approved: %(reason)s")
        % {"number": aftersale.number, "reason": reason},
    )
    return aftersale


@transaction.atomic
def cancel_aftersale(*, aftersale_id: int, member_id: int) -> AfterSale:
    """The shopper has changed her mind, before anything is on its way.

    Locks: order, stock. Idempotent. Publishes: AfterSaleMoved. Raises NoSuchAfterSale, WrongState.
    """
    order, aftersale = _locked(aftersale_id, member_id)
    if aftersale.status != rules.CLOSED:
        _close(order, aftersale, actor="member", note=_("Taken back by the shopper"))
    return aftersale


@transaction.atomic
def send_back(*, aftersale_id: int, member_id: int, carrier: str, tracking_number: str) -> AfterSale:
    """The shopper names the parcel with which the goods come back; she may correct it until it is received.

    Locks: order. Idempotent. Publishes: AfterSaleMoved. Raises NoSuchAfterSale, WrongState.
    """
    _order, aftersale = _locked(aftersale_id, member_id)
    carrier, tracking_number = " ".join(carrier.split()), "".join(tracking_number.split())
    if not 0 < len(carrier) <= 40 or not 0 < len(tracking_number) <= 40:
        raise WrongState(_("Please enter the carrier and the tracking number."), code="bad_parcel")
    if (aftersale.carrier, aftersale.tracking_number) == (carrier, tracking_number):
        return aftersale
    if aftersale.status == rules.RETURNED:
        aftersale.carrier, aftersale.tracking_number = carrier, tracking_number
        aftersale.save(update_fields=["carrier", "tracking_number"])
        note_step(aftersale, actor="member", note=f"{carrier} {tracking_number}")
    else:
        move(
            aftersale,
            rules.RETURNED,
            actor="member",
            note=f"{carrier} {tracking_number}",
            carrier=carrier,
            tracking_number=tracking_number,
        )
    return aftersale


@transaction.atomic
def receive_return(
    *, aftersale_id: int, by: str, user_id: int | None = None, is_sellable: bool = True, note: str = ""
) -> AfterSale:
    """The parcel is here and right: the goods go back on the shelf when they can be sold, and the money goes back.

    An exchange now waits for its new parcel. Locks: order, payment, stock. Idempotent. Publishes: AfterSaleMoved.
    Raises NoSuchAfterSale, WrongState.
    """
    order, aftersale = _locked(aftersale_id)
    if aftersale.status in (rules.RECEIVED, rules.REFUNDING, rules.REFUNDED, rules.EXCHANGED):
        return aftersale
    move(aftersale, rules.RECEIVED, actor=by, user_id=user_id, note=note)
    if is_sellable:
        restock(order, aftersale, by)
    if aftersale.kind == rules.RETURN_REFUND:
        _pay_back(order, aftersale, by=by, user_id=user_id)
    return aftersale


def restock(order: Order, aftersale: AfterSale, by: str) -> None:
    """Book what came back in, where it was sold from. Once per after-sale, under the order's lock."""
    counts: dict[tuple[int, int], int] = {}
    for row in aftersale.lines.select_related("line"):
        if row.line.store_id:
            place = (row.held_sku_id or row.line.sku_id, row.line.store_id)
            counts[place] = counts.get(place, 0) + row.quantity
    booked = move_stock(
        [Move(sku_id, store_id, on_hand=count) for (sku_id, store_id), count in sorted(counts.items())],
        cause=f"aftersale:{aftersale.pk}:return",
        reason=StockMovement.RETURN,
        actor=by,
        order_id=order.pk,
    )
    if not booked:
        raise RuntimeError(f"the stock of after-sale {aftersale.pk} does not exist")
    aftersale.restocked_at = clock.now()
    aftersale.save(update_fields=["restocked_at"])


@transaction.atomic
def pay_back(*, aftersale_id: int, by: str, user_id: int | None = None) -> AfterSale:
    """Ask WeChat anew for the money of an after-sale whose refund it has closed.

    Locks: order, payment. Idempotent. Raises NoSuchAfterSale, WrongState, NothingToRefund.
    """
    order, aftersale = _locked(aftersale_id)
    if not Refund.objects.filter(aftersale=aftersale).exists():
        raise WrongState(_("No money was asked for yet: answer the application first."))
    if aftersale.status not in (rules.REFUNDING, rules.REFUNDED):
        _pay_back(order, aftersale, by=by, user_id=user_id)
    return aftersale


@transaction.atomic
def refund_instead(*, aftersale_id: int, answer: str, by: str, user_id: int | None = None) -> AfterSale:
    """What was promised for goods that are back is no longer to be had: what is held for it is free, the money goes.

    The application is a return with money back from now on. Locks: order, stock, payment. Idempotent. Publishes:
    AfterSaleMoved. Raises NoSuchAfterSale, WrongState, NothingToRefund.
    """
    order, aftersale = _locked(aftersale_id)
    if aftersale.kind == rules.RETURN_REFUND and aftersale.status in (rules.REFUNDING, rules.REFUNDED):
        return aftersale
    answer = " ".join(answer.split())[:300]
    if not answer:
        raise WrongState(_("Please say why: the shopper reads it."), code="no_reason")
    if aftersale.kind != rules.EXCHANGE or aftersale.status != rules.RECEIVED:
        raise WrongState(_("Only an exchange whose goods have come back can become a refund."))
    _refuse_what_was_given_back(aftersale)
    _release_exchange(order, aftersale, by)
    rows = list(aftersale.lines.select_related("line"))
    for row in rows:
        row.new_sku, row.new_store = None, None
        row.amount_fen = _amount(rules.RETURN_REFUND, row.line, row.quantity)
    AfterSaleLine.objects.bulk_update(rows, ["new_sku", "new_store", "amount_fen"])
    aftersale.kind, aftersale.answer = rules.RETURN_REFUND, answer
    aftersale.amount_fen = sum(row.amount_fen for row in rows)
    aftersale.save(update_fields=["kind", "answer", "amount_fen"])
    _pay_back(
        order,
        aftersale,
        by=by,
        user_id=user_id,
        note=_("Money instead of the exchange: %(why)s") % {"why": answer},
    )
    _tell(
        order,
        aftersale,
        _("Application %(number)s: instead of the exchange your money goes back. %(reason)s")
        % {"number": aftersale.number, "reason": answer},
    )
    return aftersale


def _pay_back(order: Order, aftersale: AfterSale, *, by: str, user_id: int | None, note: str = "") -> None:
    refused = refused_of(aftersale)
    move(aftersale, rules.REFUNDING, actor=by, user_id=user_id, note=note)
    if refused:
        for refund in refused:
            repeat_refund(refund_id=refund.pk, by=by, user_id=user_id)
        return
    rows = list(aftersale.lines.all())
    is_cut = aftersale.kind == rules.PRICE_PROTECTION
    refunds = refund_lines(
        order_id=order.pk,
        parts=[] if is_cut else [(row.line_id, row.quantity) for row in rows],
        cuts={row.line_id: row.amount_fen for row in rows if row.amount_fen} if is_cut else {},
        reason=aftersale.reason,
        by=by,
        user_id=user_id,
        cause=f"aftersale:{aftersale.pk}",
        aftersale_id=aftersale.pk,
    )
    amount = sum(refund.amount_fen for refund in refunds)
    aftersale.refresh_from_db()  # stored value and gift cards are back already
    if (
        amount != aftersale.amount_fen
    ):  # something came back meanwhile, or the shipping goes with the last piece
        aftersale.amount_fen = amount
        aftersale.save(update_fields=["amount_fen"])


@transaction.atomic
def ship_exchange(
    *, aftersale_id: int, carrier: str, tracking_number: str, by: str, user_id: int | None = None
) -> AfterSale:
    """Send what is given in exchange; it leaves the shelf and the after-sale is over. What several stores send has a
    number each, separated by commas.

    Locks: order, stock. Idempotent. Publishes: AfterSaleMoved. Raises NoSuchAfterSale, WrongState.
    """
    order, aftersale = _locked(aftersale_id)
    if aftersale.status == rules.EXCHANGED:
        return aftersale
    carrier, tracking_number = " ".join(carrier.split()), rules.parcel_numbers(tracking_number)
    if not 0 < len(carrier) <= 40 or not 0 < len(tracking_number) <= 40:
        raise WrongState(_("Please enter the carrier and the tracking number."), code="bad_parcel")
    move(
        aftersale,
        rules.EXCHANGED,
        actor=by,
        user_id=user_id,
        note=f"{carrier} {tracking_number}",
        new_carrier=carrier,
        new_tracking_number=tracking_number,
    )
    gone = move_stock(
        [Move(sku, store, on_hand=-count, reserved=-count) for sku, store, count in _exchange(aftersale)],
        cause=f"aftersale:{aftersale.pk}:ship",
        reason=StockMovement.SHIP,
        actor=by,
        order_id=order.pk,
    )
    if not gone:
        raise RuntimeError(f"after-sale {aftersale.pk} had less reserved than its lines say")
    _tell(
        order,
        aftersale,
        _("What you get in exchange is on its way: %(parcel)s") % {"parcel": f"{carrier} {tracking_number}"},
    )
    return aftersale


def settle_due_aftersales(*, limit: int = 100) -> int:
    """Take the steps that are due by themselves; returns how many. One transaction each, guarded by the state.

    Not answered in time: approved, or left to staff (`aftersales_rules.approves_itself`). Not sent back in time:
    closed. Sent back and not looked into: the money goes back, and the goods stay to be counted in by hand.
    """
    due = AfterSale.objects.filter(due_at__lte=clock.now()).order_by("due_at")
    count = 0
    for aftersale_id in list(due.values_list("pk", flat=True)[:limit]):
        try:
            count += _settle(aftersale_id)
        except Refusal as refusal:  # cannot go on by itself: an operator sees why
            _leave_to_staff(aftersale_id, refusal.message)
        except Exception:  # a fault of ours: tried again with the next round, and in nobody else's way
            log.exception("after-sale does not go on", aftersale=aftersale_id)
    return count


@transaction.atomic
def _settle(aftersale_id: int) -> bool:
    order, aftersale = _locked(aftersale_id)
    if aftersale.due_at is None or aftersale.due_at > clock.now():
        return False
    match aftersale.status:
        case rules.APPLIED:
            held = {line.pk for line in held_lines(order)} if order.status == Order.PAID else set()
            gone = any(row.line_id not in held for row in aftersale.lines.all())
            if not rules.approves_itself(aftersale.kind, is_shipped=gone):
                raise AfterSaleRefused(_("Not answered in time; somebody has to decide"))
            approve_aftersale(
                aftersale_id=aftersale_id,
                answer=_("We did not answer in time, so your application is approved."),
            )
        case rules.APPROVED:
            _close(order, aftersale, actor="system", note=_("The goods were not sent back in time"))
        case rules.RETURNED:
            move(aftersale, rules.RECEIVED, actor="system", note=_("Nobody said that the parcel is wrong"))
            _pay_back(order, aftersale, by="system", user_id=None)
    return True


@transaction.atomic
def _leave_to_staff(aftersale_id: int, why: str) -> None:
    _order, aftersale = _locked(aftersale_id)
    if aftersale.due_at is not None:
        aftersale.due_at = None
        aftersale.save(update_fields=["due_at"])
        note_step(aftersale, actor="system", note=why)


def _locked(aftersale_id: int, member_id: int | None = None) -> tuple[Order, AfterSale]:
    """The order locked, and the after-sale as it is then; another member's does not exist."""
    order_id = AfterSale.objects.filter(pk=aftersale_id).values_list("order_id", flat=True).first()
    orders = Order.objects.filter(pk=order_id or 0)
    order = lock_row(orders if member_id is None else orders.filter(member_id=member_id))
    if order is None:
        raise NoSuchAfterSale(_("This application does not exist."))
    return order, AfterSale.objects.get(pk=aftersale_id)


def _close(order: Order, aftersale: AfterSale, *, actor: str, note: str) -> None:
    was_approved = aftersale.status == rules.APPROVED
    if was_approved and Refund.objects.filter(aftersale=aftersale).exists():
        raise WrongState(_("The money for this is being settled; please wait for the shop."))
    move(aftersale, rules.CLOSED, actor=actor, note=note)
    if was_approved:
        _release_exchange(order, aftersale, actor)


def _exchange(aftersale: AfterSale) -> list[tuple[int, int, int]]:
    """(SKU, store, pieces) that an exchange sends, added up."""
    counts: dict[tuple[int, int], int] = {}
    for row in aftersale.lines.select_related("line"):
        if row.new_sku_id and row.sends_from:
            place = (row.new_sku_id, row.sends_from)
            counts[place] = counts.get(place, 0) + row.quantity
    return [(sku, store, count) for (sku, store), count in sorted(counts.items())]


def _reserve_exchange(order: Order, aftersale: AfterSale, by: str) -> None:
    """In the store that sent the order; when it has not all of it, where routing finds all of each variant."""

    def is_reserved() -> bool:
        return move_stock(
            [Move(sku, store, reserved=count) for sku, store, count in _exchange(aftersale)],
            cause=f"aftersale:{aftersale.pk}:reserve",
            reason=StockMovement.RESERVE,
            actor=by,
            order_id=order.pk,
        )

    if is_reserved():
        return
    wanted = [(sku, count) for sku, _store, count in _exchange(aftersale)]
    try:
        places = plan_instead(lines=wanted, region=order.region, without=())
    except SoldOut:
        places = {}
    for row in aftersale.lines.filter(new_sku__in=places):
        row.new_store_id = places[row.new_sku_id or 0]
        row.save(update_fields=["new_store"])
    if not places or not is_reserved():
        raise AfterSaleRefused(_("What is wanted in exchange is sold out: offer a refund instead."))


def _release_exchange(order: Order, aftersale: AfterSale, by: str) -> None:
    if aftersale.kind != rules.EXCHANGE:
        return
    released = move_stock(
        [Move(sku, store, reserved=-count) for sku, store, count in _exchange(aftersale)],
        cause=f"aftersale:{aftersale.pk}:release",
        reason=StockMovement.RELEASE,
        actor=by,
        order_id=order.pk,
    )
    if not released:
        raise RuntimeError(f"after-sale {aftersale.pk} had less reserved than its lines say")


def _tell(order: Order, aftersale: AfterSale, text: str) -> None:
    payment = order.payments.filter(status=Payment.PAID).order_by("pk").first()
    if payment is not None:
        tell_buyer(order, payment, key=f"aftersale-{aftersale.pk}-{aftersale.status}", text=text)
