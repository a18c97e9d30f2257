"""The life of a broadcast: plan, schedule, start, pause, resume, cancel, finish. Every step a conditional update."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from campaigns import rules
from campaigns.errors import InThePast, NobodyToReach, NoSuchMember, NotNow, NotSendable
from campaigns.models import Broadcast, BroadcastRecipient
from campaigns.queries import reach
from campaigns.queries.labels import fault_label
from campaigns.services import content, links
from core import clock
from core.errors import NotFound
from core.locks import lock_row
from core.wakeups import wake
from crm import queries as crm_queries
from crm import services as crm_services
from wechat import queries as wechat_queries
from wechat import services as wechat_services

# What the operator writes; the rest of the row belongs to the steps below.
WRITTEN = (
    "name", "purpose", "audience", "segment", "account", "channel", "patience_hours", "kind", "text", "title",
    "description", "url", "image_url", "template_id", "template_fields",
)  # fmt: skip
OPEN_IN_OUTBOX = ("pending", "held", "sending")


def _locked(broadcast_id: int) -> Broadcast:
    broadcast = lock_row(Broadcast.objects.filter(pk=broadcast_id))
    if broadcast is None:
        raise NotFound(_("This broadcast does not exist any more."))
    return broadcast


def _move(broadcast_id: int, *, before: Iterable[str], **changes: Any) -> None:
    """One conditional update; refuses when the broadcast was not in one of the states `before`."""
    if not Broadcast.objects.filter(pk=broadcast_id, status__in=list(before)).update(**changes):
        status = Broadcast.objects.filter(pk=broadcast_id).first()
        raise NotNow(status.get_status_display() if status else _("deleted"))


def check_content(broadcast: Broadcast) -> None:
    """Refuse a message that is incomplete or not allowed on its channel."""
    faults = rules.content_faults(
        kind=broadcast.kind,
        channel=broadcast.channel,
        purpose=broadcast.purpose,
        text=broadcast.text,
        title=broadcast.title,
        description=broadcast.description,
        url=broadcast.url,
        template_id=broadcast.template_id,
        has_fields=bool(broadcast.template_fields),
    )
    if faults:
        raise NotSendable(" ".join(fault_label(code) for code in faults.values()))
    if not content.channels_of(broadcast, broadcast.channel):
        raise NotSendable(fault_label("channel_cannot_carry"))


@transaction.atomic
def save_broadcast(*, broadcast: Broadcast, by_id: int | None, is_new: bool) -> None:
    """Keep what the operator wrote. A plan that stood is void: the words or the audience may have changed.

    Locks: broadcast. Refuses what is scheduled or has begun.
    """
    if is_new:
        broadcast.created_at, broadcast.created_by_id = clock.now(), by_id
        broadcast.status = Broadcast.DRAFT
        broadcast.save(force_insert=True)
        return
    stored = _locked(broadcast.pk)
    if not stored.is_editable:
        raise NotNow(stored.get_status_display())
    BroadcastRecipient.objects.filter(broadcast_id=broadcast.pk)._raw_delete("default")
    broadcast.status, broadcast.planned_at = Broadcast.DRAFT, None
    broadcast.save(update_fields=[*WRITTEN, "status", "planned_at"])


# --- Plan -------------------------------------------------------------------------------------------------------


@transaction.atomic
def plan_broadcast(*, broadcast_id: int) -> dict[str, int]:
    """Freeze the recipients: one row per member of the audience, by one INSERT … SELECT. Returns rows by status.

    Locks: broadcast. Idempotent: planning again replaces the plan, as long as nothing has started.
    """
    broadcast = _locked(broadcast_id)
    if broadcast.status not in (Broadcast.DRAFT, Broadcast.PLANNED):
        raise NotNow(broadcast.get_status_display())
    check_content(broadcast)
    BroadcastRecipient.objects.filter(broadcast_id=broadcast_id)._raw_delete("default")
    sql, params = plan_sql(broadcast, at=clock.now())
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        # The planner of the next statements must know that the table has grown by a whole audience.
        if cursor.rowcount > 10_000:
            cursor.execute("ANALYZE campaigns_broadcastrecipient")
    broadcast.status, broadcast.planned_at, broadcast.scheduled_at = Broadcast.PLANNED, clock.now(), None
    broadcast.save(update_fields=["status", "planned_at", "scheduled_at"])
    counts = {"planned": 0, "skipped": 0}
    counts.update(_rows_by_status(broadcast_id))
    return counts


def plan_sql(broadcast: Broadcast, *, at: datetime) -> tuple[str, list[Any]]:
    """The planner's one statement: audience, touch verdict, address and channel of each, set-based."""
    audience = (
        reach.followers(broadcast.account_id)
        if broadcast.audience == Broadcast.EVERYONE or broadcast.segment is None
        else crm_queries.members_in(broadcast.segment)
    )
    rungs = content.channels_of(broadcast, broadcast.channel)
    verdict_sql, verdict_params = reach.compiled(
        reach.verdicts(
            audience, purpose=broadcast.purpose, at=at, account_id=broadcast.account_id, rungs=rungs
        )
    )
    openid_sql, openid_params = reach.compiled(reach.openids(broadcast.account_id, broadcast.purpose))
    joins = f"LEFT JOIN ({openid_sql}) o (member_id, value) ON o.member_id = v.member_id"
    join_params = [*openid_params]
    if rules.WORK_MASS in rungs:
        contact_sql, contact_params = reach.compiled(reach.contacts(broadcast.purpose))
        joins += f" LEFT JOIN ({contact_sql}) c (member_id, value) ON c.member_id = v.member_id"
        join_params += contact_params
    choice, choice_params = reach.choice_sql(
        rungs, account_id=broadcast.account_id, template_id=broadcast.template_id, at=at
    )
    nothing = rules.choose_channel(
        rungs, rules.Reach(openid="x")
    ).reason  # why somebody with an address gets nothing
    has_address = "(o.value IS NOT NULL" + (" OR c.value IS NOT NULL)" if rules.WORK_MASS in rungs else ")")
    sql = f"""
        INSERT INTO campaigns_broadcastrecipient
            (broadcast_id, member_id, status, reason, not_before, channel, "to")
        SELECT %s, member_id,
            CASE WHEN answer = 'skip' OR channel = '' THEN 'skipped' ELSE 'planned' END,
            CASE WHEN answer IN ('skip', 'defer') THEN reason
                 WHEN channel <> '' THEN ''
                 WHEN has_address THEN %s ELSE 'no_channel' END,
            CASE WHEN answer = 'defer' AND channel <> '' THEN until END,
            CASE WHEN answer = 'skip' THEN '' ELSE channel END, ''
        FROM (
            SELECT v.member_id, v.answer, v.reason, v.until, {choice} AS channel, {has_address} AS has_address
            FROM ({verdict_sql}) v (member_id, answer, reason, until) {joins}
        ) r
        ON CONFLICT (broadcast_id, member_id) DO NOTHING
    """  # noqa: S608  every piece is compiled by the ORM or a constant of this page
    return sql, [broadcast.pk, nothing, *choice_params, *verdict_params, *join_params]


# --- Start, pause, resume, cancel -----------------------------------------------------------------------------------


@transaction.atomic
def schedule_broadcast(*, broadcast_id: int, at: datetime) -> None:
    """Let a planned broadcast begin at a moment. Refuses the past and an empty plan."""
    if at <= clock.now():
        raise InThePast()
    _refuse_empty(broadcast_id)
    _move(broadcast_id, before=[Broadcast.PLANNED], status=Broadcast.SCHEDULED, scheduled_at=at)


@transaction.atomic
def unschedule_broadcast(*, broadcast_id: int) -> None:
    """Back to the plan, so that it can be changed."""
    _move(broadcast_id, before=[Broadcast.SCHEDULED], status=Broadcast.PLANNED, scheduled_at=None)


@transaction.atomic
def start_broadcast(*, broadcast_id: int) -> None:
    """Begin to hand over what is planned. Locks: broadcast. A second start is refused and changes nothing."""
    broadcast = _locked(broadcast_id)
    if broadcast.status not in (Broadcast.PLANNED, Broadcast.SCHEDULED):
        raise NotNow(broadcast.get_status_display())
    check_content(broadcast)
    _refuse_empty(broadcast_id)
    broadcast.bodies = content.make_bodies(
        broadcast,
        content.channels_of(broadcast, broadcast.channel),
        shared_link=links.link_address(links.SHARED_BROADCAST, broadcast.pk),
    )
    broadcast.status, broadcast.started_at = Broadcast.SENDING, clock.now()
    broadcast.save(update_fields=["bodies", "status", "started_at"])
    wake("campaigns.tasks.release_broadcast", broadcast_id, queue="bulk")


def _refuse_empty(broadcast_id: int) -> None:
    if not BroadcastRecipient.objects.filter(broadcast_id=broadcast_id, status="planned").exists():
        raise NobodyToReach()


@transaction.atomic
def pause_broadcast(*, broadcast_id: int) -> None:
    """Hand over no more, and hold what waits in the outbox. What is on the wire arrives."""
    _move(broadcast_id, before=[Broadcast.SENDING], status=Broadcast.PAUSED)
    wechat_services.hold_messages(origin=f"broadcast:{broadcast_id}")


@transaction.atomic
def resume_broadcast(*, broadcast_id: int) -> None:
    _move(broadcast_id, before=[Broadcast.PAUSED], status=Broadcast.SENDING)
    wechat_services.release_messages(origin=f"broadcast:{broadcast_id}")
    wake("campaigns.tasks.release_broadcast", broadcast_id, queue="bulk")


@transaction.atomic
def cancel_broadcast(*, broadcast_id: int) -> None:
    """Stop for good: who waits gets nothing. Messages that left stay as they are, and keep counting."""
    _move(
        broadcast_id,
        before=[Broadcast.PLANNED, Broadcast.SCHEDULED, Broadcast.SENDING, Broadcast.PAUSED],
        status=Broadcast.CANCELLED,
        finished_at=clock.now(),
    )
    BroadcastRecipient.objects.filter(broadcast_id=broadcast_id, status="planned").update(
        status=BroadcastRecipient.CANCELLED, reason="cancelled", not_before=None
    )
    _give_back_touches(broadcast_id)


def _give_back_touches(broadcast_id: int) -> None:
    """What had not left is withdrawn, and does not count against the members' budget."""
    origin = f"broadcast:{broadcast_id}"
    if not wechat_services.cancel_messages(origin=origin):
        return
    withdrawn = wechat_queries.outbound_for(origin).filter(state="cancelled").values("origin_id")
    crm_services.release_touches(
        origin=origin,
        member_ids=BroadcastRecipient.objects.filter(pk__in=withdrawn).values_list("member_id", flat=True),
    )


# --- What beat does -----------------------------------------------------------------------------------------------


def start_due() -> int:
    """Start scheduled broadcasts whose moment has come. A broadcast that may not start becomes planned again."""
    due = Broadcast.objects.filter(status=Broadcast.SCHEDULED, scheduled_at__lte=clock.now())
    started = 0
    for broadcast_id in list(due.values_list("pk", flat=True)):
        try:
            start_broadcast(broadcast_id=broadcast_id)
            started += 1
        except (NotNow, NobodyToReach, NotSendable):
            Broadcast.objects.filter(pk=broadcast_id, status=Broadcast.SCHEDULED).update(
                status=Broadcast.PLANNED, scheduled_at=None
            )
    return started


def finish_broadcast(*, broadcast_id: int) -> bool:
    """Done when nobody waits and every message has its outcome; True when this call finished it."""
    if BroadcastRecipient.objects.filter(broadcast_id=broadcast_id, status="planned").exists():
        return False
    counts = wechat_queries.outbound_counts(f"broadcast:{broadcast_id}")
    if any(counts.get(state) for state in OPEN_IN_OUTBOX):
        return False
    return bool(
        Broadcast.objects.filter(Q(pk=broadcast_id, status=Broadcast.SENDING)).update(
            status=Broadcast.DONE, finished_at=clock.now()
        )
    )


def _rows_by_status(broadcast_id: int) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT status, count(*) FROM campaigns_broadcastrecipient WHERE broadcast_id = %s GROUP BY status",
            [broadcast_id],
        )
        return dict(cursor.fetchall())


# --- Preview ------------------------------------------------------------------------------------------------------


def send_preview(*, broadcast_id: int, member_id: int, by_id: int | None) -> str:
    """Send the message to one test member now, outside of plan and caps; returns the channel.

    Once a minute per test member (the outbox's dedupe key). Only a window, a quota or a contact decides.
    """
    broadcast = Broadcast.objects.get(pk=broadcast_id)
    check_content(broadcast)
    moment = clock.now()
    rungs = content.channels_of(broadcast, broadcast.channel)
    facts = reach.reach_of(
        [member_id],
        account_id=broadcast.account_id,
        template_id=broadcast.template_id,
        rungs=rungs,
        at=moment,
    )[member_id]
    # One mass message to one person is not possible (the platform wants two): the preview goes the personal way.
    personal = tuple(rung for rung in rungs if rung not in rules.GROUPED) or (rules.CUSTOM,)
    if rules.CUSTOM in personal and not facts.window_open and facts.openid:
        facts = reach.reach_of(
            [member_id],
            account_id=broadcast.account_id,
            template_id=broadcast.template_id,
            rungs=personal,
            at=moment,
        )[member_id]
    choice = rules.choose_channel(personal, facts)
    if not choice.channel:
        raise NoSuchMember(
            _(
                "The test member cannot be reached now. Let her send the account a message first, then try again."
            )
        )
    body = content.body_content(
        broadcast, choice.channel, shared_link=links.link_address(links.SHARED_BROADCAST, broadcast.pk)
    )
    member = crm_queries.find_member(member_id)
    text = {
        "name": member.name if member else "",
        "url": links.link_address(links.SHARED_BROADCAST, broadcast.pk),
    }
    wechat_services.enqueue_message(
        account_id=broadcast.account_id,
        channel=choice.channel,
        to=choice.to,
        body=_filled(body, text),
        origin=f"preview:{broadcast.pk}",
        origin_id=int(moment.timestamp()),
        dedupe_key=f"preview:{broadcast.pk}:{member_id}:{int(moment.timestamp()) // 60}",
        queue="fast",
    )
    return choice.channel


def _filled(value: Any, text: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, word in text.items():
            value = value.replace("{{" + name + "}}", word)
        return value
    if isinstance(value, dict):
        return {key: _filled(entry, text) for key, entry in value.items()}
    return value


@transaction.atomic
def copy_broadcast(*, broadcast_id: int, by_id: int | None) -> Broadcast:
    """A new draft with the same words and audience."""
    broadcast = Broadcast.objects.get(pk=broadcast_id)
    broadcast.pk = None
    broadcast._state.adding = True
    broadcast.name = (_("Copy of %(name)s") % {"name": broadcast.name})[:80]
    broadcast.status, broadcast.bodies = Broadcast.DRAFT, {}
    broadcast.scheduled_at = broadcast.planned_at = broadcast.started_at = broadcast.finished_at = None
    broadcast.created_at, broadcast.created_by_id = clock.now(), by_id
    broadcast.save(force_insert=True)
    return broadcast
