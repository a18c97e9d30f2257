"""Customer groups as WeCom tells of them: who is in, who came and went, growth by day."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Group(models.Model):
    """One customer group in WeCom. Only a full read changes its members; notices say that one is due."""

    ACTIVE, DISMISSED = "active", "dismissed"
    STATUSES = [(ACTIVE, _("in use")), (DISMISSED, _("dissolved"))]

    account = models.ForeignKey(
        "wechat.Account", models.PROTECT, related_name="+", verbose_name=_("WeCom account")
    )
    chat_id = models.CharField(_("chat id"), max_length=64)
    name = models.CharField(_("name"), max_length=128, blank=True)
    owner_userid = models.CharField(_("owner's userid"), max_length=64, blank=True)
    owner = models.ForeignKey(
        "crm.Staff", models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("group owner")
    )
    notice = models.TextField(_("announcement"), blank=True)
    status = models.CharField(_("status"), max_length=9, choices=STATUSES, default=ACTIVE)
    created_at = models.DateTimeField(_("created at"), null=True)
    customers_count = models.PositiveIntegerField(_("customers"), default=0)
    staff_count = models.PositiveIntegerField(_("staff"), default=0)
    read_at = models.DateTimeField(_("last read"), null=True)  # when the read that stands here began
    due_at = models.DateTimeField(_("read again at"), null=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("customer group")
        verbose_name_plural = _("customer groups")
        permissions = [("sync_group", _("Can sync groups from WeCom"))]
        constraints = [models.UniqueConstraint(fields=["account", "chat_id"], name="group_once_per_account")]
        indexes = [models.Index(fields=["due_at"], name="group_due", condition=Q(due_at__isnull=False))]

    def __str__(self) -> str:
        return self.name or self.chat_id


class GroupMember(models.Model):
    """One stay of one person in one group; who comes back begins a new stay."""

    STAFF, CUSTOMER = "staff", "customer"
    KINDS = [(STAFF, _("staff")), (CUSTOMER, _("customer"))]

    group = models.ForeignKey(Group, models.CASCADE, related_name="stays", verbose_name=_("customer group"))
    kind = models.CharField(_("kind"), max_length=8, choices=KINDS)
    platform_id = models.CharField(_("id in WeCom"), max_length=64)
    unionid = models.CharField("unionid", max_length=64, blank=True)
    member = models.ForeignKey(
        "crm.Member", models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("member")
    )
    name = models.CharField(_("name"), max_length=80, blank=True)
    join_scene = models.PositiveSmallIntegerField(
        _("joined by"),
        choices=[(0, _("unknown")), (1, _("invited")), (2, _("invitation link")), (3, _("QR code"))],
        default=0,
    )
    state = models.CharField(_("channel"), max_length=64, blank=True)
    joined_at = models.DateTimeField(_("joined at"))
    left_at = models.DateTimeField(_("left at"), null=True)

    class Meta:
        verbose_name = _("group member")
        verbose_name_plural = _("group members")
        constraints = [
            models.UniqueConstraint(
                fields=["group", "platform_id"],
                condition=Q(left_at__isnull=True),
                name="in_a_group_once_at_a_time",
            ),
            models.UniqueConstraint(
                fields=["group", "platform_id", "joined_at"], name="one_stay_per_time_of_joining"
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.platform_id


class GroupDay(models.Model):
    """Customers of one group at the end of one day of the shop's calendar, and who came and went on it."""

    group = models.ForeignKey(Group, models.CASCADE, related_name="days", verbose_name=_("customer group"))
    day = models.DateField(_("day"), db_index=True)
    joined = models.PositiveIntegerField(_("joined"), default=0)
    left = models.PositiveIntegerField(_("left"), default=0)
    customers = models.PositiveIntegerField(_("customers"), default=0)

    class Meta:
        verbose_name = _("day of a group")
        verbose_name_plural = _("days of groups")
        constraints = [models.UniqueConstraint(fields=["group", "day"], name="one_row_per_group_and_day")]

    def __str__(self) -> str:
        return f"{self.group_id} {self.day}"
