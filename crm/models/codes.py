"""Channel codes: the QR codes through which members come, and each scan of them."""

import pghistory
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member, Staff, Store
from crm.models.tags import Tag

LINK = RegexValidator(
    r"^(https?://[^\s]+|/[^\s/\\][^\s]*|/)$", _("Give a full address (https://…) or a path of the shop (/…).")
)


@pghistory.track(exclude=["qr_url", "qr_ticket", "qr_made_at", "qr_error"])
class ChannelCode(models.Model):
    """A QR code with a memory: who came through it, which tags they get, how they are welcomed.

    `scene` is what the platform gives back: the scene of an official account's code, the state of a WeCom contact way
    (WeCom allows 30 characters, path 92228).
    """

    OA, WORK = "oa", "work"
    KINDS = [(OA, _("official account")), (WORK, _("WeCom contact"))]

    name = models.CharField(_("name"), max_length=60)
    kind = models.CharField(_("kind"), max_length=4, choices=KINDS, default=OA, editable=False)
    account = models.ForeignKey(
        "wechat.Account",
        models.PROTECT,
        related_name="+",
        verbose_name=_("account"),
        limit_choices_to={"kind__in": ["service", "subscription", "work"], "is_active": True},
    )
    scene = models.CharField(_("scene"), max_length=30, unique=True, editable=False)
    store = models.ForeignKey(
        Store, models.PROTECT, null=True, blank=True, related_name="codes", verbose_name=_("store")
    )
    staff = models.ForeignKey(
        Staff,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="codes",
        verbose_name=_("guide"),
        help_text=_("A WeCom code needs the guide whom the customer adds."),
    )
    tags = models.ManyToManyField(Tag, blank=True, related_name="codes", verbose_name=_("automatic tags"))
    welcome_text = models.TextField(_("welcome text"), max_length=600, blank=True)
    welcome_title = models.CharField(_("link title"), max_length=60, blank=True)
    welcome_description = models.CharField(_("link description"), max_length=120, blank=True)
    welcome_url = models.CharField(_("link address"), max_length=500, blank=True, validators=[LINK])
    welcome_image_url = models.CharField(_("link picture"), max_length=500, blank=True, validators=[LINK])
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created at"), editable=False)
    qr_url = models.CharField(_("address in the QR code"), max_length=500, blank=True, editable=False)
    qr_ticket = models.CharField(_("ticket"), max_length=200, blank=True, editable=False)
    qr_made_at = models.DateTimeField(_("QR code made at"), null=True, blank=True, editable=False)
    qr_error = models.CharField(_("last refusal"), max_length=300, blank=True, editable=False)

    class Meta:
        verbose_name = _("channel code")
        verbose_name_plural = _("channel codes")
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="oa") | Q(staff__isnull=False), name="work_code_names_its_guide"
            )
        ]

    def __str__(self) -> str:
        return self.name


class ChannelScan(models.Model):
    """One person came through one code, once. Also the intent to welcome her."""

    NONE, PENDING, QUEUED, SENT, FAILED, EXPIRED = "none", "pending", "queued", "sent", "failed", "expired"
    GREETINGS = [
        (NONE, _("nothing to say")),
        (PENDING, _("waiting")),
        (QUEUED, _("handed over")),
        (SENT, _("sent")),
        (FAILED, _("failed")),
        (EXPIRED, _("too late")),
    ]

    code = models.ForeignKey(
        ChannelCode, models.PROTECT, null=True, related_name="scans", verbose_name=_("channel code")
    )
    member = models.ForeignKey(Member, models.PROTECT, related_name="scans", verbose_name=_("member"))
    at = models.DateTimeField(_("at"))
    is_new = models.BooleanField(_("new follower"), default=False)
    greeting = models.CharField(_("welcome"), max_length=8, choices=GREETINGS, default=NONE)
    greeting_error = models.CharField(_("refusal"), max_length=200, blank=True)
    welcome_code = models.CharField(max_length=128, blank=True, editable=False)

    class Meta:
        verbose_name = _("scan")
        verbose_name_plural = _("scans")
        indexes = [
            models.Index(fields=["code", "-at"], name="scan_by_code"),
            models.Index(fields=["at"], name="scan_greeting_due", condition=Q(greeting="pending")),
        ]

    def __str__(self) -> str:
        return f"{self.code_id}:{self.member_id}"
