"""One step of an after-sale: its new state, its log, its event. Called by commands that hold the order's lock."""

from typing import Any

from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from shop import aftersales_rules as rules
from shop.errors import WrongState
from shop.events import AfterSaleMoved
from shop.models import AfterSale, AfterSaleLine, AfterSaleLog, Order, Refund


def move(
    aftersale: AfterSale,
    status: str,
    *,
    actor: str,
    user_id: int | None = None,
    note: str = "",
    **changes: Any,
) -> None:
    """Go on to `status`, with further columns; guarded by the state it was in. Raises WrongState."""
    moment = clock.now()
    if not rules.may_become(aftersale.status, status):
        raise WrongState(
            _("This cannot be done any more; the application is: %(status)s.")
            % {"status": aftersale.get_status_display()}
        )
    changes |= {"status": status, "due_at": rules.due_at(aftersale.kind, status, moment)}
    if status in rules.OVER:
        changes["finished_at"] = moment
    moved = AfterSale.objects.filter(pk=aftersale.pk, status=aftersale.status).update(**changes)
    if not moved:
        raise WrongState(_("Somebody else was faster. Please look again."))
    for name, value in changes.items():
        setattr(aftersale, name, value)
    if status in rules.OVER:
        AfterSaleLine.objects.filter(aftersale_id=aftersale.pk).update(is_open=False)
    note_step(aftersale, actor=actor, user_id=user_id, note=note)


def note_step(aftersale: AfterSale, *, actor: str, user_id: int | None = None, note: str = "") -> None:
    """Write the state it is in to its log, and announce it."""
    moment = clock.now()
    AfterSaleLog.objects.create(
        aftersale_id=aftersale.pk,
        status=aftersale.status,
        actor=actor,
        user_id=user_id,
        note=note[:300],
        at=moment,
    )
    member_id = Order.objects.values_list("member_id", flat=True).get(pk=aftersale.order_id)
    if member_id:
        publish(
            AfterSaleMoved(
                aftersale_id=aftersale.pk,
                order_id=aftersale.order_id,
                member_id=member_id,
                kind=aftersale.kind,
                status=aftersale.status,
                at=moment,
            ),
            key=f"order:{aftersale.order_id}",
        )


def follow_refund(refund: Refund) -> None:
    """A refund succeeded or was closed: once none of its after-sale's is under way any more, the after-sale is over
    when all of its money is back, and waits for the shop when WeChat refused a part.
    """
    aftersale = refund.aftersale
    if aftersale is None or aftersale.status != rules.REFUNDING:
        return
    if (
        Refund.objects.filter(aftersale=aftersale)
        .exclude(status__in=[Refund.SUCCESS, Refund.CLOSED])
        .exists()
    ):
        return
    refused = refused_of(aftersale)
    if refused:
        before = rules.RECEIVED if aftersale.kind == rules.RETURN_REFUND else rules.APPROVED
        move(aftersale, before, actor="system", note=refused[0].last_error)
    else:
        move(aftersale, rules.REFUNDED, actor="system")


def refused_of(aftersale: AfterSale) -> list[Refund]:
    """What WeChat closed and was not asked for anew: of each payment's refunds the last, when it is closed."""
    last = {one.payment_id: one for one in Refund.objects.filter(aftersale=aftersale).order_by("pk")}
    return [one for one in last.values() if one.status == Refund.CLOSED]


def under_way_again(refund: Refund, *, actor: str, user_id: int | None) -> None:
    """A refund that WeChat closed is asked for anew: its after-sale waits for money, not for the shop."""
    aftersale = refund.aftersale
    if aftersale is not None and aftersale.status != rules.REFUNDING:
        move(aftersale, rules.REFUNDING, actor=actor, user_id=user_id)
