"""Gift cards: made in batches, their codes handed out once as a file, single cards as facts."""

import csv
import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from core import clock, money
from core.admin import ReadOnlyAdmin
from core.admin.asking import asks_first
from shop import services
from shop.admin.fields import YuanField, said, yuan_column
from shop.models import GiftCard, GiftCardBatch
from shop.services.gift_cards import MOST_CARDS, MOST_FEN


class BatchForm(forms.ModelForm):
    """The token makes a double click one batch."""

    name = forms.CharField(label=_("name"), max_length=60, widget=UnfoldAdminTextInputWidget())
    value_fen = YuanField(label=_("value of each card (¥)"))
    count = forms.IntegerField(
        label=_("number of cards"), min_value=1, max_value=MOST_CARDS, widget=UnfoldAdminIntegerFieldWidget()
    )
    expires_at = forms.SplitDateTimeField(
        label=_("expires at"), required=False, widget=UnfoldAdminSplitDateTimeWidget()
    )
    token = forms.CharField(widget=forms.HiddenInput, max_length=32, initial=lambda: uuid.uuid4().hex)

    class Meta:
        model = GiftCardBatch
        fields = ["name", "value_fen", "count", "expires_at"]

    def clean_value_fen(self) -> int:
        value = int(self.cleaned_data["value_fen"] or 0)
        if not 1 <= value <= MOST_FEN:
            raise forms.ValidationError(_("A gift card is worth between ¥0.01 and ¥10,000."))
        return value

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= clock.now():
            raise forms.ValidationError(_("The cards would be expired already."))
        return expires_at


@admin.register(GiftCardBatch)
class GiftCardBatchAdmin(ReadOnlyAdmin):
    form = BatchForm
    list_display = ["name", "value", "count", "bound", "expires_at", "codes", "created_at"]
    search_fields = ["name"]
    ordering = ["-created_at", "-pk"]
    actions = ["export_codes", "void_cards"]
    value = yuan_column("value_fen", _("face value"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[GiftCardBatch]:
        counted = Count("cards", filter=Q(cards__state=GiftCard.BOUND))
        return super().get_queryset(request).annotate(_bound=counted)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return ["name", ("value_fen", "count"), "expires_at", "token"]
        return [
            "name", ("value", "count"), ("bound", "expires_at"), ("created_by", "created_at"),
            ("exported_by", "exported_at"),
        ]  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["value", "bound"]

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return bool(request.user.has_perm("shop.add_giftcardbatch"))

    @display(description=_("bound"))
    def bound(self, batch: Any) -> str:
        address = f"{reverse('admin:shop_giftcard_changelist')}?batch__id__exact={batch.pk}"
        return format_html('<a href="{}">{} / {}</a>', address, batch._bound, batch.count)

    @display(description=_("codes"), label={"once": "warning", "gone": "default"})
    def codes(self, batch: GiftCardBatch) -> tuple[str, Any]:
        return ("gone", _("exported")) if batch.exported_at else ("once", _("can be exported once"))

    def save_model(self, request: HttpRequest, obj: GiftCardBatch, form: Any, change: bool) -> None:
        given = form.cleaned_data
        obj.pk = services.make_gift_cards(
            name=given["name"],
            value_fen=given["value_fen"],
            count=given["count"],
            expires_at=given["expires_at"],
            idempotency_key=given["token"],
            user_id=request.user.pk,
        ).pk

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("shop.export_giftcardbatch"))

    @admin.action(description=_("Export the codes (once only)"), permissions=["export"])
    @asks_first(
        _(
            "The file is made once; afterwards nobody can read these codes here, so keep it safe. Of cards that were "
            "bound or ended before, only the last four characters are left."
        ),
        stays=True,
    )
    def export_codes(self, request: HttpRequest, queryset: QuerySet[GiftCardBatch]) -> HttpResponse | None:
        batches = list(queryset[:2])
        if len(batches) != 1:
            messages.error(request, _("Choose one batch: its codes are shown once only."))
            return None
        batch = batches[0]
        with said(request):
            cards = services.export_gift_cards(batch_id=batch.pk, user_id=request.user.pk)
            answer = HttpResponse(
                content_type="text/csv; charset=utf-8",
                headers={
                    "Content-Disposition": f'attachment; filename="gift-cards-{batch.pk}.csv"',
                    "Cache-Control": "no-store",
                },
            )
            answer.write("\ufeff")
            writer = csv.writer(answer)
            writer.writerow([_("code"), _("face value"), _("expires at"), _("state")])
            until = f"{clock.local(batch.expires_at):%Y-%m-%d %H:%M}" if batch.expires_at else ""
            writer.writerows([card.code, money.yuan(batch.value_fen), until, card.state] for card in cards)
            return answer
        return None

    def has_void_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("shop.change_giftcardbatch"))

    @admin.action(description=_("End the cards that nobody has bound"), permissions=["void"])
    @asks_first(
        _("Nobody can bind these cards any more, also not those that were sold. This cannot be undone.")
    )
    def void_cards(self, request: HttpRequest, queryset: QuerySet[GiftCardBatch]) -> None:
        count = sum(services.void_gift_cards(batch_id=pk) for pk in queryset.values_list("pk", flat=True))
        messages.success(
            request,
            ngettext("%(count)d card is void.", "%(count)d cards are void.", count) % {"count": count},
        )


@admin.register(GiftCard)
class GiftCardAdmin(ReadOnlyAdmin):
    empty_hint = _("Make a batch of gift cards first; its cards appear here.")
    list_display = ["code_end", "batch", "value", "condition", "member", "bound_at", "expires_at"]
    list_filter = ["state", "batch"]
    list_select_related = ["batch", "member"]
    search_fields = ["=code_end", "member__name"]
    search_help_text = _("Last four digits or member's name")
    ordering = ["-pk"]
    paginator = InfinitePaginator
    fields = ["batch", ("code_end", "value"), "state", ("member", "bound_at"), "expires_at"]
    readonly_fields = ["value"]
    value = yuan_column("value_fen", _("face value"))

    @display(
        description=_("state"), ordering="state", label={"new": "info", "bound": "success", "void": "default"}
    )
    def condition(self, card: GiftCard) -> tuple[str, str]:
        return card.state, str(card.get_state_display())
