"""Pieces that are no parcel: counted when they are ordered, delivered when they are paid."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from core import clock
from core.locks import lock_row
from core.secrets import encrypt
from shop import rules
from shop.errors import NothingToRefund, TermsRefused
from shop.models import GoodsTerms, Order, OrderLine, Sku, VirtualCode
from shop.services.vouchers import issue_vouchers, restore_vouchers, void_vouchers

MOST_CODES, MOST_LETTERS = 5_000, 200


def take_pieces(pieces: Mapping[int, int], *, at: datetime) -> bool:
    """Count pieces of terms, SKU → how many, as taken by an order; False: there are not as many, roll back.

    Locks: the terms, in the order of their SKUs, before any stock. One guarded statement.
    """
    return _moved(pieces, at, 1) == len(pieces)


def _moved(pieces: Mapping[int, int], at: datetime, sign: int) -> int:
    if not pieces:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH wanted AS (
                SELECT * FROM unnest(%s::bigint[], %s::int[]) AS w(sku_id, pieces)
            ), locked AS (
                SELECT t.id, w.pieces FROM shop_goodsterms t JOIN wanted w ON w.sku_id = t.sku_id
                ORDER BY t.sku_id FOR UPDATE OF t
            )
            UPDATE shop_goodsterms t SET taken = t.taken + l.pieces FROM locked l
            WHERE t.id = l.id AND t.taken + l.pieces >= 0
              AND (l.pieces < 0 OR t.quota IS NULL OR t.taken + l.pieces <= t.quota)
              AND (l.pieces < 0 OR t.valid_until IS NULL OR t.valid_until > %s)
            """,
            [list(pieces), [sign * count for count in pieces.values()], at],
        )
        return int(cursor.rowcount)


def pieces_left(sku_ids: Iterable[int]) -> dict[int, int]:
    """SKU → how many more may be ordered; without a limit as many as one order may have. One statement."""
    return {
        terms.sku_id: rules.MAX_QUANTITY if terms.quota is None else terms.quota - terms.taken
        for terms in GoodsTerms.objects.filter(sku_id__in=list(sku_ids))
    }


def piece_lines(order_id: int) -> list[OrderLine]:
    """The lines of an order that are no parcel, with their SKUs and terms. One statement."""
    lines = OrderLine.objects.filter(order_id=order_id, store__isnull=True, sku__supply=Sku.PIECES)
    return list(lines.select_related("sku__terms").order_by("pk"))


def _counted(parts: Iterable[tuple[OrderLine, int]]) -> dict[int, int]:
    return dict(rules.merged_lines((line.sku_id, count) for line, count in parts if count))


def take_pieces_again(order: Order) -> bool:
    """An order that was cancelled is paid after all: see `take_pieces`."""
    return take_pieces(_counted((line, line.quantity) for line in piece_lines(order.pk)), at=clock.now())


def free_pieces(order: Order) -> None:
    """An unpaid order is cancelled: its pieces are free again. Once, under the order's lock."""
    _free(_counted((line, line.quantity) for line in piece_lines(order.pk)))


def free_returned_pieces(order: Order, parts: Iterable[tuple[OrderLine, int]]) -> None:
    """Money for `parts` (line, pieces) of an order is back: those that were no parcel may be sold again.

    A code that its buyer has seen is gone: the pool has one less. Locks: terms. Once per refund, under the order's
    lock.
    """
    mine = {line.pk: line for line in piece_lines(order.pk)}
    own = [(mine[line.pk], count) for line, count in parts if line.pk in mine]
    codes = _counted((line, count) for line, count in own if line.sku.terms.delivers == GoodsTerms.CODE)
    _free(_counted(own))
    for sku_id, count in codes.items():
        GoodsTerms.objects.filter(sku_id=sku_id).update(quota=F("quota") - count)


def _free(pieces: Mapping[int, int]) -> None:
    if _moved(pieces, clock.now(), -1) != len(pieces):
        raise RuntimeError(f"fewer pieces were taken than come back: {dict(pieces)}")


def deliver_pieces(order: Order, *, at: datetime) -> bool:
    """A paid order's vouchers and codes; whether it has any piece that is no parcel.

    Codes are taken with SKIP LOCKED, so two payments never wait for each other. Call under the order's lock, in the
    transaction that marks it paid. Idempotent.
    """
    lines = piece_lines(order.pk)
    for line in lines:
        match line.sku.terms.delivers:
            case GoodsTerms.VOUCHER:
                issue_vouchers(line, line.sku.terms, at=at)
            case GoodsTerms.CODE:
                _give_codes(line, at)
    return bool(lines)


def _give_codes(line: OrderLine, at: datetime) -> None:
    """As many as the line has no code for yet. There are enough: no more pieces are taken than codes lie here."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH chosen AS (
                SELECT id FROM shop_virtualcode WHERE sku_id = %s AND state = 'free' ORDER BY id
                LIMIT greatest(%s - (SELECT count(*) FROM shop_virtualcode WHERE line_id = %s), 0)
                FOR UPDATE SKIP LOCKED
            )
            UPDATE shop_virtualcode c SET state = 'given', line_id = %s, given_at = %s
            FROM chosen WHERE c.id = chosen.id
            """,
            [line.sku_id, line.quantity, line.pk, line.pk, at],
        )


def withdraw_pieces(line: OrderLine, quantity: int) -> None:
    """So many pieces of a line go back: vouchers that nobody used become void, codes too.

    Guarded updates, under the order's lock. Raises NothingToRefund: fewer vouchers are unused.
    """
    terms = _terms_of(line) if quantity and line.store_id is None else None
    if terms is None:
        return
    if terms.delivers == GoodsTerms.VOUCHER and void_vouchers(line, quantity) < quantity:
        raise NothingToRefund(
            _("%(name)s: what was redeemed in a store cannot be given back.") % {"name": line.product_name}
        )
    if terms.delivers == GoodsTerms.CODE:
        _turn_codes(line, quantity, VirtualCode.GIVEN, VirtualCode.VOID)


def restore_pieces(line: OrderLine, quantity: int) -> None:
    """WeChat refused the refund of so many pieces: their vouchers and codes are good again."""
    terms = _terms_of(line) if quantity and line.store_id is None else None
    if terms is None:
        return
    if terms.delivers == GoodsTerms.VOUCHER:
        restore_vouchers(line, quantity)
    elif terms.delivers == GoodsTerms.CODE:
        _turn_codes(line, quantity, VirtualCode.VOID, VirtualCode.GIVEN)


def _terms_of(line: OrderLine) -> GoodsTerms | None:
    return GoodsTerms.objects.filter(sku_id=line.sku_id, sku__supply=Sku.PIECES).first()


def _turn_codes(line: OrderLine, quantity: int, old: str, new: str) -> None:
    chosen = VirtualCode.objects.filter(line=line, state=old).order_by("-pk").values("pk")[:quantity]
    VirtualCode.objects.filter(pk__in=list(chosen.values_list("pk", flat=True)), state=old).update(state=new)


@transaction.atomic
def add_codes(*, sku_id: int, codes: Iterable[str]) -> tuple[int, int]:
    """Put codes into a SKU's pool; returns how many are new and how many were there already.

    Locks: the terms. Idempotent: a code is in its pool once. Raises TermsRefused.
    """
    wanted = list(dict.fromkeys(code.strip() for code in codes if code.strip()))
    if not 1 <= len(wanted) <= MOST_CODES or any(len(code) > MOST_LETTERS for code in wanted):
        raise TermsRefused(
            _("Enter one code a line: at most %(count)d codes of %(letters)d characters.")
            % {"count": MOST_CODES, "letters": MOST_LETTERS}
        )
    terms = lock_row(GoodsTerms.objects.filter(sku_id=sku_id, delivers=GoodsTerms.CODE))
    if terms is None:
        raise TermsRefused(_("This product does not deliver codes."))
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO shop_virtualcode (sku_id, code, code_end, digest, state, added_at)
            SELECT %s, w.*, 'free', %s FROM unnest(%s::text[], %s::text[], %s::text[]) AS w(code, code_end, digest)
            ON CONFLICT (sku_id, digest) DO NOTHING
            """,
            [
                sku_id,
                moment,
                [encrypt(code) for code in wanted],
                [code[-4:] for code in wanted],
                [_digest(code) for code in wanted],
            ],
        )
        added = int(cursor.rowcount)
    GoodsTerms.objects.filter(pk=terms.pk).update(quota=F("quota") + added)
    return added, len(wanted) - added


def _digest(code: str) -> str:
    return hmac.new(settings.SECRET_KEY.encode(), code.encode(), hashlib.sha256).hexdigest()


@transaction.atomic
def drop_codes(*, code_ids: Iterable[int]) -> int:
    """Take codes that nobody got out of their pools; returns how many. What open orders need stays.

    Locks: the terms. Raises TermsRefused, then nothing was taken out.
    """
    free = VirtualCode.objects.filter(pk__in=list(code_ids), state=VirtualCode.FREE)
    counts: dict[int, int] = {}
    for sku_id in sorted(free.values_list("sku_id", flat=True)):
        counts[sku_id] = counts.get(sku_id, 0) + 1
    dropped = 0
    for sku_id, count in counts.items():
        terms = GoodsTerms.objects.filter(sku_id=sku_id, taken__lte=F("quota") - count)
        if not terms.update(quota=F("quota") - count):
            raise TermsRefused(_("Open orders need some of these codes."))
        chosen = list(
            free.filter(sku_id=sku_id)
            .select_for_update(skip_locked=True)
            .values_list("pk", flat=True)[:count]
        )
        if VirtualCode.objects.filter(pk__in=chosen).delete()[0] != count:
            raise TermsRefused(_("Some of these codes were given a moment ago. Please look again."))
        dropped += count
    return dropped


def checked_terms(
    *,
    sku_id: int,
    delivers: str,
    text: str = "",
    quota: int | None = None,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    valid_days: int | None = None,
) -> dict[str, Any]:
    """The terms as they would be kept. Raises TermsRefused, in words for who edits them."""
    sku = Sku.objects.select_related("product").get(pk=sku_id)
    if sku.supply != Sku.PIECES:
        raise TermsRefused(
            _("Only virtual goods and services have terms: change the kind of the product first.")
        )
    if (delivers == GoodsTerms.VOUCHER) != (sku.product.kind == sku.product.SERVICE):
        raise TermsRefused(_("Services are delivered as vouchers, virtual goods as texts or codes."))
    values: dict[str, Any] = {"delivers": delivers, "text": text.strip(), "quota": quota}
    values |= {"valid_from": None, "valid_until": None, "valid_days": None}
    if delivers == GoodsTerms.VOUCHER:
        values |= {"valid_from": valid_from, "valid_until": valid_until, "valid_days": valid_days}
        if (valid_until is None) == (not valid_days):
            raise TermsRefused(_("Say either until when a voucher is valid, or for how many days."))
        if (valid_days or 1) > 3_650 or (valid_from and valid_until and valid_until <= valid_from):
            raise TermsRefused(_("A voucher ends after it begins, and after ten years at the latest."))
    elif delivers == GoodsTerms.CODE:
        values["quota"] = 0
    elif not values["text"]:
        raise TermsRefused(_("Write the text that the buyer gets."))
    known = GoodsTerms.objects.filter(sku_id=sku_id).first()
    if known is not None:
        if known.taken and known.delivers != delivers:
            raise TermsRefused(_("It was ordered already: what the buyer gets cannot be changed any more."))
        if delivers == known.delivers == GoodsTerms.CODE:
            values["quota"] = known.quota  # counted with the codes
        if values["quota"] is not None and values["quota"] < known.taken:
            raise TermsRefused(
                _("%(count)d pieces are sold already: there cannot be fewer.") % {"count": known.taken}
            )
    return values


@transaction.atomic
def save_terms(*, sku_id: int, **wanted: Any) -> GoodsTerms:
    """Say what a piece of a virtual or service SKU is: see `checked_terms`. Vouchers that were issued keep their dates.

    Locks: the terms. Idempotent. Raises TermsRefused.
    """
    terms = lock_row(GoodsTerms.objects.filter(sku_id=sku_id))
    values = checked_terms(sku_id=sku_id, **wanted)
    if terms is None:
        return GoodsTerms.objects.create(sku_id=sku_id, **values)
    for name, value in values.items():
        setattr(terms, name, value)
    terms.save(update_fields=list(values))
    return terms
