"""Handing a broadcast over to the outbox, chunk by chunk. One transaction per chunk: all of it happens or nothing."""

from datetime import datetime

from django.db import connection, transaction

from campaigns import rules
from campaigns.models import Broadcast, BroadcastRecipient
from campaigns.queries import reach
from campaigns.services import content, links
from campaigns.services.broadcasts import finish_broadcast, start_due
from core import clock
from core.sweeps import sweep
from crm import queries as crm_queries
from crm import services as crm_services
from wechat import services as wechat_services

GROUPED_CHUNK = 10_000  # receivers of one mass call; small chunks would use up the account's calls of the day


def release_broadcast(*, broadcast_id: int, chunks: int = 1_000) -> int:
    """Hand over what may go now; returns how many rows were looked at. Stops when paused or cancelled."""
    looked_at = 0
    for _ in range(chunks):
        tried = release_chunk(broadcast_id=broadcast_id)
        if not tried:
            break
        looked_at += tried
    finish_broadcast(broadcast_id=broadcast_id)
    return looked_at


def sweep_broadcasts() -> int:
    """What no wake-up did: start what is due, go on with what is sending, finish what is through."""
    start_due()
    sending = list(Broadcast.objects.filter(status=Broadcast.SENDING).values_list("pk", flat=True))
    return sweep(
        sending,
        lambda broadcast_id: release_broadcast(broadcast_id=broadcast_id, chunks=100),
        fault="broadcast not released",
        put_off=lambda _pk: None,  # its rows wait for the next round, after those of the others
    )


@transaction.atomic
def release_chunk(*, broadcast_id: int, limit: int | None = None) -> int:
    """Claim planned rows, look again at what may have changed, hand them over, mark them. Returns the rows claimed.

    Locks: broadcast FOR SHARE (so a pause waits for this chunk and then holds), its claimed rows. Idempotent on: the
    recipient row; the outbox refuses a second message of the same row. A worker killed anywhere leaves the rows
    planned.
    """
    broadcast = _sending(broadcast_id)
    if broadcast is None:
        return 0
    moment = clock.now()
    rungs = content.channels_of(broadcast, broadcast.channel)
    size = limit or (GROUPED_CHUNK if set(rungs) & set(rules.GROUPED) else rules.CHUNK)
    claimed = _claim(broadcast_id, moment, size)
    if not claimed:
        return 0
    begins_at = broadcast.started_at or moment
    if rules.too_late(begins_at=begins_at, patience_hours=broadcast.patience_hours, at=moment):
        _skip(list(claimed), "too_late")
        return len(claimed)

    members = {member_id: row_id for row_id, member_id in claimed.items()}
    facts = reach.reach_of(
        list(members),
        account_id=broadcast.account_id,
        template_id=broadcast.template_id,
        rungs=rungs,
        at=moment,
        purpose=broadcast.purpose,
    )
    choices = {member_id: rules.choose_channel(rungs, facts[member_id]) for member_id in members}
    choices = rules.without_lone_mass(choices, rungs, facts)
    going = {member_id: choice for member_id, choice in choices.items() if choice.channel}
    stopped = {member_id: choice.reason for member_id, choice in choices.items() if not choice.channel}
    booked = _hand_over(broadcast, members, going, moment)
    stopped |= dict.fromkeys(going.keys() - booked, "frequency_cap")
    if stopped:
        _explain(
            broadcast, {member_id: (members[member_id], why) for member_id, why in stopped.items()}, moment
        )
    return len(claimed)


def _explain(broadcast: Broadcast, rows: dict[int, tuple[int, str]], moment: datetime) -> None:
    """Who did not get it: skipped or deferred with the touch policy's reason, else with the channel's."""
    begins_at = broadcast.started_at or moment
    verdicts = {
        member_id: (answer, reason, until)
        for member_id, answer, reason, until in reach.verdicts(
            reach.members(rows),
            purpose=broadcast.purpose,
            at=moment,
            account_id=broadcast.account_id,
            rungs=content.channels_of(broadcast, broadcast.channel),
        )
    }
    skipped: dict[str, list[int]] = {}
    deferred: dict[tuple[str, datetime], list[int]] = {}
    for member_id, (row_id, why) in rows.items():
        answer, reason, until = verdicts.get(member_id, ("skip", "gone", None))
        if answer == "defer" and not rules.too_late(
            begins_at=begins_at, patience_hours=broadcast.patience_hours, at=until
        ):
            deferred.setdefault((reason, until), []).append(row_id)
        else:
            skipped.setdefault(reason or why, []).append(row_id)
    for reason, row_ids in skipped.items():
        _skip(row_ids, reason)
    for (reason, until), row_ids in deferred.items():
        BroadcastRecipient.objects.filter(pk__in=row_ids).update(reason=reason, not_before=until)


def _sending(broadcast_id: int) -> Broadcast | None:
    """The broadcast while it is sending, held against a pause until this chunk is through."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM campaigns_broadcast WHERE id = %s AND status = 'sending' FOR SHARE", [broadcast_id]
        )
        if cursor.fetchone() is None:
            return None
    return Broadcast.objects.get(pk=broadcast_id)


def _claim(broadcast_id: int, moment: datetime, size: int) -> dict[int, int]:
    """Recipient id → member id of rows that may go now and that no other worker holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, member_id FROM campaigns_broadcastrecipient
            WHERE broadcast_id = %s AND status = 'planned' AND (not_before IS NULL OR not_before <= %s)
            ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
            """,
            [broadcast_id, moment, size],
        )
        return dict(cursor.fetchall())


def _skip(row_ids: list[int], reason: str) -> None:
    BroadcastRecipient.objects.filter(pk__in=row_ids).update(
        status=BroadcastRecipient.SKIPPED, reason=reason, not_before=None, channel=""
    )


def _hand_over(
    broadcast: Broadcast, members: dict[int, int], going: dict[int, rules.Choice], moment: datetime
) -> set[int]:
    """Book the touches, mark the rows, write the outbox: per channel, set-based. Returns the members booked.

    Booking asks the touch policy once more, so nobody goes whom it does not allow at this moment.
    """
    everybody: set[int] = set()
    for channel in {choice.channel for choice in going.values()}:
        wanted = [member_id for member_id, choice in going.items() if choice.channel == channel]
        account_id = reach.work_account_id() if channel == rules.WORK_MASS else broadcast.account_id
        crm_services.book_touches(
            member_ids=wanted,
            purpose=broadcast.purpose,
            channel=channel,
            origin=broadcast.origin,
            at=moment,
            account_id=account_id,
        )
        booked = set(crm_queries.touched_member_ids(broadcast.origin).filter(member_id__in=wanted))
        everybody |= booked
        row_ids = [members[member_id] for member_id in wanted if member_id in booked]
        if not row_ids:
            continue
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE campaigns_broadcastrecipient r
                SET status = 'released', reason = '', not_before = NULL, released_at = %s, channel = %s,
                    "to" = g.address
                FROM unnest(%s::bigint[], %s::text[]) AS g (id, address) WHERE r.id = g.id AND r.status = 'planned'
                """,
                [
                    moment,
                    channel,
                    row_ids,
                    [going[member_id].to for member_id in wanted if member_id in booked],
                ],
            )
        personal = channel not in rules.GROUPED
        wechat_services.enqueue_from_select(
            account_id=account_id,
            channel=channel,
            body_id=broadcast.bodies[channel],
            origin=broadcast.origin,
            sql="""
                SELECT r."to", r.id, CASE WHEN g.url <> '' THEN jsonb_build_object('name', m.name, 'url', g.url) END
                FROM unnest(%(row_ids)s::bigint[], %(urls)s::text[]) AS g (id, url)
                JOIN campaigns_broadcastrecipient r ON r.id = g.id
                JOIN crm_member m ON m.id = r.member_id
            """,
            params={
                "row_ids": row_ids,
                "urls": [
                    links.link_address(links.RECIPIENT, row_id) if personal else "" for row_id in row_ids
                ],
            },
        )
    return everybody
