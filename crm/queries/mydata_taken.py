"""What the member centre keeps about one person, as plain JSON values: her copy (personal information law, 45).

Derived again and again from the rest, and left out: stored membership in segments, bitmaps, steps of tasks.
"""

from datetime import date, datetime
from typing import Any

from django.db.models import QuerySet

from core import clock
from crm.models import (
    Activity,
    ChannelScan,
    Consent,
    Contact,
    DataRequest,
    Earning,
    Identity,
    Member,
    MemberAipl,
    MemberDay,
    MemberFieldValue,
    MemberLife,
    Membership,
    MemberStats,
    MemberTag,
    MemberTier,
    MemberTraits,
    PhoneClaim,
    PhoneLook,
    PointsAdjustment,
    PointsTaskRun,
    RfmMember,
    SignIn,
    Staff,
    TierChange,
    Touch,
)

MOST = 5_000
"""Of what grows with every day: the newest."""


def kept_about(member_id: int) -> dict[str, Any]:
    """Name → values. Some thirty statements: she asks for it once in a while."""
    member = Member.objects.select_related("stats", "source").get(pk=member_id)
    return {
        "exported_at": clock.now().isoformat(),
        "member": _member(member),
        "identities": _identities(member),
        "consents": _consents(member),
        "tags": [
            {"group": one.tag.group.name, "tag": one.tag.name, "since": one.at.isoformat()}
            for one in MemberTag.objects.filter(member=member).select_related("tag__group").order_by("pk")
        ],
        "fields": _fields(member),
        "days": [
            {
                "what": day.kind,
                "name": day.name,
                "calendar": day.calendar,
                "month": day.month,
                "day": day.day,
                "leap_month": day.is_leap,
            }
            for day in MemberDay.objects.filter(member=member).order_by("pk")
        ],
        "seen_of_her": _plain(MemberTraits.objects.filter(pk=member.pk), "province", "city", "device"),
        "figures": _plain(
            MemberStats.objects.filter(pk=member.pk),
            *("orders_count", "paid_fen", "refunded_fen", "visits_count"),
            *("first_paid_at", "last_paid_at", "last_active_at", "last_visit_at", "last_touch_at"),
        ),
        "judged_of_her": _plain(
            MemberLife.objects.filter(pk=member.pk),
            *("stage", "since", "chance_bps", "rfm", "orders_milli", "value_fen"),
        ),
        "rfm_by_month": _plain(RfmMember.objects.filter(member=member).order_by("month"), "month", "rfm"),
        "aipl": _plain(MemberAipl.objects.filter(pk=member.pk), "step", "since"),
        "tier": _plain(MemberTier.objects.filter(pk=member.pk), "tier", "since"),
        "tier_changes": _plain(
            TierChange.objects.filter(member=member).order_by("pk"), "old", "new", "reason", "at"
        ),
        "memberships": _plain(
            Membership.objects.filter(member=member).order_by("pk"),
            *("name", "tier", "begins_at", "ends_at", "ended_at"),
        ),
        "guides": _guides(member),
        "codes": [
            {"code": name or "", "at": at.isoformat()}
            for name, at in ChannelScan.objects.filter(member=member)
            .order_by("pk")
            .values_list("code__name", "at")
        ],
        "earned": _plain(
            Earning.objects.filter(member=member).order_by("-pk")[:MOST],
            *("kind", "source", "given", "taken", "frozen", "earned_at"),
        ),
        "adjusted": _plain(
            PointsAdjustment.objects.filter(member=member).order_by("pk"), "kind", "amount", "reason", "at"
        ),
        "sign_ins": _plain(SignIn.objects.filter(member=member).order_by("-day")[:MOST], "day", "streak"),
        "phone_claims": _plain(PhoneClaim.objects.filter(member=member).order_by("pk"), "asked_at", "state"),
        "tasks": [
            {"task": run.task.name, "period": run.period, "points": run.points}
            for run in PointsTaskRun.objects.filter(member=member, done_at__isnull=False).select_related(
                "task"
            )
        ],
        "touches": _plain(
            Touch.objects.filter(member=member).order_by("-at", "-pk")[:MOST],
            *("purpose", "channel", "origin", "answer", "reason", "at"),
        ),
        "requests": _plain(
            DataRequest.objects.filter(member=member).order_by("pk"), "kind", "state", "asked_at", "done_at"
        ),
        # That her number was seen is hers to know; by which colleague is the house's.
        "looks_at_her_phone": _plain(PhoneLook.objects.filter(member=member).order_by("pk"), "count", "at"),
        "timeline": [
            {"what": kind, "at": at.isoformat(), "about": subject, "amount_fen": amount_fen, "more": more}
            for kind, at, subject, amount_fen, more in Activity.objects.filter(member=member)
            .order_by("-at", "-pk")
            .values_list("kind", "at", "subject", "amount_fen", "data")[:MOST]
        ],
    }


def _member(member: Member) -> dict[str, Any]:
    return {
        "number": member.pk,
        "name": member.name,
        "avatar": member.avatar_url,
        "birthday": _word(member.birthday),
        "birthday_told_by": member.birthday_from,
        "time_zone": member.time_zone,
        "note_of_the_shop": member.note,
        "tier": member.tier,
        "since": member.created_at.isoformat(),
        "came_by": member.joined_via,
        "came_through": member.source.name if member.source else "",
    }


def _identities(member: Member) -> list[dict[str, Any]]:
    rows = Identity.objects.filter(member=member).select_related("account").order_by("pk")
    return [
        {
            "kind": one.kind,
            "account": str(one.account) if one.account else "",
            "value": one.value,
            "confirmed": one.is_verified,
            "told_by": one.source,
            "following": one.is_following,
            "takes_marketing": one.takes_marketing,
            "since": one.created_at.isoformat(),
        }
        for one in rows
    ]


def _consents(member: Member) -> list[dict[str, Any]]:
    rows = Consent.objects.filter(member=member).select_related("account").order_by("at", "pk")
    return [
        {
            "purpose": one.purpose,
            "account": str(one.account) if one.account else "",
            "given": one.is_given,
            "where": one.channel,
            "text_version": one.text_version,
            "proof": one.proof,
            "at": one.at.isoformat(),
        }
        for one in rows
    ]


def _fields(member: Member) -> list[dict[str, Any]]:
    rows = MemberFieldValue.objects.filter(member=member).select_related("field")
    return [
        {
            "field": str(row.field),
            "value": next(str(known) for known in (row.text, row.number, row.date) if known is not None),
        }
        for row in rows
    ]


def _guides(member: Member) -> list[dict[str, Any]]:
    """Who of the house has her in WeCom, and what they call her there."""
    rows = Contact.objects.filter(identity__member=member).order_by("pk")
    names = dict(
        Staff.objects.filter(work_userid__in=[row.userid for row in rows]).values_list("work_userid", "name")
    )
    return [
        {
            "guide": names.get(row.userid, row.userid),
            "remark": row.remark,
            "added_at": _word(row.added_at),
            "removed_at": _word(row.removed_at),
        }
        for row in rows
    ]


def _plain(rows: QuerySet[Any], *columns: str) -> list[dict[str, Any]]:
    return [{name: _word(value) for name, value in row.items()} for row in rows.values(*columns)]


def _word(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value
