"""Sales of memberships: what was paid, and giving the days that are left back."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import action

from core import money
from shop import services
from shop.admin.direct import DirectSaleAdmin
from shop.admin.fields import said, who
from shop.admin.recharge import ReasonForm
from shop.models import MembershipSale


@admin.register(MembershipSale)
class MembershipSaleAdmin(DirectSaleAdmin):
    empty_hint = _("Memberships that members buy on their phones appear here.")
    list_display = ["payment", "member", "name", "tier", "days", "state", "returned", "paid_at"]
    list_filter = ["payment__status", "tier", ("payment__paid_at", RangeDateTimeFilter)]
    list_select_related = ["payment__member"]
    fields = [("payment", "member"), ("name", "plan"), ("tier", "days"), ("status", "returned"), "paid_at"]
    readonly_fields = ["member", "status", "returned", "paid_at"]
    returnable = {"payment__refunded_fen": 0}

    @action(
        description=_("Give back the days left"),
        url_path="give-back",
        icon="undo",
        permissions=["give_back"],
        dialog={
            "title": _("Give back the days that are left?"),
            "description": _(
                "The membership ends at once; the price of its whole days left goes back to her."
            ),
            "form_class": ReasonForm,
            "form_submit_text": _("Give back"),
        },
    )
    def give_back(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        with said(request):
            refund = services.refund_membership(
                payment_id=int(object_id),
                reason=form.cleaned_data["reason"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(
                request, _("¥%(amount)s is on its way back.") % {"amount": money.yuan(refund.amount_fen)}
            )
        return self.to_page(object_id)
