"""Filters of the member list. Each is a condition on narrow, indexed columns; none loads a table."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter

from core import clock
from core.money import fen_from_yuan
from crm import queries
from crm.models import ChannelCode, Identity, Member, MemberTag, Segment, Tag
from crm.queries.accounts import account_roles, followed_accounts, followed_accounts_of
from crm.tiers_words import tier_words

MOST_CHOICES = 300


class TagFilter(DropdownFilter):
    title, parameter_name = _("tag"), "tag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        tags = Tag.objects.select_related("group")[:MOST_CHOICES]
        return [(str(tag.pk), f"{tag.group.name} · {tag.name}") for tag in tags]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        if not (self.value() or "").isdecimal():
            return queryset
        return queryset.filter(Exists(MemberTag.objects.filter(member=OuterRef("pk"), tag=self.value())))


class TierFilter(DropdownFilter):
    title, parameter_name = _("member tier"), "tier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(word, word) for word in tier_words()[:MOST_CHOICES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        return queryset.filter(tier=self.value()) if self.value() else queryset


class FollowingFilter(DropdownFilter):
    title, parameter_name = _("following"), "following"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        accounts = [(str(pk), name) for pk, name in followed_accounts()]
        return [*accounts, ("any", _("follows or has a guide")), ("none", _("out of reach"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value() or ""
        reached = Identity.objects.filter(member=OuterRef("pk"), is_following=True)
        if value.isdecimal():
            return queryset.filter(Exists(reached.filter(account=int(value))))
        if value in ("any", "none"):
            return queryset.filter(Exists(reached)) if value == "any" else queryset.filter(~Exists(reached))
        return queryset


class RoleFilter(DropdownFilter):
    """Followers of any account that is for this: of the matrix's columns, the people."""

    title, parameter_name = _("role of an account that she follows"), "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return account_roles()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        if self.value() not in dict(account_roles()):
            return queryset
        accounts = followed_accounts_of(self.value() or "")
        followed = Identity.objects.filter(member=OuterRef("pk"), is_following=True, account__in=accounts)
        return queryset.filter(Exists(followed))


class SourceFilter(DropdownFilter):
    title, parameter_name = _("source"), "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        codes = ChannelCode.objects.order_by("-pk").values_list("pk", "name")[:MOST_CHOICES]
        return [("none", _("no channel code")), *[(str(pk), name) for pk, name in codes]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value() or ""
        if value.isdecimal():
            return queryset.filter(source=int(value))
        return queryset.filter(source__isnull=True) if value == "none" else queryset


class LastOrderFilter(DropdownFilter):
    title, parameter_name = _("last order"), "last_order"
    BANDS = {"0-7": (0, 7), "8-30": (8, 30), "31-90": (31, 90), "91-180": (91, 180), "181-": (181, None)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        return [
            ("0-7", _("within 7 days")),
            ("8-30", _("8 to 30 days ago")),
            ("31-90", _("31 to 90 days ago")),
            ("91-180", _("91 to 180 days ago")),
            ("181-", _("longer ago")),
            ("never", _("never bought")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value()
        if value == "never":
            return queryset.filter(stats__last_paid_at__isnull=True)
        if value not in self.BANDS:
            return queryset
        low, high = self.BANDS[value]
        today = clock.today()
        queryset = queryset.filter(
            stats__last_paid_at__lt=clock.day_start(today - dt.timedelta(days=low - 1))
        )
        if high is not None:
            queryset = queryset.filter(
                stats__last_paid_at__gte=clock.day_start(today - dt.timedelta(days=high))
            )
        return queryset


class SpendFilter(DropdownFilter):
    title, parameter_name = _("paid in all"), "spend"
    BANDS = (("0", "0"), ("0.01", "500"), ("500", "2000"), ("2000", "10000"), ("10000", ""))

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        return [
            ("0", _("nothing yet")),
            ("1", "¥0 – ¥500"),
            ("2", "¥500 – ¥2,000"),
            ("3", "¥2,000 – ¥10,000"),
            ("4", _("¥10,000 and more")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value() or ""
        if value == "0":
            return queryset.filter(stats__paid_fen=0)
        if value not in ("1", "2", "3", "4"):
            return queryset
        low, high = self.BANDS[int(value)]
        queryset = queryset.filter(stats__paid_fen__gte=fen_from_yuan(low))
        return queryset.filter(stats__paid_fen__lt=fen_from_yuan(high)) if high else queryset


class DormantFilter(DropdownFilter):
    title, parameter_name = _("dormant"), "dormant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        return [
            (str(days), _("bought, then silent for %(days)d days") % {"days": days})
            for days in (30, 60, 90, 180, 365)
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value() or ""
        if not value.isdecimal() or len(value) > 4:
            return queryset
        since = clock.now() - dt.timedelta(days=int(value))
        return queryset.filter(pk__in=queries.silent_since(since))


class SegmentFilter(DropdownFilter):
    title, parameter_name = _("segment"), "segment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        rows = Segment.objects.order_by("name").values_list("pk", "name")[:MOST_CHOICES]
        return [(str(pk), name) for pk, name in rows]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value() or ""
        segment = Segment.objects.filter(pk=value).first() if value.isdecimal() else None
        return queryset.filter(pk__in=queries.members_in(segment)) if segment else queryset
