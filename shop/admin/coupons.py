"""Coupons with how many were given and used, and who holds them."""

import re
import uuid
from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from core import clock
from core.admin import BaseAdmin, ReadOnlyAdmin
from core.admin.asking import asks_first
from crm import queries as crm_queries
from shop import queries, services
from shop.admin.fields import TenthsField, YuanField, said
from shop.models import Category, Coupon, CouponGrant, Product


class CouponForm(forms.ModelForm):
    amount_fen = YuanField(label=_("amount (¥)"), required=False)
    rate_bps = TenthsField(label=_("remains to be paid (tenths)"), required=False)
    cap_fen = YuanField(label=_("at most (¥)"), required=False)
    threshold_fen = YuanField(label=_("from an amount of (¥)"), required=False)
    scope_text = forms.CharField(
        label=_("which ones"),
        required=False,
        help_text=_("One per line: product codes or numbers, names of categories or of brands."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )

    class Meta:
        model = Coupon
        fields = [
            *("name", "code", "kind", "amount_fen", "rate_bps", "cap_fen", "threshold_fen", "gift_sku"),
            *("scope", "valid_from", "valid_until", "valid_days", "quota", "per_member_limit"),
            *("is_stackable", "returns_on_cancel", "returns_on_refund", "is_claimable", "is_active"),
        ]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk and self.instance.scope_ids:
            self.fields["scope_text"].initial = "\n".join(_names(self.instance))

    def clean_amount_fen(self) -> int:
        return self.cleaned_data["amount_fen"] or 0

    def clean_threshold_fen(self) -> int:
        return self.cleaned_data["threshold_fen"] or 0

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        kind, scope = values.get("kind"), values.get("scope")
        if kind == Coupon.AMOUNT and not values.get("amount_fen"):
            self.add_error("amount_fen", _("Enter how much is taken off."))
        if kind == Coupon.PERCENTAGE and not values.get("rate_bps"):
            self.add_error("rate_bps", _("Enter what remains to be paid, such as 8.5; less than 10."))
        if kind in (Coupon.GIFT, Coupon.EXCHANGE) and values.get("gift_sku") is None:
            self.add_error("gift_sku", _("Choose the SKU that is given."))
        if not values.get("valid_until") and not values.get("valid_days"):
            self.add_error("valid_until", _("Say when it ends: a date, or days after receipt."))
        quota = values.get("quota")
        if quota is not None and quota < (self.instance.granted_count or 0):
            self.add_error("quota", _("More than that have been given already."))
        ids, unknown = _resolved(str(scope), values.get("scope_text", "")) if scope else ([], [])
        if unknown:
            self.add_error("scope_text", _("Unknown: %(names)s") % {"names": "、".join(unknown[:10])})
        elif scope != Coupon.ALL and not ids:
            self.add_error("scope_text", _("Name at least one."))
        self.instance.scope_ids = ids
        return values


def _named(scope: str) -> QuerySet[Any]:
    if scope == Coupon.PRODUCTS:
        return Product.objects.all()
    if scope == Coupon.CATEGORIES:
        return Category.objects.all()
    model = "Brand"
    brands: Any = apps.get_model("shop", model)
    return brands.objects.all()


def _names(coupon: Coupon) -> list[str]:
    if coupon.scope == Coupon.ALL:
        return []
    if coupon.scope == Coupon.PRODUCTS:
        rows = Product.objects.filter(pk__in=coupon.scope_ids).values_list("pk", "code")
        return [code or str(pk) for pk, code in rows]
    return list(_named(coupon.scope).filter(pk__in=coupon.scope_ids).values_list("name", flat=True))


def _resolved(scope: str, text: str) -> tuple[list[int], list[str]]:
    """Ids of what the lines name, and the lines that name nothing."""
    if scope == Coupon.ALL:
        return [], []
    words = [word.strip() for word in re.split(r"[\n,，;；]", text) if word.strip()][:2_000]
    column = "code" if scope == Coupon.PRODUCTS else "name"
    known: dict[str, list[int]] = {}
    for pk, word in _named(scope).filter(**{f"{column}__in": words}).values_list("pk", column):
        known.setdefault(word, []).append(pk)
    if scope == Coupon.PRODUCTS:
        numbers = [int(word) for word in words if word.isdecimal() and len(word) < 10 and word not in known]
        for pk in Product.objects.filter(pk__in=numbers).values_list("pk", flat=True):
            known.setdefault(str(pk), []).append(pk)
    return sorted({pk for ids in known.values() for pk in ids}), [word for word in words if word not in known]


def _segments() -> list[tuple[str, Any]]:
    rows = apps.get_model("crm", "Segment").objects.order_by("name").values_list("pk", "name")[:500]
    return [("", "–"), *((str(pk), name) for pk, name in rows)]


class GiveForm(BaseDialogForm):
    """To whom. The token makes a double click one giving."""

    segment = forms.ChoiceField(
        label=_("segment"), choices=_segments, required=False, widget=UnfoldAdminSelectWidget()
    )
    members = forms.CharField(
        label=_("or members"),
        required=False,
        help_text=_("Member numbers or verified phone numbers, one per line; at most 5,000."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
    )
    token = forms.CharField(widget=forms.HiddenInput, max_length=32, initial=lambda: uuid.uuid4().hex)

    def clean_members(self) -> list[int]:
        words = re.findall(r"[0-9]{1,15}", self.cleaned_data["members"])[:5_000]
        phones = crm_queries.members_by_identity(kind="phone", account_id=None, values=words)
        numbers = crm_queries.living_ids(int(word) for word in words if len(word) < 10 and word not in phones)
        return sorted({*phones.values(), *numbers.values()})

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not values.get("segment") and not values.get("members"):
            raise forms.ValidationError(_("Choose a segment, or name members that exist."))
        return values


@admin.register(Coupon)
class CouponAdmin(BaseAdmin):
    form = CouponForm
    list_display = ["name", "worth", "scope", "validity", "given", "used", "link", "state"]
    list_filter = ["kind", "is_active", "is_claimable", "scope"]
    search_fields = ["name", "code"]
    ordering = ["-pk"]
    autocomplete_fields: list[str] = []
    raw_id_fields = ["gift_sku"]
    readonly_fields = ["given", "used", "link"]
    fieldsets = [
        (None, {"fields": [("name", "code"), "kind", ("amount_fen", "rate_bps"), ("threshold_fen", "cap_fen"),
                           "gift_sku", "is_stackable"]}),
        (_("What it applies to"), {"fields": ["scope", "scope_text"]}),
        (_("Validity"), {"fields": [("valid_from", "valid_until"), "valid_days"]}),
        (_("Giving out"), {"fields": [("quota", "per_member_limit"), ("is_claimable", "is_active"),
                                      ("returns_on_cancel", "returns_on_refund")]}),
        (_("Figures"), {"fields": [("given", "used"), "link"]}),
    ]  # fmt: skip
    actions_detail = ["give", "look_at_grants"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Coupon]:
        used = Count("grants", filter=Q(grants__state=CouponGrant.USED))
        return super().get_queryset(request).select_related("gift_sku__product").annotate(used_count=used)

    @admin.display(description=_("worth"))
    def worth(self, coupon: Coupon) -> str:
        return f"{queries.worth_of(coupon)}，{queries.condition_of(coupon)}"

    @admin.display(description=_("validity"))
    def validity(self, coupon: Coupon) -> str:
        return queries.validity_words(coupon)

    @admin.display(description=_("granted"), ordering="granted_count")
    def given(self, coupon: Coupon) -> str:
        return f"{coupon.granted_count} / {coupon.quota if coupon.quota is not None else '∞'}"

    @admin.display(description=_("used"), ordering="used_count")
    def used(self, coupon: Coupon) -> int:
        return getattr(coupon, "used_count", 0)

    @admin.display(description=_("claim link"))
    def link(self, coupon: Coupon) -> str:
        if not coupon.pk or not coupon.is_claimable:
            return "–"
        address = reverse("shop:coupon", args=[coupon.code])
        return format_html('<a href="{}" target="_blank">{}</a>', address, address)

    @display(description=_("state"), label={"on": "success", "off": "default"})
    def state(self, coupon: Coupon) -> tuple[str, str]:
        return ("on", str(_("is given out"))) if coupon.is_active else ("off", str(_("stopped")))

    def save_model(self, request: HttpRequest, obj: Coupon, form: Any, change: bool) -> None:
        if not change:
            obj.created_at = clock.now()
            super().save_model(request, obj, form, change)
            return
        # Only what the form has: `granted_count` may have grown since the page was opened.
        obj.save(update_fields=[*CouponForm.Meta.fields, "scope_ids"])

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Coupons are stopped, not deleted: members hold them."""
        return False

    def has_give_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.add_coupongrant"))

    @action(
        description=_("Give to members"),
        url_path="give",
        icon="redeem",
        permissions=["give"],
        dialog={
            "title": _("Give this coupon to members"),
            "description": _("Who has as many as one person may is passed by. Large segments take a while."),
            "form_class": GiveForm,
            "form_submit_text": _("Give"),
        },
    )
    def give(self, request: HttpRequest, form: GiveForm, object_id: str) -> HttpResponse:
        values = form.cleaned_data
        with said(request):
            services.start_granting(
                coupon_id=int(object_id),
                key=f"give:{object_id}:{values['token']}",
                segment_id=int(values["segment"]) if values["segment"] else None,
                member_ids=values["members"],
                by_id=request.user.pk,
            )
            messages.success(request, _("It is being given out; the page “Jobs” shows how far it is."))
        return self.to_page(object_id)

    @action(description=_("Who holds it"), url_path="grants", icon="group")
    def look_at_grants(self, request: HttpRequest, object_id: str) -> HttpResponse:
        from django.shortcuts import redirect

        address = reverse("admin:shop_coupongrant_changelist")
        return redirect(f"{address}?coupon__id__exact={int(object_id)}")


@admin.register(CouponGrant)
class CouponGrantAdmin(ReadOnlyAdmin):
    empty_hint = _("Coupons that members hold appear here once a coupon is given out.")
    list_display = ["coupon", "member", "shown_state", "granted_at", "expires_at", "order", "used_at"]
    list_filter = ["state", ("coupon", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["coupon", "member", "order"]
    search_fields = ["order__number"]
    search_help_text = _("Member number, order number or why it was given")
    ordering = ["-pk"]
    paginator = InfinitePaginator
    fields = [
        ("coupon", "member"),
        ("state", "order"),
        ("valid_from", "expires_at"),
        ("granted_at", "used_at"),
        "key",
    ]
    actions = ["revoke"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CouponGrant], search_term: str
    ) -> tuple[QuerySet[CouponGrant], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(order__number=term) | Q(key=term)
        if term.isdecimal() and len(term) < 15:
            found |= Q(member_id=int(term))
        return queryset.filter(found), False

    @display(
        description=_("state"),
        ordering="state",
        label={"held": "info", "used": "success", "expired": "default", "revoked": "danger"},
    )
    def shown_state(self, grant: CouponGrant) -> tuple[str, str]:
        return grant.state, str(grant.get_state_display())

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("shop.change_coupongrant"))

    @admin.action(description=_("Take back what is not used"), permissions=["revoke"])
    @asks_first(_("Their holders can no longer use them. Used ones stay. This cannot be undone."))
    def revoke(self, request: HttpRequest, queryset: QuerySet[CouponGrant]) -> None:
        count = services.revoke_coupons(grant_ids=queryset.values_list("pk", flat=True))
        messages.success(
            request,
            ngettext("%(count)d coupon was taken back.", "%(count)d coupons were taken back.", count)
            % {"count": count},
        )
