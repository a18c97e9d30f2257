"""What people ask about a product before they buy it, and what the shop answers."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Question(models.Model):
    """A member's question about a product. An answer shows both; spam is hidden."""

    OPEN, SHOWN, HIDDEN = "open", "shown", "hidden"
    STATES = [(OPEN, _("waiting for an answer")), (SHOWN, _("shown")), (HIDDEN, _("not shown"))]

    product = models.ForeignKey(
        "shop.Product", models.CASCADE, related_name="questions", verbose_name=_("product")
    )
    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    text = models.CharField(_("question"), max_length=200)
    answer = models.CharField(_("answer"), max_length=500, blank=True)
    state = models.CharField(_("state"), max_length=8, choices=STATES, default=OPEN)
    asked_at = models.DateTimeField(_("asked at"))
    answered_at = models.DateTimeField(_("answered at"), null=True, blank=True)
    actor = models.CharField(_("answered by"), max_length=80, blank=True)

    class Meta:
        verbose_name = _("product question")
        verbose_name_plural = _("product questions")
        constraints = [
            models.UniqueConstraint(
                fields=["member", "product", "text"], name="question_asked_once_in_the_same_words"
            ),
            models.CheckConstraint(
                condition=~Q(state="shown") | ~Q(answer=""), name="shown_question_has_its_answer"
            ),
        ]
        indexes = [
            models.Index(
                fields=["product", "-answered_at"], name="questions_shown", condition=Q(state="shown")
            ),
            models.Index(fields=["-asked_at"], name="questions_open", condition=Q(state="open")),
        ]

    def __str__(self) -> str:
        return self.text[:40]
