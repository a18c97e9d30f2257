"""The member's own corner: who she is, her orders at a glance, her addresses."""

from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from lucide.jinja import lucide
from markupsafe import Markup

from core.errors import NotFound
from core.secrets import masked_phone
from crm import queries as crm_queries
from shop import queries, services
from shop.errors import BadAddress
from shop.forms import AddressForm
from shop.pages import words
from shop.pages.frame import members_only, note_once, official_account, own_address, sdk_for, show


class Way(NamedTuple):
    label: str
    address: str
    icon: Markup
    number: int


@require_GET
@members_only
def me(request: HttpRequest) -> HttpResponse:
    member = request.member  # type: ignore[attr-defined]
    counts = queries.order_counts(member.pk)
    orders = reverse("shop:orders")
    account = official_account()

    def way(label: str, symbol: str, status: str, counted: bool = True) -> Way:
        icon = Markup(lucide(symbol, size=24, stroke_width=1.4, aria_hidden="true"))  # noqa: S704  our own icon
        address = f"{orders}?status={status}" if status else orders
        return Way(label, address, icon, counts.get(status, 0) if counted else 0)

    response = show(
        request,
        "shop/me.html",
        tab="me",
        member=member,
        account_name=account.name if account else "",
        glance=crm_queries.value_at_a_glance(member.pk),
        coupon_count=queries.usable_coupon_count(member.pk),
        ways=[
            way(_("Awaiting payment"), "wallet", "pending_payment"),
            way(_("To be sent"), "package", "paid"),
            way(_("On the way"), "truck", "shipped"),
            way(_("All orders"), "receipt-text", "", counted=False),
        ],
    )
    note_once(request, "visited")
    return response


@require_GET
@members_only
def addresses(request: HttpRequest) -> HttpResponse:
    return show(
        request,
        "shop/addresses.html",
        tab="me",
        addresses=[shown_address(saved) for saved in queries.addresses_of(request.member.pk)],  # type: ignore[attr-defined]
        sdk=sdk_for(request),
        here=reverse("shop:addresses"),
    )


@require_http_methods(["GET", "POST"])
@members_only
def address_new(request: HttpRequest) -> HttpResponse:
    """Type an address, or post what WeChat's picker answered; `next` leads back, for example to the checkout."""
    form = AddressForm.posted(request.POST) if request.method == "POST" else AddressForm.empty()
    return _address_form(request, form, heading=_("New address"), pk=None)


@require_http_methods(["GET", "POST"])
@members_only
def address(request: HttpRequest, pk: int) -> HttpResponse:
    saved = next((one for one in queries.addresses_of(request.member.pk) if one.pk == pk), None)  # type: ignore[attr-defined]
    if saved is None:
        raise Http404
    form = AddressForm.posted(request.POST) if request.method == "POST" else AddressForm.of(saved)
    return _address_form(request, form, heading=_("Edit the address"), pk=pk)


def _address_form(request: HttpRequest, form: AddressForm, *, heading: str, pk: int | None) -> HttpResponse:
    back = own_address(
        request, request.POST.get("next") or request.GET.get("next") or "", reverse("shop:addresses")
    )
    status = 200
    pasted = request.POST.get("paste", "").strip() if "read" in request.POST else ""
    if pasted:
        form = AddressForm.pasted_into(request.POST, pasted)
    elif request.method == "POST":
        given = form.address()
        if given is not None:
            try:
                saved = services.save_address(
                    member_id=request.member.pk,  # type: ignore[attr-defined]
                    address=given,
                    address_id=pk,
                    is_default=form.is_default,
                )
            except BadAddress as refusal:
                form.explain(refusal)
            except NotFound:
                raise Http404 from None
            else:
                return HttpResponseRedirect(_with_address(back, saved.pk))
        status = 422
    return show(
        request,
        "shop/address.html",
        status=status,
        tab="me",
        form=form,
        heading=heading,
        action=request.path,
        next=back,
        sdk=sdk_for(request),
    )


def _with_address(back: str, pk: int) -> str:
    """Back to the checkout with the new address chosen."""
    if not back.startswith(reverse("shop:checkout")):
        return back
    path, _mark, query = back.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("address=")]
    return f"{path}?{'&'.join([*kept, f'address={pk}'])}"


@require_POST
@members_only
def address_default(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        services.set_default_address(member_id=request.member.pk, address_id=pk)  # type: ignore[attr-defined]
    except NotFound:
        raise Http404 from None
    return HttpResponseRedirect(reverse("shop:addresses"))


@require_POST
@members_only
def address_delete(request: HttpRequest, pk: int) -> HttpResponse:
    if not services.delete_address(member_id=request.member.pk, address_id=pk):  # type: ignore[attr-defined]
        raise Http404
    return HttpResponseRedirect(reverse("shop:addresses"))


def shown_address(saved: Any, **more: Any) -> dict[str, Any]:
    return {
        "pk": saved.pk,
        "receiver": saved.receiver,
        "phone": masked_phone(saved.phone),
        "full": words.place(f"{saved.province} {saved.city} {saved.district}", saved.street),
        "is_default": saved.is_default,
        **more,
    }
