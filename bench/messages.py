"""What comes in from the platforms and what goes out to them."""

import asyncio
import base64
import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

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
            f"<xml><ToUserName><![CDATA[gh_bench]]></ToUserName><FromUserName><![CDATA[o{number % 5000}]]></FromUserName>"
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


def _audience() -> tuple[int, int]:
    """AUDIENCE followers with an open reply window of one account; answers (account id, template segment unused)."""
    from wechat.models import Account

    account, _ = Account.objects.get_or_create(
        kind="service",
        key="send",
        defaults={"appid": "wxsend", "token": TOKEN, "aes_key": AES_KEY, "mode": "safe", "secret": "x"},
    )
    have = lab.execute("SELECT count(*) FROM crm_identity WHERE account_id = %s", [account.pk])[0][0]
    if have < AUDIENCE:
        lab.execute(AUDIENCE_SQL, {"account": account.pk, "count": AUDIENCE})
        lab.execute("ANALYZE")
    return account.pk, AUDIENCE


AUDIENCE_SQL = """
WITH people AS (
    INSERT INTO crm_member (name, avatar_url, note, joined_via, time_zone, session_version, created_at)
    SELECT 'm' || i, '', '', 'follow', '', 1, now() FROM generate_series(1, %(count)s) i RETURNING id
), stats AS (
    INSERT INTO crm_memberstats (member_id, {stats_columns}) SELECT id, {stats_values} FROM people
), windows AS (
    INSERT INTO wechat_replywindow (account_id, openid, trigger, expires_at, remaining, opened_at)
    SELECT %(account)s, 'o' || id, 'message', now() + interval '40 hours', 5, now() FROM people
)
INSERT INTO crm_identity (member_id, kind, account_id, value, is_verified, is_following, followed_at, created_at,
                          lookup_attempts)
SELECT id, 'openid', %(account)s, 'o' || id, true, true, now(), now(), 0 FROM people
"""


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


def server_log() -> Path:
    return Path(os.environ.get("POND_VAR", "var")) / "log" / "bench.log"
