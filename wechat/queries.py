"""What other apps may know about accounts, messages and the platforms' quotas."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from django.db.models import Count, QuerySet

from core import clock
from wechat import rules
from wechat.errors import NoSuchAccount
from wechat.models import Account, MassUse, OutboundBatch, OutboundMessage, ReplyWindow, SubscriptionQuota


def find_account(kind: str, key: str | None = None) -> Account | None:
    """The active account of this kind and key; without a key the first one."""
    accounts = Account.objects.filter(kind=kind, is_active=True)
    if key is not None:
        accounts = accounts.filter(key=key)
    return accounts.order_by("pk").first()


def active_accounts(kind: str) -> list[Account]:
    """Every active account of this kind."""
    return list(Account.objects.filter(kind=kind, is_active=True).order_by("pk"))


def account(pk: int) -> Account:
    """Raises NoSuchAccount."""
    found = Account.objects.filter(pk=pk).first()
    if found is None:
        raise NoSuchAccount()
    return found


def channel_label(channel: str) -> str:
    """The channel's name in the language of whoever looks."""
    return str(dict(OutboundMessage.CHANNELS).get(channel, channel))


def channel_labels() -> list[tuple[str, str]]:
    """Every channel with its name, for filters."""
    return [(channel, str(label)) for channel, label in OutboundMessage.CHANNELS]


def outbound_counts(origin: str) -> dict[str, int]:
    """Messages of an origin by state; states without messages are left out."""
    counted = OutboundMessage.objects.filter(origin=origin).values_list("state").annotate(Count("pk"))
    return dict(counted.order_by("state"))


def outbound_for(origin: str, origin_ids: Iterable[int] | None = None) -> QuerySet[OutboundMessage]:
    """The messages of an origin (of these rows of it); state, reason_code, reason, sent_at are what to show."""
    messages = OutboundMessage.objects.filter(origin=origin)
    return messages if origin_ids is None else messages.filter(origin_id__in=list(origin_ids))


def open_reply_windows(account_id: int, at: datetime | None = None) -> QuerySet[ReplyWindow, str]:
    """openids that can get a customer-service message at `at`; usable as a subquery."""
    return (
        ReplyWindow.objects.filter(account_id=account_id, remaining__gt=0, expires_at__gt=at or clock.now())
        .values_list("openid", flat=True)
        .distinct()
    )


def subscription_quotas(account_id: int, template_id: str) -> QuerySet[SubscriptionQuota, str]:
    """openids with an unspent accept of this template; usable as a subquery."""
    return SubscriptionQuota.objects.filter(
        account_id=account_id, template_id=template_id, remaining__gt=0
    ).values_list("openid", flat=True)


def month_of(at: datetime) -> date:
    """The shop's calendar month, as its first day: the platform's caps count by it."""
    return clock.local(at).date().replace(day=1)


def mass_exhausted(account_id: int, at: datetime | None = None) -> QuerySet[MassUse, str]:
    """Recipients who have had this month's mass messages; usable as a subquery."""
    cap = mass_cap(account_id, at)
    return MassUse.objects.filter(
        account_id=account_id, month=month_of(at or clock.now()), used__gte=cap
    ).values_list("recipient", flat=True)


def mass_left(account_id: int, recipients: Iterable[str], at: datetime | None = None) -> dict[str, int]:
    """How many mass messages each recipient may still get this calendar month."""
    wanted = list(recipients)
    cap = mass_cap(account_id, at)
    used = dict(
        MassUse.objects.filter(
            account_id=account_id, month=month_of(at or clock.now()), recipient__in=wanted
        ).values_list("recipient", "used")
    )
    return {one: max(0, cap - used.get(one, 0)) for one in wanted}


def mass_cap(account_id: int, at: datetime | None = None) -> int:
    """Mass messages a person may get in the month: four of a service account, a month's days of WeCom."""
    if account(account_id).kind != Account.WORK:
        return rules.MASS_MONTHLY_CAP
    first = month_of(at or clock.now())
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return (following - first).days


@dataclass(frozen=True)
class WorkTask:
    """A WeCom mass task: guides must confirm it before customers get it."""

    batch_id: int
    platform_id: str
    state: str
    recipients: int
    confirmed: dict[str, bool]  # userid → has she sent it
    checked_at: datetime | None


def work_tasks(origin: str) -> list[WorkTask]:
    """The WeCom mass tasks that carry an origin's messages."""
    batches = OutboundBatch.objects.filter(
        channel=OutboundMessage.WORK_MASS, pk__in=outbound_for(origin).values("batch_id")
    ).order_by("pk")
    return [
        WorkTask(
            batch.pk,
            batch.platform_id,
            batch.state,
            batch.recipients,
            dict(batch.result.get("confirmed", {})),
            batch.checked_at,
        )
        for batch in batches
    ]
