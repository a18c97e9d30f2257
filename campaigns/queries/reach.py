"""How members can be reached on an account: addresses, open windows, quotas. In bulk, and as SQL for the planner."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import QuerySet
from django.db.models.functions import Greatest

from campaigns import rules
from campaigns.models import BroadcastRecipient
from crm import queries as crm_queries
from wechat import queries as wechat_queries


def members(member_ids: Iterable[int]) -> QuerySet[Any]:
    return apps.get_model("crm", "Member").objects.filter(pk__in=list(member_ids))


def followers(account_id: int) -> QuerySet[Any]:
    """Living members who follow the account; usable as a subquery."""
    return apps.get_model("crm", "Member").objects.filter(
        pk__in=crm_queries.openids_of(account_id).values("member_id"), merged_into__isnull=True
    )


def openids(account_id: int, purpose: str) -> QuerySet[Any]:
    """(member id, openid) of the account's followers to whom a message of this purpose may go by it."""
    return crm_queries.openids_of(account_id, welcome=purpose == rules.MARKETING)


def contacts(purpose: str) -> QuerySet[Any]:
    """(member id, external_userid) of the WeCom account's customers whom some guide still has, and to whom a message
    of this purpose may go by it.
    """
    return openids(work_account_id(), purpose)


def work_account_id() -> int:
    """The WeCom account by which guides write; 0 when there is none."""
    account = wechat_queries.find_account("work")
    return account.pk if account else 0


def verdicts(
    audience: QuerySet[Any], *, purpose: str, at: datetime, account_id: int, rungs: Sequence[str]
) -> QuerySet[Any]:
    """(member id, answer, reason, until) of each; she must follow the account unless a guide can write to her, and
    take marketing by the one or the other.
    """
    # Typed as Any: the annotations are not in the model's own field names.
    verdicts: Any = crm_queries.with_touch_verdict(
        audience,
        purpose=purpose,
        at=at,
        account_id=[account_id, work_account_id()] if rules.WORK_MASS in rungs else account_id,
    )
    return verdicts.order_by().values_list("pk", "touch_answer", "touch_reason", "touch_until")


def silent(at: datetime) -> QuerySet[Any]:
    """(member id, silent since) of those who bought once and have done nothing since `at`."""
    return (
        crm_queries.silent_since(at)
        .annotate(silent_from=Greatest("last_paid_at", "last_active_at"))
        .values_list("pk", "silent_from")
    )


def reach_of(
    member_ids: Collection[int],
    *,
    account_id: int,
    template_id: str,
    rungs: Sequence[str],
    at: datetime,
    purpose: str = rules.SERVICE,
) -> dict[int, rules.Reach]:
    """What the ladder needs to know of each member, in at most five queries for all of them. Where marketing is not
    welcome, she has no address for it.
    """
    followers_of = dict(openids(account_id, purpose).filter(member_id__in=member_ids))
    contact_ids: dict[int, str] = {}
    if rules.WORK_MASS in rungs:
        contact_ids = dict(contacts(purpose).filter(member_id__in=member_ids))
    known = list(followers_of.values())
    open_windows: set[str] = set()
    if rules.CUSTOM in rungs and known:
        open_windows = set(wechat_queries.open_reply_windows(account_id, at).filter(openid__in=known))
    subscribed: set[str] = set()
    if rules.SUBSCRIBE in rungs and template_id and known:
        subscribed = set(wechat_queries.subscription_quotas(account_id, template_id).filter(openid__in=known))
    mass_left: dict[str, int] = {}
    if rules.MASS in rungs and known:
        mass_left = wechat_queries.mass_left(account_id, known, at)
    return {
        member_id: rules.Reach(
            openid=(openid := followers_of.get(member_id, "")),
            external_userid=contact_ids.get(member_id, ""),
            window_open=openid in open_windows,
            subscription_left=int(openid in subscribed),
            mass_left=mass_left.get(openid, 0),
        )
        for member_id in member_ids
    }


def compiled(queryset: QuerySet[Any]) -> tuple[str, tuple[Any, ...]]:
    """A queryset as SQL and parameters, to stand inside a bigger statement."""
    sql, params = queryset.query.sql_with_params()
    return sql, tuple(params)


def choice_sql(
    rungs: Sequence[str], *, account_id: int, template_id: str, at: datetime
) -> tuple[str, list[Any]]:
    """The SQL twin of `rules.choose_channel`: a CASE over `o.value` (openid) and `c.value` (external_userid).

    Subqueries are uncorrelated, so the planner hashes each once, whatever the number of members.
    """
    branches: list[str] = []
    params: list[Any] = []
    for rung in rungs:
        if rung == rules.CUSTOM:
            sql, given = compiled(wechat_queries.open_reply_windows(account_id, at))
            branches.append(f"WHEN o.value IN ({sql}) THEN 'custom'")
            params += given
        elif rung == rules.SUBSCRIBE and template_id:
            sql, given = compiled(wechat_queries.subscription_quotas(account_id, template_id))
            branches.append(f"WHEN o.value IN ({sql}) THEN 'subscribe'")
            params += given
        elif rung == rules.TEMPLATE:
            branches.append("WHEN o.value IS NOT NULL THEN 'template'")
        elif rung == rules.MASS:
            sql, given = compiled(wechat_queries.mass_exhausted(account_id, at))
            branches.append(f"WHEN o.value IS NOT NULL AND o.value NOT IN ({sql}) THEN 'mass'")
            params += given
        elif rung == rules.WORK_MASS:
            branches.append("WHEN c.value IS NOT NULL THEN 'work_mass'")
    return (f"CASE {' '.join(branches)} ELSE '' END" if branches else "''"), params


def messages_of(member_id: int) -> list[dict[str, Any]]:
    """What campaigns handed over to a member, for her export: newest first."""
    rows = BroadcastRecipient.objects.filter(member=member_id, status=BroadcastRecipient.RELEASED)
    return [
        {"broadcast": name, "at": at.isoformat() if at else None, "channel": channel}
        for name, at, channel in rows.order_by("-pk").values_list(
            "broadcast__name", "released_at", "channel"
        )[:1_000]
    ]


def messages_to(member_id: int) -> int:
    return BroadcastRecipient.objects.filter(member=member_id, status=BroadcastRecipient.RELEASED).count()
