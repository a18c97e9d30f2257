"""What the shop keeps about a member, for her page "my data", her export and her erasure.

An order is kept as the law of accounting wants it: numbers, goods, money, invoice. Who received it is forgotten.
"""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import ledger
from core.ledger import HOUSE, unit_of
from core.models import LedgerAccount
from core.money import yuan
from crm import queries as crm_queries
from crm import services as crm_services
from shop import aftersales_rules
from shop.models import (
    Address,
    AfterSale,
    AfterSalePhoto,
    Booking,
    CartLine,
    CouponGrant,
    DirectPayment,
    Favourite,
    FunnelStep,
    ImportLine,
    ImportRun,
    Invoice,
    MallExchange,
    Order,
    OrderLog,
    Payment,
    Question,
    QueueTicket,
    Review,
    ReviewPhoto,
    StockNotice,
    StoredValueRequest,
)
from shop.queries.mydata import (
    balances_of,
    taken_addresses,
    taken_exchanges,
    taken_orders,
    taken_value,
    taken_voices,
    taken_wishes,
)
from shop.queries.stored_value import BONUS, POINTS, PRINCIPAL, spendable_of
from shop.services.coupons import revoke_coupons
from shop.services.reviews import refresh_rating

PAYER_ERASED = "erased"
OPEN = (Order.PENDING_PAYMENT, Order.PAID, Order.SHIPPED)
ENDED = (Order.RECEIVED, Order.CANCELLED, Order.REFUNDED)
CLOSED_AFTERSALES = (
    aftersales_rules.REFUSED,
    aftersales_rules.REFUNDED,
    aftersales_rules.EXCHANGED,
    aftersales_rules.CLOSED,
)


def obstacle(member_id: int) -> str:
    """What must be settled before she can be forgotten: goods or money on their way, money of hers."""
    if (
        number := Order.objects.filter(member=member_id, status__in=OPEN)
        .values_list("number", flat=True)
        .first()
    ):
        return _("Order %(number)s is not finished yet: receive, pay or cancel it first.") % {
            "number": number
        }
    applied = AfterSale.objects.filter(order__member=member_id).exclude(status__in=CLOSED_AFTERSALES)
    if number := applied.values_list("number", flat=True).first():
        return _("After-sale %(number)s is not finished yet.") % {"number": number}
    if MallExchange.objects.filter(
        member=member_id, state__in=[MallExchange.WAITING, MallExchange.UNPAID]
    ).exists():
        return _("What you exchanged for points is still to be sent.")
    accounts = LedgerAccount.objects.filter(owner_id=member_id, kind=PRINCIPAL, balance__gt=0)
    if fen := accounts.values_list("balance", flat=True).first():
        return _("¥%(amount)s that you paid in are left. Spend them or ask us to pay them back first.") % {
            "amount": yuan(fen)
        }
    return ""


def consequence(member_id: int) -> str:
    """What she loses that money cannot bring back."""
    balances = balances_of(member_id)
    lost = []
    if points := balances.get(POINTS):
        lost.append(_("%(count)d points") % {"count": points})
    if bonus := balances.get(BONUS):
        lost.append(_("¥%(amount)s of bonus") % {"amount": yuan(bonus)})
    if coupons := balances.get("coupons"):
        lost.append(_("%(count)d coupons") % {"count": coupons})
    return _("You lose %(things)s.") % {"things": "、".join(lost)} if lost else ""


@transaction.atomic
def erase_orders(member_id: int) -> int:
    """Her orders become nameless, photos of her complaints go, payments no longer say whose WeChat paid; returns how
    many orders.
    """
    photos = AfterSalePhoto.objects.filter(aftersale__order__member=member_id)
    _drop_after_commit([photo.file for photo in photos])
    photos.delete()
    _forget_payers(Payment.objects.filter(order__member=member_id))
    _forget_import_lines(member_id)
    return make_nameless(Order.objects.filter(member=member_id))


def _forget_payers(payments: QuerySet[Any]) -> None:
    """WeChat's own number of the payment stays: the books need it, and nobody else can look it up."""
    payments.exclude(Q(status=Payment.OPEN) | Q(openid="")).update(openid=PAYER_ERASED)


def _forget_import_lines(member_id: int) -> None:
    """Lines of brought-in files stay with their goods, amounts and dates; whose they were is forgotten, and the files
    in which she stands go.
    """
    for source, numbers in crm_queries.import_numbers_of(member_id).items():
        lines = ImportLine.objects.filter(source=source, customer__in=numbers)
        found = dict(lines.values_list("pk", "run_id"))
        ImportLine.objects.filter(pk__in=found).update(customer="")
        crm_services.drop_files_of(ImportRun.objects.filter(pk__in=set(found.values())))


def _drop_after_commit(files: list[Any]) -> None:
    def drop() -> None:
        for file in files:
            file.storage.delete(str(file.name))

    transaction.on_commit(drop, robust=True)


@transaction.atomic
def make_nameless(orders: QuerySet[Order]) -> int:
    """Forget who received these orders; numbers, goods and money stay. Idempotent."""
    keys = list(orders.values_list("pk", flat=True))
    Invoice.objects.filter(order__in=keys).update(email="")
    AfterSale.objects.filter(order__in=keys).update(description="")
    OrderLog.objects.filter(order__in=keys, action="address_changed").update(note="")
    return Order.objects.filter(pk__in=keys).update(
        receiver="", phone="", street="", postal_code="", note="", merchant_note="", idempotency_key=None
    )


def erase_addresses(member_id: int) -> int:
    """Returns how many."""
    return Address.objects.filter(member=member_id).delete()[0]


def wishes(member_id: int) -> int:
    """How many things she put into the cart, marked, or waits for."""
    return sum(model.objects.filter(member=member_id).count() for model in (CartLine, Favourite, StockNotice))


@transaction.atomic
def erase_wishes(member_id: int) -> int:
    """Cart, hearts, notices and the steps of her visits; returns how many."""
    models = (CartLine, Favourite, StockNotice, FunnelStep)
    return sum(model.objects.filter(member=member_id).delete()[0] for model in models)


def erase_exchanges(member_id: int) -> int:
    """Forget where they were sent; returns how many."""
    sent = MallExchange.objects.filter(member=member_id).exclude(address="")
    return sent.update(receiver="", phone="", address="–")


@transaction.atomic
def erase_balances(member_id: int) -> int:
    """Points and bonus go back to the house, coupons are taken back, what she asked for and who paid is forgotten;
    returns how much in all. Locks: direct payments, coupons, ledger accounts.
    """
    _forget_payers(DirectPayment.objects.filter(member=member_id))
    StoredValueRequest.objects.filter(member=member_id).update(reason="")
    lost = revoke_coupons(grant_ids=CouponGrant.objects.filter(member=member_id).values_list("pk", flat=True))
    for account in LedgerAccount.objects.filter(owner_id=member_id, kind__in=[BONUS, POINTS], balance__gt=0):
        amount = spendable_of(account.pk)
        if amount <= 0:
            continue
        house = ledger.open_account(kind=f"{unit_of(account.kind)}.erased", owner_id=HOUSE)
        ledger.transfer(cause=f"erase:account:{account.pk}", debit=account, credit=house, amount=amount)
        lost += amount
    return lost


def open_booking(member_id: int) -> str:
    """A booking of hers that is still to come."""
    waiting = Booking.objects.filter(member=member_id, state=Booking.BOOKED)
    if code := waiting.values_list("code", flat=True).first():
        return _("Booking %(code)s is still to come: cancel it first.") % {"code": code}
    return ""


@transaction.atomic
def erase_voices(member_id: int) -> int:
    """Her words and photos go; stars stay without a name, as does what the shop has answered in public. Returns how
    many reviews and questions.
    """
    reviews = Review.objects.filter(member=member_id)
    photos = ReviewPhoto.objects.filter(review__in=reviews)
    products = set(photos.values_list("review__product", flat=True))
    _drop_after_commit([file for photo in photos for file in (photo.image, photo.thumbnail)])
    photos.delete()
    for product_id in sorted(products):
        refresh_rating(product_id=product_id)
    Booking.objects.filter(member=member_id).update(note="")
    QueueTicket.objects.filter(member=member_id).update(guest="")
    gone = Question.objects.filter(member=member_id).exclude(state=Question.SHOWN).delete()[0]
    return gone + reviews.update(text="", is_anonymous=True)


def _old(before: datetime) -> QuerySet[Order]:
    named = ~Q(receiver="") | ~Q(phone="") | ~Q(street="")
    return Order.objects.filter(named, status__in=ENDED, placed_at__lt=before)


def _forget_old(before: datetime, most: int) -> int:
    return make_nameless(Order.objects.filter(pk__in=list(_old(before).values_list("pk", flat=True)[:most])))


def _forget_steps(before: datetime, most: int) -> int:
    old = FunnelStep.objects.filter(at__lt=before).values_list("pk", flat=True)[:most]
    return FunnelStep.objects.filter(pk__in=list(old)).delete()[0]


def name_holdings() -> None:
    """Tell the member centre what the shop keeps; called once, when the shop starts."""
    crm_services.hold_personal_data(
        crm_services.Holding(
            "orders",
            gettext_lazy("orders"),
            count=lambda member_id: Order.objects.filter(member=member_id).count(),
            export=taken_orders,
            erase=erase_orders,
            rows=lambda member_id: [
                Order.objects.filter(member=member_id),
                Payment.objects.filter(order__member=member_id),
            ],
            obstacle=obstacle,
        )
    )
    crm_services.hold_personal_data(
        crm_services.Holding(
            "addresses",
            gettext_lazy("addresses"),
            count=lambda member_id: Address.objects.filter(member=member_id).count(),
            export=taken_addresses,
            erase=erase_addresses,
        )
    )
    crm_services.hold_personal_data(
        crm_services.Holding(
            "wishes",
            gettext_lazy("cart, favourites and notices"),
            count=wishes,
            export=taken_wishes,
            erase=erase_wishes,
            rows=lambda member_id: [StockNotice.objects.filter(member=member_id)],
        )
    )
    crm_services.hold_personal_data(
        crm_services.Holding(
            "exchanges",
            gettext_lazy("exchanged points"),
            count=lambda member_id: MallExchange.objects.filter(member=member_id).count(),
            export=taken_exchanges,
            erase=erase_exchanges,
            rows=lambda member_id: [MallExchange.objects.filter(member=member_id)],
        )
    )
    crm_services.hold_personal_data(
        crm_services.Holding(
            "balances",
            gettext_lazy("points, stored value and coupons"),
            count=lambda member_id: len(balances_of(member_id)),
            export=taken_value,
            erase=erase_balances,
            rows=lambda member_id: [
                DirectPayment.objects.filter(member=member_id),
                CouponGrant.objects.filter(member=member_id, state=CouponGrant.HELD),
                LedgerAccount.objects.filter(owner_id=member_id, kind__in=[BONUS, POINTS]),
            ],
            consequence=consequence,
        )
    )
    crm_services.hold_personal_data(
        crm_services.Holding(
            "voices",
            gettext_lazy("reviews, questions and bookings"),
            count=lambda member_id: sum(len(rows) for rows in taken_voices(member_id).values()),
            export=taken_voices,
            erase=erase_voices,
            rows=lambda member_id: [
                Review.objects.filter(member=member_id),
                Booking.objects.filter(member=member_id),
            ],
            obstacle=open_booking,
        )
    )
    crm_services.put_clock(
        crm_services.Clock(
            "order_addresses",
            gettext_lazy("receivers of finished orders"),
            gettext_lazy("Name, phone and street of the receiver are emptied; the order itself stays."),
            count=lambda before: _old(before).count(),
            remove=_forget_old,
        )
    )
    crm_services.put_clock(
        crm_services.Clock(
            "funnel_steps",
            gettext_lazy("steps on the way to the payment"),
            gettext_lazy("Single steps of members are deleted."),
            count=lambda before: FunnelStep.objects.filter(at__lt=before).count(),
            remove=_forget_steps,
        )
    )
    crm_services.put_clock(
        crm_services.clock_of_files(
            "order_files", gettext_lazy("files of orders that were brought in"), ImportRun
        )
    )
