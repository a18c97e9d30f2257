"""Days that a member keeps (birthday by either calendar, anniversaries), where she lives, what she reads us with."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from crm.models.people import Member


class MemberDay(models.Model):
    """One day of the year. A solar birthday with its year stands in `Member.birthday`; here is the lunar one, and every
    anniversary. `is_leap`: of a leap month; in years without it the month itself is kept.
    """

    BIRTHDAY, WEDDING, CHILD, OTHER = "birthday", "wedding", "child", "other"
    KINDS = [
        (BIRTHDAY, _("birthday")),
        (WEDDING, _("wedding day")),
        (CHILD, _("child's birthday")),
        (OTHER, _("anniversary")),
    ]
    SOLAR, LUNAR = "solar", "lunar"
    CALENDARS = [(SOLAR, pgettext_lazy("calendar", "solar")), (LUNAR, pgettext_lazy("calendar", "lunar"))]

    member = models.ForeignKey(Member, models.CASCADE, related_name="days", verbose_name=_("member"))
    kind = models.CharField(_("what"), max_length=8, choices=KINDS)
    name = models.CharField(_("name"), max_length=20, blank=True)
    calendar = models.CharField(_("calendar"), max_length=5, choices=CALENDARS)
    month = models.PositiveSmallIntegerField(_("month"))
    day = models.PositiveSmallIntegerField(_("day"))
    is_leap = models.BooleanField(_("leap month"), default=False)

    class Meta:
        verbose_name = _("day of a member")
        verbose_name_plural = _("days of members")
        constraints = [
            models.UniqueConstraint(fields=["member", "kind", "name"], name="member_keeps_a_day_once"),
            models.CheckConstraint(
                condition=Q(month__range=(1, 12), day__range=(1, 31))
                & (Q(calendar="solar", is_leap=False) | Q(calendar="lunar", day__lte=30)),
                name="member_day_is_in_its_calendar",
            ),
            models.CheckConstraint(
                condition=~Q(kind="birthday") | Q(calendar="lunar", name=""),
                name="member_birthday_here_is_lunar",
            ),
        ]
        indexes = [models.Index(fields=["calendar", "month", "day"], name="member_days_of_the_year")]

    def __str__(self) -> str:
        return f"{self.member_id} {self.kind} {self.month}-{self.day}"


class MemberTraits(models.Model):
    """Where her parcels go and what she reads us with, as last seen. Written by machines."""

    IOS, ANDROID, HARMONY, DESKTOP = "ios", "android", "harmony", "desktop"
    DEVICES = [
        (IOS, "iPhone"),
        (ANDROID, "Android"),
        (HARMONY, "HarmonyOS"),
        (DESKTOP, _("computer")),
    ]

    member = models.OneToOneField(
        Member, models.CASCADE, primary_key=True, related_name="traits", verbose_name=_("member")
    )
    province = models.CharField(_("province"), max_length=20, blank=True, default="")
    city = models.CharField(_("city"), max_length=20, blank=True, default="")
    region_at = models.DateTimeField(_("region seen at"), null=True)
    device = models.CharField(_("device"), max_length=8, choices=DEVICES, blank=True, default="")
    device_at = models.DateTimeField(_("device seen at"), null=True)

    class Meta:
        verbose_name = _("member's traits")
        verbose_name_plural = _("members' traits")
        indexes = [
            models.Index(fields=["province"], name="traits_by_province", condition=~Q(province="")),
            models.Index(fields=["device"], name="traits_by_device", condition=~Q(device="")),
        ]

    def __str__(self) -> str:
        return f"{self.member_id}"
