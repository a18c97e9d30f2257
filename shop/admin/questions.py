"""Questions that wait for the shop's answer."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextareaWidget

from core.admin import ReadOnlyAdmin
from shop import services
from shop.admin.fields import said, who
from shop.models import Question


class QuestionAnswerForm(BaseDialogForm):
    answer = forms.CharField(
        label=_("your answer"), max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4})
    )


@admin.register(Question)
class QuestionAdmin(ReadOnlyAdmin):
    empty_hint = _("Shoppers' questions on product pages appear here to be answered.")
    list_display = ["text", "product", "member", "state_shown", "answer_shown", "asked_at"]
    list_filter = ["state"]
    list_select_related = ["product", "member"]
    search_fields = ["text", "product__name"]
    search_help_text = _("Words of the question or product name")
    ordering = ["-asked_at", "-pk"]
    paginator = InfinitePaginator
    fields = [
        "text",
        ("product", "member"),
        ("state", "asked_at"),
        "answer_whole",
        ("answered_at", "actor"),
    ]
    readonly_fields = ["answer_whole"]
    actions = ["hide_questions"]
    actions_detail = ["answer_it"]
    actions_row = ["answer_it"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Question]:
        return super().get_queryset(request).select_related("product", "member")

    @display(
        description=_("state"),
        label={Question.OPEN: "warning", Question.SHOWN: "success", Question.HIDDEN: "default"},
        ordering="state",
    )
    def state_shown(self, question: Question) -> tuple[str, str]:
        return question.state, question.get_state_display()

    @admin.display(description=_("the shop's answer"))
    def answer_shown(self, question: Question) -> str:
        return question.answer[:40] or "–"

    @admin.display(description=_("the shop's answer"))
    def answer_whole(self, question: Question) -> str:
        return question.answer or "–"

    def has_moderate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.change_question"))

    @admin.action(description=_("Hide the chosen questions"), permissions=["moderate"])
    def hide_questions(self, request: HttpRequest, queryset: QuerySet[Question]) -> None:
        count = sum(
            services.hide_question(question_id=pk, by=who(request))
            for pk in list(queryset.values_list("pk", flat=True))
        )
        messages.success(request, _("%(count)d questions hidden.") % {"count": count})

    @action(
        description=_("Answer"),
        url_path="answer",
        icon="reply",
        permissions=["moderate"],
        dialog={
            "title": _("Answer this question"),
            "description": _("Question and answer show on the product's page."),
            "form_class": QuestionAnswerForm,
            "form_submit_text": _("Answer"),
        },
    )
    def answer_it(self, request: HttpRequest, form: QuestionAnswerForm, object_id: str) -> HttpResponse:
        with said(request):
            services.answer_question(
                question_id=int(object_id), answer=form.cleaned_data["answer"], by=who(request)
            )
            messages.success(request, _("The answer is kept."))
        return self.to_page(object_id)
