"""The counter: a colleague types or scans a shopper's code on her phone, sees the goods, and hands them over once."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from core.errors import Refusal
from core.secrets import masked_phone
from shop import queries, services
from shop.errors import PickupRefused
from shop.forms import whole_number
from shop.models import Fulfilment
from shop.pages.frame import problem, show
from shop.pages.pictures import of_name
from shop.services.pickup import find_pickup, refuse_pickup


class NotAtACounter(Refusal):
    code, status = "no_store", 403


def colleague_here(request: HttpRequest, here: str) -> Any:
    """The colleague of a store who is logged in, or the page to answer instead: the login that leads to `here`."""
    user = request.user
    if not (user.is_authenticated and user.is_active and user.is_staff):
        return HttpResponseRedirect(f"{reverse('admin:login')}?{urlencode({'next': here})}")
    staff = getattr(user, "staff", None)
    if staff is None or not staff.is_active or staff.store_id is None:
        refusal = NotAtACounter(
            _("Your login belongs to no store. Ask an administrator to link it with a guide who has a store.")
        )
        return problem(
            request, refusal, symbol="store", link=reverse("admin:index"), label=_("To the back office")
        )
    return staff


def called(staff: Any) -> str:
    """The colleague's name as it is kept with what she does."""
    return str(staff.name or staff.user.get_username())


@require_http_methods(["GET", "POST"])
def pickup(request: HttpRequest) -> HttpResponse:
    """`?code=` (typed, or behind the QR code) shows what to hand over; posted, it is handed over or made ready."""
    query = f"?code={code}" if (code := services.pickup_code(request.GET.get("code", ""))) else ""
    staff = colleague_here(request, reverse("shop:pickup") + query)
    if isinstance(staff, HttpResponse):
        return staff
    if request.method == "POST":
        return _do(request, staff)
    typed = request.GET.get("code", "")
    return _shown(request, staff, typed=typed, done=whole_number(request.GET.get("done")))


def _do(request: HttpRequest, staff: Any) -> HttpResponse:
    typed, here = request.POST.get("code", ""), reverse("shop:pickup")
    by = called(staff)
    try:
        if request.POST.get("ready"):
            services.mark_ready(
                fulfilment_id=whole_number(request.POST["ready"]),
                store_id=staff.store_id,
                by=by,
                user_id=request.user.pk,
            )
            return HttpResponseRedirect(here)
        row = services.redeem_pickup(
            code=services.pickup_code(typed), store_id=staff.store_id, by=by, user_id=request.user.pk
        )
    except Refusal as refusal:
        return _shown(request, staff, typed=typed, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(f"{here}?done={row.pk}")


def _shown(
    request: HttpRequest,
    staff: Any,
    *,
    typed: str,
    done: int = 0,
    refusal: str = "",
    status: int = 200,
) -> HttpResponse:
    found = None
    if typed and not refusal:
        try:
            row = find_pickup(services.pickup_code(typed))
            refuse_pickup(row, row.order, staff.store_id)
            found = _shown_row(row, with_code=True)
        except PickupRefused as refused:
            refusal, status = refused.message, refused.status
    handed = (
        queries.fulfilments_for(request.user)
        .filter(pk=done, store_id=staff.store_id, state=Fulfilment.HANDED_OVER)
        .first()
        if done
        else None
    )
    return show(
        request,
        "shop/pickup.html",
        status=status,
        cart_count=0,
        store=staff.store.name,
        colleague=staff.name,
        typed=typed[:40] if not found else "",
        refusal=refusal,
        found=found,
        handed=_shown_row(handed) if handed else None,
        waiting=[_shown_row(row, with_code=False) for row in queries.open_pickups(staff.store_id)]
        if found is None
        else [],
    )


def _shown_row(row: Fulfilment, *, with_code: bool = False) -> dict[str, Any]:
    """The code itself stays with the shopper: the list shows what waits, not what opens it."""
    order = row.order
    return {
        "pk": row.pk,
        "code": row.code if with_code else "",
        "number": order.number,
        "receiver": order.receiver,
        "phone": masked_phone(order.phone) if order.phone else "",
        "note": order.note,
        "is_ready": row.state == row.READY,
        "state": row.get_state_display(),
        "at": row.created_at,
        "goods": [
            {
                "name": line.product_name,
                "variant": line.sku_name,
                "code": line.sku.code,
                "image": of_name(line.image),
                "pieces": line.quantity - line.refunded_quantity,
            }
            for line in queries.lines_of(row)
        ],
    }
