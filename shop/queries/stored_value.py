"""What a member has to pay with: stored value in two parts, and her gift cards; and how it came to be so."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Sum
from django.utils.translation import gettext as _

from core import clock
from shop.models import (
    DirectRefund,
    GiftCard,
    Order,
    Payment,
    Refund,
    StoredValueCredit,
    StoredValueRequest,
)

PRINCIPAL, BONUS, GIFT_CARD, POINTS = "stored_value", "stored_value.bonus", "gift_card", "points"


@dataclass(frozen=True)
class Balance:
    """Fen. `balance` = principal + bonus; what open orders hold is part of it, not of `spendable`."""

    principal: int
    bonus: int
    held: int
    spendable: int

    @property
    def balance(self) -> int:
        return self.principal + self.bonus


@dataclass(frozen=True)
class OwnCard:
    """A gift card bound to her, fen."""

    pk: int
    name: str
    code_end: str
    value: int
    spendable: int
    expires_at: datetime | None


@dataclass(frozen=True)
class Held:
    """What an unpaid order holds of her value, fen."""

    stored_value: int = 0
    gift_card: int = 0
    gift_card_id: int | None = None


@dataclass(frozen=True)
class Movement:
    """One line of the statement: `amount` is signed, `balance` what it left behind (fen, principal and bonus)."""

    pk: int
    at: datetime
    words: str
    note: str
    amount: int
    balance: int
    is_bonus: bool
    order_number: str = ""


# What is held was promised from what expires first; the rest of what is expired is gone (see core.ledger).
_ACCOUNTS = """
    SELECT a.id, a.kind, a.owner_id, a.balance, a.held,
           a.balance - greatest(a.held, coalesce((
               SELECT sum(l.remaining) FROM core_ledgerlot l
               WHERE l.account_id = a.id AND l.remaining > 0 AND l.expires_at <= %(now)s), 0)) AS spendable
    FROM core_ledgeraccount a
"""


def spendable_of(account_id: int) -> int:
    """What of a ledger account is neither held nor expired."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_ACCOUNTS} WHERE a.id = %(id)s", {"now": clock.now(), "id": account_id})
        row = cursor.fetchone()
    return int(row[5]) if row else 0


def balance_for(member_id: int) -> Balance:
    """One statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_ACCOUNTS} WHERE a.owner_id = %(member)s AND a.kind = ANY(%(kinds)s)",
            {"now": clock.now(), "member": member_id, "kinds": [PRINCIPAL, BONUS]},
        )
        rows = {row[1]: row for row in cursor.fetchall()}
    sums = [sum(int(row[column]) for row in rows.values()) for column in (4, 5)]
    return Balance(
        principal=int(rows[PRINCIPAL][3]) if PRINCIPAL in rows else 0,
        bonus=int(rows[BONUS][3]) if BONUS in rows else 0,
        held=sums[0],
        spendable=sums[1],
    )


def held_for(order_id: int) -> Held:
    """One statement."""
    rows = Payment.objects.filter(order_id=order_id, status=Payment.OPEN, kind__in=Payment.INTERNAL)
    by_kind = {
        kind: (fen, card) for kind, fen, card in rows.values_list("kind", "amount_fen", "gift_card_id")
    }
    card_fen, card_id = by_kind.get(Payment.GIFT_CARD, (0, None))
    return Held(
        stored_value=by_kind.get(Payment.STORED_VALUE, (0, None))[0], gift_card=card_fen, gift_card_id=card_id
    )


def gift_cards_of(member_id: int, *, also: int | None = None) -> list[OwnCard]:
    """Her cards that can still be spent (and `also`, though it is all held), the first to expire first.

    Two statements.
    """
    cards = list(
        GiftCard.objects.filter(member_id=member_id, state=GiftCard.BOUND)
        .select_related("batch")
        .order_by("expires_at", "pk")
    )
    left = _spendable_cards(card.pk for card in cards)
    moment = clock.now()
    return [
        OwnCard(
            card.pk, card.batch.name, card.code_end, card.value_fen, left.get(card.pk, 0), card.expires_at
        )
        for card in cards
        if (left.get(card.pk) or card.pk == also) and (card.expires_at is None or card.expires_at > moment)
    ]


def _spendable_cards(card_ids: Iterable[int]) -> dict[int, int]:
    wanted = list(card_ids)
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_ACCOUNTS} WHERE a.kind = %(kind)s AND a.owner_id = ANY(%(cards)s)",
            {"now": clock.now(), "kind": GIFT_CARD, "cards": wanted},
        )
        return {int(row[2]): int(row[5]) for row in cursor.fetchall()}


def balance_statement(member_id: int, *, before: int | None = None, limit: int = 30) -> list[Movement]:
    """Her movements, newest first, with the balance after each; `before` is the last `pk` already seen.

    At most three statements. The amounts of all movements sum to the balance.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT * FROM (
                SELECT t.id, t.posted_at, t.cause, a.kind, other.kind,
                       CASE WHEN t.credit_id = a.id THEN t.amount ELSE -t.amount END,
                       sum(CASE WHEN t.credit_id = a.id THEN t.amount ELSE -t.amount END) OVER (ORDER BY t.id, a.id),
                       original.cause
                FROM core_ledgeraccount a
                JOIN core_ledgertransfer t ON t.credit_id = a.id OR t.debit_id = a.id
                JOIN core_ledgeraccount other
                    ON other.id = CASE WHEN t.credit_id = a.id THEN t.debit_id ELSE t.credit_id END
                LEFT JOIN core_ledgertransfer original ON original.id = t.reverses_id
                WHERE a.owner_id = %s AND a.kind = ANY(%s)
            ) moved WHERE %s::bigint IS NULL OR id < %s ORDER BY id DESC LIMIT %s
            """,
            [member_id, [PRINCIPAL, BONUS], before, before, limit],
        )
        rows = cursor.fetchall()
    orders = _numbers(_order_in(row[7] or row[2]) for row in rows)
    reasons = _reasons(row[2] for row in rows)
    movements = []
    for pk, at, cause, kind, other, amount, balance, original in rows:
        number = orders.get(_order_in(original or cause), "")
        movements.append(
            Movement(
                pk=pk,
                at=at,
                words=_words(cause, other, original),
                note=reasons.get(cause, ""),
                amount=int(amount),
                balance=int(balance),
                is_bonus=kind == BONUS,
                order_number=number,
            )
        )
    return movements


def _words(cause: str, other: str, original: str | None) -> str:
    if cause.startswith("recharge:"):
        if ":refund:" not in cause:
            return _("Recharged")
        return _("A refund that did not succeed") if original is not None else _("Recharge given back")
    if original is not None:
        return _("Returned from an order")
    if cause.startswith("capture:order:"):
        return _("Paid an order")
    if cause.startswith("credit:"):
        return _("Credited")
    if other.endswith(".expired"):
        return _("Expired")
    if cause.startswith("merge:"):
        return _("Brought along from your other account")
    return _("Other movement")


def _order_in(cause: str) -> int:
    """ "capture:order:12:stored_value:3" → 12; 0 when it names none."""
    parts = cause.split(":")
    return int(parts[2]) if parts[:2] == ["capture", "order"] and parts[2].isdigit() else 0


def _numbers(order_ids: Iterable[int]) -> dict[int, str]:
    wanted = {order_id for order_id in order_ids if order_id}
    return dict(Order.objects.filter(pk__in=wanted).values_list("pk", "number")) if wanted else {}


def _reasons(causes: Iterable[str]) -> dict[str, str]:
    """cause → the reason an operator gave."""
    by_credit = {cause: int(cause.split(":")[1]) for cause in causes if cause.startswith("credit:")}
    if not by_credit:
        return {}
    said = dict(StoredValueCredit.objects.filter(pk__in=set(by_credit.values())).values_list("pk", "reason"))
    return {cause: said.get(pk, "") for cause, pk in by_credit.items()}


@dataclass(frozen=True)
class ReturnedValue:
    """What became of the money of a request that was granted, fen: `refused` by WeChat is on her balance again."""

    back: int = 0
    under_way: int = 0
    refused: int = 0


def returned_value_of(request: StoredValueRequest) -> ReturnedValue:
    """One statement."""
    rows = DirectRefund.objects.filter(pk__in=request.refunds).order_by()
    sums = dict(rows.values_list("status").annotate(fen=Sum("amount_fen")))
    back, refused = sums.pop(Refund.SUCCESS, 0), sums.pop(Refund.CLOSED, 0)
    return ReturnedValue(back, sum(sums.values()), refused)


def stored_value_request_of(member_id: int) -> StoredValueRequest | None:
    """Her newest, unless she took it back."""
    asked = StoredValueRequest.objects.filter(member_id=member_id)
    return asked.exclude(state=StoredValueRequest.WITHDRAWN).order_by("-asked_at", "-pk").first()
