"""Channels where one platform call carries up to 10,000 receivers: mass messages and WeCom mass tasks."""

import uuid
from datetime import timedelta

import structlog
from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock
from wechat import errors, queries, rules
from wechat.errors import PlatformError
from wechat.gateway.official import OfficialClient
from wechat.gateway.work import WorkClient
from wechat.models import Account, OutboundBatch, OutboundMessage
from wechat.outbound import content, results
from wechat.outbound.quotas import give_back, next_day, pause_channel, take_quota
from wechat.outbound.sender import due_groups

log = structlog.get_logger(__name__)

BATCHED = (OutboundMessage.MASS, OutboundMessage.WORK_MASS)
SENDING_LASTS = timedelta(seconds=90)
SAME_KEY_LASTS = timedelta(hours=23)  # the platform remembers a clientmsgid for 24 hours
TASKS_STAND = timedelta(days=31)

# The first waiting message decides the content; those with the same content and values join it.
_CLAIM = """
WITH first AS (
    SELECT body_id, vars FROM wechat_outboundmessage
    WHERE account_id = %(account)s AND channel = %(channel)s AND state = 'pending' AND next_attempt_at <= %(moment)s
    ORDER BY next_attempt_at, id LIMIT 1
), chosen AS (
    SELECT m.id FROM wechat_outboundmessage m, first
    WHERE m.account_id = %(account)s AND m.channel = %(channel)s AND m.state = 'pending'
        AND m.next_attempt_at <= %(moment)s AND m.body_id = first.body_id AND m.vars IS NOT DISTINCT FROM first.vars
    ORDER BY m.next_attempt_at, m.id LIMIT %(rows)s FOR UPDATE OF m SKIP LOCKED
)
UPDATE wechat_outboundmessage m
SET state = 'sending', attempts = attempts + 1, lease_until = %(until)s, batch_id = %(batch)s, reason_code = '',
    reason = ''
FROM chosen WHERE m.id = chosen.id
RETURNING m.body_id
"""

_COUNT_USE = """
INSERT INTO wechat_massuse (account_id, month, recipient, used)
SELECT %s, %s, recipient, 1 FROM (SELECT DISTINCT unnest(%s::text[]) AS recipient) AS r
ON CONFLICT (account_id, month, recipient) DO UPDATE SET used = wechat_massuse.used + 1
"""


def send_due_batches() -> int:
    """Hand waiting mass messages over, one call a content. Returns how many messages were handed over."""
    handed = 0
    for account_id, channel in due_groups(BATCHED):
        account = Account.objects.get(pk=account_id)
        for _round in range(50):
            count = _send_batch(account, channel)
            if count is None:
                break
            handed += count
    return handed


def _send_batch(account: Account, channel: str) -> int | None:
    """None when nothing more can go now."""
    if (channel == OutboundMessage.MASS) != account.is_official or account.kind == Account.PAY:
        OutboundMessage.objects.filter(
            account=account, channel=channel, state=OutboundMessage.PENDING
        ).update(
            state=OutboundMessage.FAILED,
            reason_code="wrong_channel",
            reason=_("This kind of account does not have this channel."),
        )
        return None
    if take_quota(account, channel, 1) == 0:
        _wait_for_tomorrow(account, channel)
        return None
    batch = _claim(account, channel)
    if batch is None:
        give_back(account, channel, 1)
        return None
    return _hand_over(batch)


def _wait_for_tomorrow(account: Account, channel: str) -> None:
    until, reason = next_day(), _("Today's messages of this channel are used up; it goes on tomorrow.")
    pause_channel(account, channel, until=until, reason=reason)
    OutboundMessage.objects.filter(
        account=account, channel=channel, state=OutboundMessage.PENDING, next_attempt_at__lte=clock.now()
    ).update(next_attempt_at=until, reason_code="daily_quota", reason=reason)


@transaction.atomic
def _claim(account: Account, channel: str) -> OutboundBatch | None:
    """A batch with its messages marked as sending; those over the month's cap fail here with their reason."""
    moment = clock.now()
    head = (
        OutboundMessage.objects.filter(
            account=account, channel=channel, state=OutboundMessage.PENDING, next_attempt_at__lte=moment
        )
        .order_by("next_attempt_at", "pk")
        .values_list("body_id", flat=True)
        .first()
    )
    if head is None:
        return None
    batch = OutboundBatch.objects.create(
        account=account,
        channel=channel,
        body_id=head,
        client_id=f"pond-{uuid.uuid4().hex}",
        created_at=moment,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "account": account.pk,
                "channel": channel,
                "moment": moment,
                "until": moment + SENDING_LASTS,
                "rows": rules.BATCH_SIZES[channel],
                "batch": batch.pk,
            },
        )
        claimed = cursor.fetchall()
    if not claimed:  # another worker was faster
        batch.delete()
        return None
    (body_id,) = claimed[0]
    if body_id != batch.body_id:  # it took what stood first, and here is what came behind
        batch.body_id = body_id
        batch.save(update_fields=["body"])
    if account.kind != Account.SUBSCRIPTION:
        OutboundMessage.objects.filter(batch=batch, to__in=queries.mass_exhausted(account.pk, moment)).update(
            state=OutboundMessage.FAILED,
            lease_until=None,
            reason_code="monthly_cap",
            reason=_("This person has had this month's mass messages."),
        )
    return batch


def _hand_over(batch: OutboundBatch) -> int:
    """The platform's one call for a claimed batch, and what became of its messages. Returns how many it took."""
    rows = list(
        OutboundMessage.objects.filter(batch=batch, state=OutboundMessage.SENDING)
        .order_by("pk")
        .values_list("pk", "to", "vars")
    )
    if not rows:
        batch.state = OutboundBatch.DONE
        batch.save(update_fields=["state"])
        return 0
    # One receiver may stand in several rows (two broadcasts); the platform gets her once.
    recipients = list(dict.fromkeys(to for _pk, to, _vars in rows))
    words = rules.filled(batch.body.content, rows[0][2] or {})
    try:
        unreachable = _call(batch, recipients, words)
    except errors.AlreadyDone as error:
        batch.platform_id, unreachable = error.platform_id, []
    except PlatformError as error:
        _after_error(batch, error)
        return 0
    _book(batch, recipients, unreachable)
    return len(rows)


def _call(batch: OutboundBatch, recipients: list[str], words: content.Document) -> list[str]:
    """Sets the batch's platform id; returns who cannot be reached."""
    if batch.channel == OutboundMessage.MASS:
        if len(recipients) < 2:
            raise errors.InvalidRequest("40032", _("A mass message needs between 2 and 10,000 receivers."))
        document = content.mass_document(recipients, words, batch.client_id)
        batch.platform_id = OfficialClient(batch.account).send_mass(document)
        return []
    document = content.work_mass_document(recipients, words)
    batch.platform_id, unreachable = WorkClient(batch.account).add_mass_task(document)
    return unreachable


@transaction.atomic
def _book(batch: OutboundBatch, recipients: list[str], unreachable: list[str]) -> None:
    moment = clock.now()
    batch.state = OutboundBatch.SENT
    batch.recipients = len(recipients) - len(set(unreachable))
    batch.save(update_fields=["state", "platform_id", "recipients"])
    messages = OutboundMessage.objects.filter(batch=batch, state=OutboundMessage.SENDING)
    if unreachable:
        messages.filter(to__in=unreachable).update(
            state=OutboundMessage.FAILED,
            lease_until=None,
            reason_code="41048",
            reason=_("No member can reach this customer."),
        )
    if batch.channel == OutboundMessage.MASS:
        messages.update(state=OutboundMessage.SENT, sent_at=moment, lease_until=None)
    else:
        # Members must confirm first: without a lease the messages wait for the task's results.
        messages.update(
            lease_until=None,
            reason_code="awaiting_confirmation",
            reason=_("Waiting for the members to confirm the mass message."),
        )
    gone = set(unreachable)
    with connection.cursor() as cursor:
        cursor.execute(
            _COUNT_USE,
            [batch.account_id, queries.month_of(moment), [one for one in recipients if one not in gone]],
        )


def _after_error(batch: OutboundBatch, error: PlatformError) -> None:
    """Surely not sent: wait. In doubt: the same key again where there is one, else unknown. Refused: failed."""
    if isinstance(error, errors.OutcomeUnknown):
        if batch.channel == OutboundMessage.MASS:
            log.warning("mass sending in doubt, to be repeated with its key", batch=batch.pk)
            return
        _end(batch, OutboundBatch.UNKNOWN, OutboundMessage.UNKNOWN, error)
        return
    give_back(batch.account, batch.channel, 1)
    waits = (errors.NotReached, errors.RateLimited, errors.PlatformBusy, errors.TokenRejected)
    if not isinstance(error, (*waits, errors.WrongCredentials, errors.NotAllowed)):
        _end(batch, OutboundBatch.FAILED, OutboundMessage.FAILED, error)
        return
    until = (
        next_day()
        if error.code in ("45028", "45009")
        else clock.now() + timedelta(seconds=error.retry_after or 60)
    )
    pause_channel(batch.account, batch.channel, until=until, reason=f"{error.code} {error.message}")
    with transaction.atomic():
        OutboundMessage.objects.filter(batch=batch, state=OutboundMessage.SENDING).update(
            state=OutboundMessage.PENDING,
            batch=None,
            lease_until=None,
            next_attempt_at=until,
            reason_code=error.code,
            reason=error.message[:300],
        )
        batch.state = OutboundBatch.FAILED
        batch.result = {"code": error.code, "message": error.message}
        batch.save(update_fields=["state", "result"])


@transaction.atomic
def _end(batch: OutboundBatch, batch_state: str, message_state: str, error: PlatformError) -> None:
    OutboundMessage.objects.filter(batch=batch, state=OutboundMessage.SENDING).update(
        state=message_state, lease_until=None, reason_code=error.code, reason=error.message[:300]
    )
    batch.state = batch_state
    batch.result = {"code": error.code, "message": error.message}
    batch.save(update_fields=["state", "result"])


def recover_batches() -> int:
    """Batches whose worker died or whose answer was lost, after their lease: repeated with the key, or unknown."""
    moment, recovered = clock.now(), 0
    expired = OutboundMessage.objects.filter(state=OutboundMessage.SENDING, lease_until__lt=moment).exclude(
        batch=None
    )
    for batch_id in list(expired.order_by().values_list("batch_id", flat=True).distinct()[:20]):
        renewed = expired.filter(batch_id=batch_id).update(lease_until=moment + SENDING_LASTS)
        if not renewed:
            continue
        recovered += 1
        batch = OutboundBatch.objects.select_related("account", "body").get(pk=batch_id)
        if batch.channel == OutboundMessage.MASS and moment - batch.created_at < SAME_KEY_LASTS:
            _hand_over(batch)
        else:
            _end(
                batch,
                OutboundBatch.UNKNOWN,
                OutboundMessage.UNKNOWN,
                errors.OutcomeUnknown(
                    "worker_lost",
                    _("The worker ended while this was being sent: it may have arrived or not."),
                ),
            )
    return recovered


def poll_tasks(*, limit: int = 50) -> int:
    """Read the results of WeCom mass tasks: often in their first hour, later every ten minutes. Returns rows booked."""
    moment, booked = clock.now(), 0
    results.abandon_tasks(older_than=TASKS_STAND)
    open_batches = OutboundBatch.objects.filter(
        channel=OutboundMessage.WORK_MASS, state=OutboundBatch.SENT
    ).select_related("account")
    for batch in open_batches.order_by("checked_at", "pk")[:limit]:
        young = moment - batch.created_at < timedelta(hours=1)
        pause = timedelta(seconds=5) if young else timedelta(minutes=10)
        if batch.checked_at and moment - batch.checked_at < pause:
            continue
        try:
            booked += _poll(batch)
        except PlatformError as error:
            log.warning("mass task not read", batch=batch.pk, code=error.code)
    return booked


def _poll(batch: OutboundBatch) -> int:
    client, booked = WorkClient(batch.account), 0
    confirmed = client.mass_task_members(batch.platform_id)
    for userid, has_sent in confirmed.items():
        if has_sent:
            booked += results.book_task_results(
                batch=batch, rows=client.mass_task_results(batch.platform_id, userid)
            )
    batch.result = {"confirmed": confirmed}
    batch.checked_at = clock.now()
    finished = not OutboundMessage.objects.filter(batch=batch, state=OutboundMessage.SENDING).exists()
    batch.state = OutboundBatch.DONE if finished else OutboundBatch.SENT
    batch.save(update_fields=["result", "checked_at", "state"])
    return booked
