"""The moderation queue of reviews, the seller's answers, and what members wait for."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.files.storage import default_storage
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from core.admin import ReadOnlyAdmin
from shop import services
from shop.admin.fields import said, who
from shop.models import Review, ReviewPhoto, StockNotice

LABELS = {Review.PENDING: "warning", Review.SHOWN: "success", Review.HIDDEN: "default"}


class AnswerForm(BaseDialogForm):
    answer = forms.CharField(
        label=_("your answer"),
        max_length=500,
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text=_("Shoppers read it under the review. Empty: no answer."),
    )


class HideForm(BaseDialogForm):
    reason = forms.CharField(
        label=_("reason"),
        max_length=200,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("Its author reads it beside her review."),
    )


class PhotoFilter(admin.SimpleListFilter):
    title = _("photos")
    parameter_name = "photos"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("with photos"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Review]) -> QuerySet[Review]:
        if self.value() == "yes":
            return queryset.filter(Exists(ReviewPhoto.objects.filter(review=OuterRef("pk"))))
        return queryset


class AnsweredFilter(admin.SimpleListFilter):
    title = _("answered")
    parameter_name = "answered"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("answered")), ("no", _("not answered"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Review]) -> QuerySet[Review]:
        match self.value():
            case "yes":
                return queryset.exclude(answer="")
            case "no":
                return queryset.filter(answer="")
        return queryset


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    empty_hint = _("Reviews appear here for moderation when shoppers write them.")
    list_display = ["product", "stars_shown", "words", "pictures", "member", "state_shown", "written_at"]
    list_filter = ["state", "stars", PhotoFilter, AnsweredFilter]
    search_fields = ["text", "product__name", "line__order__number"]
    search_help_text = _("Words of the review, product name or order number")
    ordering = ["-written_at", "-pk"]
    paginator = InfinitePaginator
    actions = ["show_reviews", "hide_reviews"]
    actions_detail = ["show", "hide", "answer_it"]
    fields = [
        ("product", "order_link"),
        ("member", "is_anonymous"),
        ("stars_shown", "state"),
        "text",
        "pictures",
        "answer",
        ("answered_at", "answered_by"),
        ("decided_at", "decided_by"),
        "reason",
    ]
    readonly_fields = ["order_link", "stars_shown", "pictures"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Review]:
        rows = super().get_queryset(request).select_related("product", "member", "line__order")
        return rows.prefetch_related("photos")

    @display(description=_("stars"), ordering="stars")
    def stars_shown(self, review: Review) -> str:
        return "★" * review.stars + "☆" * (5 - review.stars)

    @admin.display(description=_("text"))
    def words(self, review: Review) -> str:
        return review.text[:60] or "–"

    @admin.display(description=_("photos"))
    def pictures(self, review: Review) -> SafeString | str:
        photos = list(review.photos.all())
        if not photos:
            return "–"
        return format_html(
            '<div style="display:flex;gap:6px">{}</div>',
            format_html_join(
                "",
                '<a href="{}" target="_blank"><img src="{}" alt="" width="48" height="48"'
                ' style="border-radius:6px;object-fit:cover"></a>',
                (
                    (
                        default_storage.url(photo.image.name or ""),
                        default_storage.url(photo.thumbnail.name or ""),
                    )
                    for photo in photos
                ),
            ),
        )

    @display(description=_("state"), label=LABELS, ordering="state")
    def state_shown(self, review: Review) -> tuple[str, str]:
        return review.state, review.get_state_display()

    @admin.display(description=_("order"))
    def order_link(self, review: Review) -> SafeString:
        order = review.line.order
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:shop_order_change", args=[order.pk]), order.number
        )

    def has_moderate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.change_review"))

    @admin.action(description=_("Show the chosen reviews"), permissions=["moderate"])
    def show_reviews(self, request: HttpRequest, queryset: QuerySet[Review]) -> None:
        self._decide_all(request, queryset, shown=True)

    @admin.action(description=_("Hide the chosen reviews"), permissions=["moderate"])
    def hide_reviews(self, request: HttpRequest, queryset: QuerySet[Review]) -> None:
        self._decide_all(request, queryset, shown=False)

    def _decide_all(self, request: HttpRequest, queryset: QuerySet[Review], *, shown: bool) -> None:
        ids = list(queryset.order_by("pk").values_list("pk", flat=True))
        for pk in ids:
            services.decide_review(review_id=pk, shown=shown, by=who(request))
        messages.success(request, _("%(count)d reviews decided.") % {"count": len(ids)})

    @action(
        description=_("Show to shoppers"),
        url_path="show",
        icon="visibility",
        permissions=["moderate"],
        dialog={
            "title": _("Show this review?"),
            "description": _("Shoppers see it at once, and the product's stars count it."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Show to shoppers"),
        },
    )
    def show(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            services.decide_review(review_id=int(object_id), shown=True, by=who(request))
            messages.success(request, _("The review is shown."))
        return self.to_page(object_id)

    @action(
        description=_("Hide"),
        url_path="hide",
        icon="visibility_off",
        permissions=["moderate"],
        dialog={
            "title": _("Hide this review?"),
            "description": _("Nobody else sees it, and the product's stars no longer count it."),
            "form_class": HideForm,
            "form_submit_text": _("Hide"),
        },
    )
    def hide(self, request: HttpRequest, form: HideForm, object_id: str) -> HttpResponse:
        with said(request):
            services.decide_review(
                review_id=int(object_id), shown=False, by=who(request), reason=form.cleaned_data["reason"]
            )
            messages.success(request, _("The review is hidden."))
        return self.to_page(object_id)

    @action(
        description=_("Answer"),
        url_path="answer",
        icon="reply",
        permissions=["moderate"],
        dialog={
            "title": _("Answer this review"),
            "description": _("Speak as the brand; everybody can read it."),
            "form_class": AnswerForm,
            "form_submit_text": _("Answer"),
        },
    )
    def answer_it(self, request: HttpRequest, form: AnswerForm, object_id: str) -> HttpResponse:
        with said(request):
            services.answer_review(
                review_id=int(object_id), answer=form.cleaned_data["answer"], by=who(request)
            )
            messages.success(request, _("The answer is kept."))
        return self.to_page(object_id)


@admin.register(StockNotice)
class StockNoticeAdmin(ReadOnlyAdmin):
    """Who waits for what: many rows of one product say what to order again."""

    empty_hint = _("Shoppers who want to hear when sold-out goods are back appear here.")

    list_display = ["product", "sku", "member", "state", "reason", "asked_at", "ended_at"]
    list_filter = ["state"]
    list_select_related = ["product", "sku", "member"]
    search_fields = ["product__name", "sku__code", "member__name"]
    search_help_text = _("Product's or member's name, or SKU code")
    ordering = ["-asked_at", "-pk"]
    paginator = InfinitePaginator
    fields = [("product", "sku"), "member", "state", "reason", ("asked_at", "due_at"), "ended_at"]
