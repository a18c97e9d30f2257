"""Sending what waits on the channels of one receiver a call: claim, start, send, book, all overlapped.

A claim only pushes `next_attempt_at`, so a dead worker's claims come back by themselves. A message becomes `sending` in
small batches just before it goes out; only those few are in doubt when the worker dies, and a message in doubt becomes
`unknown` unless the platform has an idempotency key for it.
"""

import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils.translation import gettext as _

from core import clock
from core.wakeups import wake
from wechat import errors, rules
from wechat.errors import PlatformError
from wechat.gateway.calls import TokenedClient
from wechat.gateway.errcodes import TOKEN_REJECTED
from wechat.gateway.fast import Exchange, FastSender
from wechat.gateway.official import OfficialClient
from wechat.gateway.work import WorkClient
from wechat.models import Account, OutboundBody, OutboundMessage
from wechat.outbound import windows
from wechat.outbound.content import SINGLE
from wechat.outbound.quotas import give_back, next_day, pause_channel, take_quota
from wechat.outbound.results import Outcome, mark

log = structlog.get_logger(__name__)

CLAIM_ROWS = 1024
# A crowd is started in growing batches: few messages are in doubt when a small sending dies, and a large one does not
# pay for a commit every few milliseconds.
FIRST_BATCH, LARGEST_BATCH = 64, 128
QUOTA_AHEAD = 4096
CLAIM_LASTS = timedelta(seconds=60)
SENDING_LASTS = timedelta(seconds=60)
MAX_ATTEMPTS = 6
# How long a sender keeps answers when the database is away; well inside of a message's lease.
DATABASE_PATIENCE_SECONDS = 20.0
# The platform refuses to send the same key twice, so a message in doubt may simply be sent again.
REPEATABLE = (OutboundMessage.TEMPLATE,)
OF_OFFICIAL = (OutboundMessage.CUSTOM, OutboundMessage.TEMPLATE, OutboundMessage.SUBSCRIBE)

_DUE_GROUPS = """
SELECT a.id, c.channel FROM wechat_account a CROSS JOIN unnest(%(channels)s::text[]) AS c(channel)
WHERE EXISTS (
    SELECT 1 FROM wechat_outboundmessage m
    WHERE m.account_id = a.id AND m.channel = c.channel AND m.state = 'pending' AND m.next_attempt_at <= %(moment)s
) AND NOT EXISTS (
    SELECT 1 FROM wechat_channeluse u
    WHERE u.account_id = a.id AND u.channel = c.channel AND u.day = %(day)s AND u.paused_until > %(moment)s
)
ORDER BY a.id, c.channel
"""

# Who is claimed is asked in a WITH, which Postgres runs once. As a subselect of WHERE … IN it may be run again for
# every row when the planner loops, and then it finds other rows each time: more than the LIMIT.
_CLAIM = """
WITH chosen AS (
    SELECT id FROM wechat_outboundmessage
    WHERE account_id = %(account)s AND channel = %(channel)s AND state = 'pending' AND next_attempt_at <= %(moment)s
    ORDER BY next_attempt_at, id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
)
UPDATE wechat_outboundmessage m SET next_attempt_at = %(until)s FROM chosen WHERE m.id = chosen.id
RETURNING m.id, m.recipient, m.body_id, m.vars, m.created_at, m.attempts
"""

_START = """
UPDATE wechat_outboundmessage
SET state = 'sending', attempts = attempts + 1, lease_until = %s, reason_code = '', reason = ''
WHERE id = ANY(%s) AND state = 'pending' AND next_attempt_at = %s
RETURNING id
"""

_RELEASE = """
UPDATE wechat_outboundmessage SET next_attempt_at = %s, reason_code = %s, reason = %s
WHERE id = ANY(%s) AND state = 'pending' AND next_attempt_at = %s
"""


class Claimed(NamedTuple):
    id: int
    to: str
    body_id: int
    variables: dict[str, Any] | None
    created_at: datetime
    attempts: int
    claimed_until: datetime


def due_groups(channels: Iterable[str]) -> list[tuple[int, str]]:
    """(account, channel) where something waits and nothing pauses it."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE_GROUPS, {"channels": list(channels), "moment": clock.now(), "day": clock.today()})
        return list(cursor.fetchall())


def client_of(account: Account, channel: str) -> TokenedClient | None:
    """The client that carries this channel, None when the account's kind does not have it."""
    if channel in OF_OFFICIAL and account.is_official:
        return OfficialClient(account)
    if channel == OutboundMessage.WELCOME and account.kind == Account.WORK:
        return WorkClient(account)
    return None


class GroupSender:
    """Sends what waits for one account on one channel, until nothing is due or the time is over."""

    def __init__(self, account: Account, channel: str, *, seconds: float) -> None:
        self.account, self.channel = account, channel
        self.give_up_at = time.monotonic() + seconds
        self.path, self.make_document = SINGLE[channel]
        self.backlog: deque[Claimed] = deque()
        self.started: dict[int, Claimed] = {}
        self.sent_with: dict[int, str] = {}  # the token that a message went out with
        self.again: set[int] = set()  # sent again with a fresh token, which happens once
        self.outcomes: list[tuple[Claimed, Outcome]] = []
        self.contents: dict[int, dict[str, Any]] = {}
        self.templated: set[int] = set()  # contents with placeholders
        self.batch = FIRST_BATCH
        self.quota = 0
        self.unused = 0
        self.sent = 0
        self.dry = False
        self.pause: tuple[datetime, str, str] | None = None

    def run(self) -> int:
        """Returns how many messages got an outcome."""
        client = client_of(self.account, self.channel)
        if client is None:
            return self._fail_all()
        try:
            self.client, self.token = client, client.token()
        except PlatformError as error:
            self._pause_for(error)
            return 0
        fast = FastSender(client.base + self.path)
        try:
            with fast:
                self._pump(fast)
        except (OperationalError, InterfaceError) as error:
            log.warning("the database went away while sending", account=self.account.pk, error=str(error))
            self._await_database()
            self._hear_the_rest(fast)
        finally:
            self._book()
            self._release()
            give_back(self.account, self.channel, self.quota + self.unused)
        return self.sent

    def _pump(self, fast: FastSender) -> None:
        while True:
            if not self.pause and not self.dry and len(self.backlog) < self.batch * 2:
                self._claim()
            if not self.pause and self.backlog and len(self.started) <= self.batch:
                self._start(fast)
            elif self.outcomes:
                self._book()
            if not self.started:
                if self.pause or not self.backlog:
                    return
                continue
            wanted = max(1, len(self.started) - self.batch) if self.backlog else 1
            for exchange in fast.take(wanted, timeout=0.2):
                self._judge(fast, exchange)

    def _claim(self) -> None:
        if time.monotonic() > self.give_up_at:
            self.dry = True
            return
        if self.quota == 0:
            self.quota = take_quota(self.account, self.channel, QUOTA_AHEAD)
            if self.quota == 0:
                self._wait_for_tomorrow()
                return
        moment = clock.now()
        until = moment + CLAIM_LASTS
        with connection.cursor() as cursor:
            cursor.execute(
                _CLAIM,
                {
                    "account": self.account.pk,
                    "channel": self.channel,
                    "moment": moment,
                    "until": until,
                    "rows": min(CLAIM_ROWS, self.quota),
                },
            )
            rows = [
                Claimed(row[0], row[1], row[2], _variables(row[3]), row[4], row[5], until)
                for row in sorted(cursor.fetchall())
            ]
        self.dry = len(rows) < min(CLAIM_ROWS, self.quota)
        self.quota -= len(rows)
        self.backlog.extend(rows)

    def _start(self, fast: FastSender) -> None:
        """Book what has ended and mark the next few as sending, in one transaction; then let them go."""
        batch = [self.backlog.popleft() for _ in range(min(self.batch, len(self.backlog)))]
        if len(batch) == self.batch:
            self.batch = min(self.batch * 2, LARGEST_BATCH)
        by_claim: dict[datetime, list[int]] = {}
        for message in batch:
            by_claim.setdefault(message.claimed_until, []).append(message.id)
        ended, begun = self.outcomes, set[int]()
        try:
            with transaction.atomic():
                self._book()
                with connection.cursor() as cursor:
                    for claimed_until, ids in by_claim.items():
                        cursor.execute(_START, [clock.now() + SENDING_LASTS, ids, claimed_until])
                        begun.update(row[0] for row in cursor.fetchall())
        except (OperationalError, InterfaceError):
            self.outcomes = ended
            self.backlog.extend(batch)
            raise
        # What was held, cancelled or taken over since the claim does not go out.
        self.unused += len(batch) - len(begun)
        going = [message for message in batch if message.id in begun]
        self.started.update((message.id, message) for message in going)
        self._submit(fast, going)

    def _submit(self, fast: FastSender, messages: list[Claimed]) -> None:
        self.sent_with.update((message.id, self.token) for message in messages)
        fast.submit(self.token, [(message.id, self._document(message)) for message in messages])

    def _document(self, message: Claimed) -> bytes:
        content = self._content(message.body_id)
        if message.body_id in self.templated:
            content = rules.filled(content, message.variables or {})
        return orjson.dumps(self.make_document(message.to, content, client_id(message)))

    def _content(self, body_id: int) -> dict[str, Any]:
        if body_id not in self.contents:
            self.contents[body_id] = OutboundBody.objects.get(pk=body_id).content
            if rules.has_placeholders(self.contents[body_id]):
                self.templated.add(body_id)
        return self.contents[body_id]

    def _judge(self, fast: FastSender, exchange: Exchange) -> None:
        message = self.started[exchange.message_id]
        errcode = int(str(exchange.answer.get("errcode") or 0))
        if not exchange.failure and errcode in TOKEN_REJECTED and message.id not in self.again:
            self.again.add(message.id)
            if self._renew_token(self.sent_with[message.id]):
                self._submit(fast, [message])
                return
        del self.started[message.id], self.sent_with[message.id]
        outcome = self._outcome(message, exchange, errcode)
        if outcome.state == OutboundMessage.PENDING:
            self.unused += 1
        self.outcomes.append((message, outcome))

    def _renew_token(self, rejected: str) -> bool:
        """One renewal serves all messages that went out with the old token."""
        if self.token != rejected:
            return True
        try:
            self.token = self.client.token(rejected=rejected)
        except PlatformError as error:
            self._pause_for(error)
            return False
        return True

    def _outcome(self, message: Claimed, exchange: Exchange, errcode: int) -> Outcome:
        if exchange.failure == "not_reached":
            return self._later(
                message, "not_reached", _("The platform cannot be reached from this server."), 15
            )
        if exchange.failure:
            words = _("The call went out, but no answer came back: it may have been carried out or not.")
            if self.channel in REPEATABLE:
                return self._later(message, "no_answer", words, 15)
            return Outcome(message.id, OutboundMessage.UNKNOWN, "no_answer", words)
        if errcode == 0:
            platform_id = str(exchange.answer.get("msgid") or "")
            return Outcome(message.id, OutboundMessage.SENT, platform_id=platform_id)
        error = self.client.explain(errcode, str(exchange.answer.get("errmsg") or ""))
        if isinstance(error, errors.RateLimited):
            self._pause_for(error)
        if isinstance(error, errors.RateLimited | errors.PlatformBusy | errors.TokenRejected):
            return self._later(message, error.code, error.message, error.retry_after or 30)
        return Outcome(message.id, OutboundMessage.FAILED, error.code, error.message)

    def _later(self, message: Claimed, code: str, reason: str, pause_seconds: int) -> Outcome:
        if message.attempts + 1 >= MAX_ATTEMPTS and code not in ("45009", "45011", "45033"):
            state = OutboundMessage.UNKNOWN if code == "no_answer" else OutboundMessage.FAILED
            return Outcome(message.id, state, code, reason)
        longer = pause_seconds * 2 ** min(message.attempts, 6)
        return Outcome(message.id, OutboundMessage.PENDING, code, reason, pause_seconds=longer)

    def _book(self) -> None:
        """Write outcomes and what they used of the platform's allowances, together."""
        if not self.outcomes:
            return
        ended, self.outcomes = self.outcomes, []
        try:
            with transaction.atomic(savepoint=False):
                self.sent += mark(outcome for _message, outcome in ended)
                book_allowances(
                    self.account.pk,
                    self.channel,
                    [(message.to, outcome) for message, outcome in ended],
                    {message.to: self._content(message.body_id) for message, _outcome in ended}
                    if self.channel == OutboundMessage.SUBSCRIBE
                    else {},
                )
        except (OperationalError, InterfaceError):
            self.outcomes = ended
            raise

    def _await_database(self) -> None:
        """Until the database is back, or its time is over: then the next statement says so."""
        give_up_at = time.monotonic() + DATABASE_PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            connection.close()
            try:
                connection.ensure_connection()
                return
            except OperationalError:
                time.sleep(0.5)

    def _hear_the_rest(self, fast: FastSender) -> None:
        """After an interruption: what was on the wire has its answer by now, what was not begun can wait."""
        self.again.update(self.started)
        for exchange in fast.take(0, timeout=0):
            self._judge(fast, exchange)
        for message_id in fast.dropped:
            message = self.started.pop(message_id)
            self.outcomes.append((message, Outcome(message_id, OutboundMessage.PENDING)))
            self.unused += 1

    def _release(self) -> None:
        """Give claims back that did not begin: due again at once, or when the pause is over."""
        if not self.backlog:
            return
        until, code, reason = self.pause or (clock.now(), "", "")
        with connection.cursor() as cursor:
            for claimed_until in {message.claimed_until for message in self.backlog}:
                ids = [message.id for message in self.backlog if message.claimed_until == claimed_until]
                cursor.execute(_RELEASE, [until, code, reason[:300], ids, claimed_until])
        self.unused += len(self.backlog)
        self.backlog.clear()

    def _pause_for(self, error: PlatformError) -> None:
        """The platform wants to be left alone, or the account does not work: stop this channel for a while."""
        if self.pause:
            return
        until = clock.now() + timedelta(seconds=error.retry_after or 60)
        self.pause = (until, error.code, error.message)
        pause_channel(self.account, self.channel, until=until, reason=f"{error.code} {error.message}")
        log.warning("channel paused", account=self.account.pk, channel=self.channel, code=error.code)

    def _wait_for_tomorrow(self) -> None:
        """Today's number is used up: everything that waits waits for the next day, and says why."""
        until, reason = next_day(), _("Today's messages of this channel are used up; it goes on tomorrow.")
        self.pause = (until, "daily_quota", reason)
        pause_channel(self.account, self.channel, until=until, reason=reason)
        OutboundMessage.objects.filter(
            account=self.account,
            channel=self.channel,
            state=OutboundMessage.PENDING,
            next_attempt_at__lte=clock.now(),
        ).update(next_attempt_at=until, reason_code="daily_quota", reason=reason)

    def _fail_all(self) -> int:
        return OutboundMessage.objects.filter(
            account=self.account, channel=self.channel, state=OutboundMessage.PENDING
        ).update(
            state=OutboundMessage.FAILED,
            reason_code="wrong_channel",
            reason=_("This kind of account does not have this channel."),
        )


def book_allowances(
    account_id: int,
    channel: str,
    outcomes: list[tuple[str, Outcome]],
    contents: dict[str, dict[str, Any]],
) -> None:
    """Count what was sent against windows and accepts; believe the platform when it says that none is left."""
    sent = [to for to, outcome in outcomes if outcome.state == OutboundMessage.SENT]
    if channel == OutboundMessage.CUSTOM:
        if sent:
            windows.use_reply_windows(account_id=account_id, openids=sent)
        closed = [to for to, outcome in outcomes if outcome.code in ("45015", "45047")]
        if closed:
            windows.exhaust_reply_windows(account_id=account_id, openids=closed)
    elif channel == OutboundMessage.SUBSCRIBE:
        refused = [to for to, outcome in outcomes if outcome.code == "43101"]
        for book, people in ((windows.use_subscriptions, sent), (windows.exhaust_subscriptions, refused)):
            by_template: dict[str, list[str]] = {}
            for to in people:
                by_template.setdefault(str(contents[to].get("template_id")), []).append(to)
            for template_id, openids in by_template.items():
                book(account_id=account_id, template_id=template_id, openids=openids)


def client_id(message: Claimed) -> str:
    """The platform's idempotency key of a message: the same for every attempt (≤ 64 bytes)."""
    return f"pond-{message.id}-{int(message.created_at.timestamp())}"


def _variables(stored: Any) -> dict[str, Any] | None:
    """Django keeps psycopg2 from decoding jsonb in raw cursors."""
    return orjson.loads(stored) if isinstance(stored, str) else stored


def send_due(*, seconds: float = 45.0) -> int:
    """Send what waits on the single-receiver channels of every account. Returns how many got an outcome."""
    sent = 0
    for account_id, channel in due_groups(SINGLE):
        account = Account.objects.get(pk=account_id)
        if account.is_active:
            sent += GroupSender(account, channel, seconds=seconds).run()
    if sent and due_groups(SINGLE):
        # The time ran out before the queue: go on in a fresh task, so that others get their turn between.
        wake("wechat.tasks.send_outbound", queue="bulk")
    return sent


_CLAIM_URGENT = """
WITH chosen AS (
    SELECT id FROM wechat_outboundmessage
    WHERE state = 'pending' AND is_urgent AND next_attempt_at <= %(moment)s AND channel = ANY(%(channels)s)
    ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE wechat_outboundmessage m
SET state = 'sending', attempts = attempts + 1, lease_until = %(until)s, reason_code = '', reason = ''
FROM chosen WHERE m.id = chosen.id
RETURNING m.id, m.recipient, m.body_id, m.vars, m.created_at, m.attempts - 1, m.account_id, m.channel
"""


def send_urgent(*, limit: int = 200) -> int:
    """Send urgent messages one by one at once: a welcome code lives 20 seconds. Returns how many got an outcome."""
    done = 0
    while done < limit:
        moment = clock.now()
        with connection.cursor() as cursor:
            cursor.execute(
                _CLAIM_URGENT,
                {"moment": moment, "until": moment + SENDING_LASTS, "channels": list(SINGLE)},
            )
            row = cursor.fetchone()
        if row is None:
            return done
        message = Claimed(row[0], row[1], row[2], _variables(row[3]), row[4], row[5], moment)
        _send_one(Account.objects.get(pk=row[6]), row[7], message)
        done += 1
    return done


def _send_one(account: Account, channel: str, message: Claimed) -> None:
    content = OutboundBody.objects.get(pk=message.body_id).content
    path, make_document = SINGLE[channel]
    client = client_of(account, channel)
    platform_id = ""
    state, code, reason, pause = OutboundMessage.SENT, "", "", 0
    if client is None:
        state, code = OutboundMessage.FAILED, "wrong_channel"
        reason = _("This kind of account does not have this channel.")
    else:
        document = make_document(
            message.to, rules.filled(content, message.variables or {}), client_id(message)
        )
        try:
            answer = client.call("POST", path, document, repeatable=channel in REPEATABLE)
            platform_id = str(answer.get("msgid") or "")
        except PlatformError as error:
            state, code, reason, pause = _after_error(error, message)
    outcome = Outcome(message.id, state, code, reason, platform_id, pause)
    with transaction.atomic():
        mark([outcome])
        book_allowances(account.pk, channel, [(message.to, outcome)], {message.to: content})


def _after_error(error: PlatformError, message: Claimed) -> tuple[str, str, str, int]:
    if isinstance(error, errors.OutcomeUnknown):
        return OutboundMessage.UNKNOWN, error.code, error.message, 0
    waits = (errors.NotReached, errors.RateLimited, errors.PlatformBusy, errors.TokenRejected)
    if isinstance(error, waits) and message.attempts + 1 < MAX_ATTEMPTS:
        return OutboundMessage.PENDING, error.code, error.message, 2 ** (message.attempts + 1)
    return OutboundMessage.FAILED, error.code, error.message, 0


def recover_expired() -> int:
    """Messages whose worker died while sending: sent again where the platform prevents a double, else unknown."""
    expired = OutboundMessage.objects.filter(state=OutboundMessage.SENDING, lease_until__lt=clock.now())
    again = expired.filter(channel__in=REPEATABLE, batch=None).update(
        state=OutboundMessage.PENDING, lease_until=None, next_attempt_at=clock.now()
    )
    lost = (
        expired.filter(batch=None)
        .exclude(channel__in=REPEATABLE)
        .update(
            state=OutboundMessage.UNKNOWN,
            lease_until=None,
            reason_code="worker_lost",
            reason=_("The worker ended while this was being sent: it may have arrived or not."),
        )
    )
    return again + lost
