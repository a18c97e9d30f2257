"""What comes in from the platforms and what goes out to them."""

import asyncio
import base64
import hashlib
import itertools
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench import lab, load
from bench.report import Figure, figure

TOKEN, AES_KEY, APPID = "benchtoken", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ", "wxbench0000000000"
ROUNDS = 3


# --- Webhooks -----------------------------------------------------------------------------------------------------


class Messages:
    """Encrypted text messages as the platform would post them, each with its own MsgId."""

    def __init__(self) -> None:
        from wechat.crypto import CallbackCipher, sha1_of_sorted

        self.seal, self.sign = CallbackCipher(AES_KEY).encrypt, sha1_of_sorted
        self.numbers = itertools.count(int(time.time() * 1000) * 1000)

    def make(self, _: int = 0) -> load.Request:
        number = next(self.numbers)
        plain = (
            f"<xml><ToUserName><![CDATA[gh_bench]]></ToUserName>"
            f"<FromUserName><![CDATA[o{number % 5000}]]></FromUserName>"
            f"<CreateTime>{number // 1_000_000}</CreateTime><MsgType><![CDATA[text]]></MsgType>"
            f"<Content><![CDATA[你好 {number}]]></Content><MsgId>{number}</MsgId></xml>"
        )
        sealed = self.seal(plain, APPID)
        timestamp, nonce = str(number // 1_000_000), str(number)
        query = (
            f"signature={self.sign(TOKEN, timestamp, nonce)}&timestamp={timestamp}&nonce={nonce}&openid=o1"
            f"&encrypt_type=aes&msg_signature={self.sign(TOKEN, timestamp, nonce, sealed)}"
        )
        body = (
            f"<xml><ToUserName><![CDATA[gh_bench]]></ToUserName><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"
        )
        return load.request(
            "POST", f"/wechat/oa/bench/?{query}", headers={"Content-Type": "text/xml"}, body=body.encode()
        )


def _crypto_per_second(seconds: float = 1.0) -> float:
    """The limit: check the signature and open the message in a bare loop, on one core."""
    from wechat.crypto import CallbackCipher

    sealed = CallbackCipher(AES_KEY).encrypt("<xml>" + "<a>b</a>" * 40 + "</xml>", APPID)
    key = base64.b64decode(AES_KEY + "=")
    cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16]))
    expected = hashlib.sha1("".join(sorted((TOKEN, "1", "2", sealed))).encode()).hexdigest()
    count, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        for _ in range(200):
            if hashlib.sha1("".join(sorted((TOKEN, "1", "2", sealed))).encode()).hexdigest() != expected:
                raise RuntimeError("signature")
            opener = cipher.decryptor()
            plain = opener.update(base64.b64decode(sealed)) + opener.finalize()
            end = 20 + int.from_bytes(plain[16:20], "big")
            if plain[end : -plain[-1]] != APPID.encode():
                raise RuntimeError("receiver")
            count += 1
    return count / spent


def webhook() -> Iterator[Figure]:
    """Encrypted notices, each new: as many as the server takes, then the latency at 200 a second."""
    from wechat.models import Account, Notice

    Account.objects.get_or_create(
        kind="service",
        key="bench",
        defaults={"appid": APPID, "token": TOKEN, "aes_key": AES_KEY, "mode": "safe", "secret": "x"},
    )
    messages = Messages()
    rates, limits_seen, p50, p99 = [], [], [], []
    # The queue's alarm clock is part of the door: Redis is up, but no worker competes for the two cores.
    with lab.web(threads=8) as port:
        load.closed_loop(port, (messages.make() for _ in range(400)), connections=8)
        for _ in range(ROUNDS):
            limits_seen.append(_crypto_per_second())
            batch = [messages.make() for _ in range(8000)]
            outcome = load.closed_loop(port, iter(batch), connections=32)
            _expect(outcome, 200, 8000)
            rates.append(outcome.per_second)
            steady = load.open_loop(port, messages.make, rate=200, seconds=5, connections=32)
            _expect(steady, 200, 1000)
            p50.append(steady.percentile(0.5))
            p99.append(steady.percentile(0.99))
    stored = Notice.objects.count()
    if stored != 400 + ROUNDS * 9000:
        raise RuntimeError(f"{stored} notices stored")
    yield figure(
        "webhook",
        rates,
        "notices/s",
        limits=limits_seen,
        limit_is="bare loop of signature check and decryption, one core",
        stored=stored,
    )
    for name, values in (("webhook-p50", p50), ("webhook-p99", p99)):
        yield figure(
            name, values, "ms", limits=[10.0], limit_is="the mark at 200 notices a second: p99 10 ms"
        )


def _expect(outcome: load.Outcome, status: int, count: int) -> None:
    if outcome.statuses != {status: count}:
        raise RuntimeError(f"expected {count} × {status}, got {outcome.statuses}")


# --- Broadcasts ---------------------------------------------------------------------------------------------------

AUDIENCE = 200_000
SENT = 60_000


def _account(port: int = 9) -> Any:
    from wechat.models import Account

    account, _ = Account.objects.update_or_create(
        kind="service",
        key="send",
        defaults={"appid": "wxsend", "token": TOKEN, "aes_key": AES_KEY, "mode": "safe", "secret": "bench-secret",
                  "api_base": f"http://127.0.0.1:{port}"},
    )  # fmt: skip
    return account


def _audience(account: Any, size: int) -> None:
    """`size` followers of the account, each with an open reply window."""
    from core import clock
    from crm.models import Identity, Member, MemberStats
    from wechat.models import ReplyWindow

    missing = size - Identity.objects.filter(account=account).count()
    moment = clock.now()
    for first in range(0, max(missing, 0), 20_000):
        count = min(20_000, missing - first)
        made = Member.objects.bulk_create(Member(name="m", created_at=moment) for _ in range(count))
        MemberStats.objects.bulk_create(MemberStats(member=member) for member in made)
        Identity.objects.bulk_create(
            Identity(
                member=member, kind="openid", account=account, value=f"o{member.pk}", is_following=True,
                followed_at=moment, created_at=moment,
            )
            for member in made
        )  # fmt: skip
        ReplyWindow.objects.bulk_create(
            ReplyWindow(
                account=account, openid=f"o{member.pk}", trigger="message", opened_at=moment,
                expires_at=moment + timedelta(hours=40), remaining=5,
            )
            for member in made
        )  # fmt: skip
    lab.execute("ANALYZE")


def _no_quiet_hours() -> None:
    from crm.models import TouchPolicy

    policy = TouchPolicy.objects.filter(pk=1).first() or TouchPolicy(pk=1)
    policy.quiet_from = policy.quiet_until
    policy.max_per_day = policy.max_per_week = policy.max_per_month = 1000
    policy.save()


def _broadcast(account: Any, name: str) -> Any:
    from campaigns.models import Broadcast
    from core import clock

    return Broadcast.objects.create(
        name=name,
        account=account,
        channel="custom",
        kind="text",
        text="新品周二上架，先到先得",
        purpose="marketing",
        audience="everyone",
        created_at=clock.now(),
    )


def broadcast_plan() -> Iterator[Figure]:
    """Planning 200,000 recipients: audience, touch verdict, channel and address of each, rows written."""
    from campaigns.services import plan_broadcast

    account = _account()
    _audience(account, AUDIENCE)
    _no_quiet_hours()
    values, limits_seen = [], []
    for number in range(ROUNDS):
        broadcast = _broadcast(account, f"plan {number}")
        started = time.perf_counter()
        counts = plan_broadcast(broadcast_id=broadcast.pk)
        values.append(AUDIENCE / (time.perf_counter() - started))
        if counts["planned"] != AUDIENCE:
            raise RuntimeError(f"planned {counts}")
        limits_seen.append(_copied_per_second(broadcast.pk))
        lab.execute("TRUNCATE campaigns_broadcastrecipient")
    yield figure(
        "broadcast-plan",
        values,
        "recipients/s",
        limits=limits_seen,
        limit_is="INSERT … SELECT of the same rows into an equal table with the same keys and indexes",
        recipients=AUDIENCE,
        mark_ratio=0.3,
    )


def _copied_per_second(broadcast_id: int) -> float:
    lab.execute(
        "DROP TABLE IF EXISTS plain_recipient;"
        "CREATE TABLE plain_recipient (LIKE campaigns_broadcastrecipient INCLUDING ALL);"
        "ALTER TABLE plain_recipient"
        " ADD FOREIGN KEY (broadcast_id) REFERENCES campaigns_broadcast DEFERRABLE INITIALLY DEFERRED,"
        " ADD FOREIGN KEY (member_id) REFERENCES crm_member DEFERRABLE INITIALLY DEFERRED"
    )
    started = time.perf_counter()
    lab.execute(
        "INSERT INTO plain_recipient SELECT * FROM campaigns_broadcastrecipient WHERE broadcast_id = %s",
        [broadcast_id],
    )
    return AUDIENCE / (time.perf_counter() - started)


def broadcast_send() -> Iterator[Figure]:
    """A started broadcast until every message is final: released, claimed, posted and booked by a Celery worker.

    Celery carries wake-ups only: no task per recipient. The limit posts to the same local server in the same run.
    """
    from campaigns.models import Broadcast, BroadcastRecipient
    from campaigns.services import plan_broadcast, start_broadcast
    from wechat.models import OutboundMessage

    _no_quiet_hours()
    values, limits_seen = [], []
    port = lab.free_port()
    account = _account(port)
    _audience(account, SENT)
    lab.execute(
        "UPDATE crm_identity SET is_following = id IN"
        " (SELECT id FROM crm_identity WHERE account_id = %s ORDER BY id LIMIT %s)",
        [account.pk, SENT],
    )
    with (
        lab.process("-m", "bench.local_server", str(port)),
        lab.process("-m", "celery", "-A", "config", "worker", "-Q", "bulk", "-c", "2", "-l", "ERROR",
                    "--without-gossip", "--without-mingle", "--without-heartbeat"),
    ):  # fmt: skip
        time.sleep(6)
        for number in range(ROUNDS):
            limits_seen.append(_uvloop_posts_per_second(port))
            broadcast = _broadcast(account, f"send {number}")
            plan_broadcast(broadcast_id=broadcast.pk)
            started = time.perf_counter()
            start_broadcast(broadcast_id=broadcast.pk)
            waiting = BroadcastRecipient.objects.filter(broadcast=broadcast, status="planned")
            unsent = OutboundMessage.objects.filter(origin=broadcast.origin).exclude(state="sent")
            sent = OutboundMessage.objects.filter(origin=broadcast.origin, state="sent")
            while sent.count() < SENT:
                if time.perf_counter() - started > 120:
                    raise RuntimeError(f"{waiting.count()} waiting, {unsent.count()} unsent")
                time.sleep(0.1)
            values.append(SENT / (time.perf_counter() - started))
            Broadcast.objects.filter(pk=broadcast.pk).update(status=Broadcast.DONE)
    yield figure(
        "broadcast-send",
        values,
        "messages/s",
        limits=limits_seen,
        limit_is="aiohttp on uvloop, 64 in flight, posting to the same local server, nothing booked",
        recipients=SENT,
        mark_ratio=0.4,
    )


def _uvloop_posts_per_second(port: int, count: int = 20_000) -> float:
    """The limit: aiohttp on uvloop, 64 posts in flight, one process, nothing written down."""
    import aiohttp
    import uvloop

    async def run() -> float:
        body = {"touser": "o1", "msgtype": "text", "text": {"content": "新品周二上架，先到先得"}}
        connector = aiohttp.TCPConnector(limit=64)
        async with aiohttp.ClientSession(connector=connector) as session:
            left = iter(range(count))

            async def one() -> None:
                for _ in left:
                    async with session.post(
                        f"http://127.0.0.1:{port}/cgi-bin/message/custom/send?access_token=x", json=body
                    ) as answer:
                        if (await answer.json(content_type=None))["errcode"]:
                            raise RuntimeError("refused")

            started = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(64)))
            return count / (time.perf_counter() - started)

    return uvloop.run(run())
