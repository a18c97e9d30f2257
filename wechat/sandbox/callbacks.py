"""Callbacks to the shop: signed, encrypted, repeated as each platform repeats them, and all of it on record.

Official Accounts and WeCom give five seconds and repeat three times; WeChat Pay repeats over a day, by default
on a compressed schedule. Moments are those of the sandbox's clock; only the five seconds are real ones.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import aiohttp

from wechat.sandbox import crypto
from wechat.sandbox.agenda import Agenda
from wechat.sandbox.errors import Refused
from wechat.sandbox.faults import BAD_COPIES
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

ANSWER_SECONDS = 5.0
REPEAT_AFTER = (5, 5, 5)
PAY_REPEAT_AFTER = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
HOLD_SECONDS = 3.0
SOON_SECONDS = 2.0
ROWS_KEPT = 5000
AT_ONCE = 32
OUT_OF_ORDER_TEXT = "该公众号提供的服务出现故障，请稍后再试"
log = logging.getLogger("sandbox.callbacks")


class Callbacks:
    """The queue of deliveries. Notices about one person go out in order, others side by side."""

    def __init__(self, world: World, *, pay_scale: float = 0.2) -> None:
        self.world = world
        self.rows = world.callback_rows
        self.pay_repeat_after = [max(2.0, seconds * pay_scale) for seconds in PAY_REPEAT_AFTER]
        self.agenda = Agenda(world.clock, self._start)
        self.session: aiohttp.ClientSession | None = None
        self.answer_seconds = ANSWER_SECONDS
        self.held: dict[str, str] = {}
        self.in_flight = 0
        self.finished: deque[str] = deque()
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        for row in sorted(self.rows, key=lambda one: int(one["id"])):
            if row["status"] in ("waiting", "sending"):
                row["status"] = "waiting"
                self.agenda.add(row["due"], row["id"])
            else:
                self.finished.append(row["id"])

    async def run(self) -> None:
        """Deliver for ever."""
        # Redirects are not followed and no proxy of the machine is used: the shop is local.
        self.session = aiohttp.ClientSession(
            # Without the threshold the client rounds five seconds up to six.
            timeout=aiohttp.ClientTimeout(total=self.answer_seconds, ceil_threshold=60),
            # A kept connection that the shop just closed would look like a failed delivery.
            connector=aiohttp.TCPConnector(limit=AT_ONCE, force_close=True),
        )
        try:
            await self.agenda.run()
        finally:
            await self.session.close()

    # --- putting a notice into the queue -----------------------------------------------------------

    def emit(
        self, account: Row, event: str, content: Row, *, person: str = "", url: str = "", after: float = 0.0
    ) -> str | None:
        """Send a notice; `content` is the XML's fields, or for Pay {"event", "plain"}. Answers its number.

        An account made with "events": false sends none.
        """
        if not account.get("events", True):
            return None
        fault = self.world.faults.for_callback(account["key"], event) or {}
        due = self.world.clock.now() + after + fault.get("delay_ms", 0) / 1000
        common = {
            "account": account["key"],
            "event": event,
            "person": person,
            "url": url or self.world.webhook_url(account),
            "content": content,
        }
        for name in BAD_COPIES:
            if fault.get(name):
                self._add(common, variant=name, due=due, repeats=False)
        genuine = self._add(common, variant="genuine", due=due, lost=bool(fault.get("lose")))
        for _ in range(int(fault.get("duplicate") or 0)):
            self._add(common, variant="duplicate", due=due + 0.05)
        if fault.get("reorder"):
            self.held[account["key"]] = genuine
            row = self.rows.rows[genuine]
            row["due"] = due + HOLD_SECONDS
            self.agenda.add(row["due"], genuine)
        else:
            held = self.held.pop(account["key"], None)
            if held and (row_held := self.rows.get(held)) and row_held["status"] == "waiting":
                row_held["due"] = due + 0.2
                self.agenda.add(row_held["due"], held)
        return genuine

    def _add(self, common: Row, *, variant: str, due: float, repeats: bool = True, lost: bool = False) -> str:
        number = str(self.world.next_number())
        row: Row = {
            **common,
            "id": number,
            "variant": variant,
            "status": "lost" if lost else "waiting",
            "attempts": [],
            "created": self.world.clock.now(),
            "due": due,
            "repeats": repeats,
        }
        self.rows.put(number, row)
        if lost:
            self._done(row)
        else:
            self.agenda.add(due, number)
        return number

    def replay(self, number: str) -> Row:
        """Send a notice once more, as it was; raises Refused."""
        row = self.rows.get(number)
        if row is None:
            raise Refused(f"There is no callback {number}.", 404)
        common = {name: row[name] for name in ("account", "event", "person", "url", "content")}
        return self.rows.rows[self._add(common, variant="replay", due=self.world.clock.now())]

    async def flush(self) -> Row:
        """Deliver all that is due and wait until nothing is on its way.

        What the platform does within two seconds by itself (the end of a mass job, of a refund, of a
        template message) is done now; repeats of failed deliveries keep their moment.
        """
        seen = {row["id"] for row in self.rows if row["status"] not in ("waiting", "sending")}
        while True:
            self.world.run_timers(ahead=SOON_SECONDS)
            self._bring_forward()
            if not self.in_flight and not self.agenda.something_due():
                break
            await asyncio.sleep(0.01)
        counts = {"delivered": 0, "failed": 0, "lost": 0, "waiting": 0}
        for row in self.rows:
            if row["id"] not in seen and row["status"] in counts:
                counts[row["status"]] += 1
        counts["waiting"] = sum(row["status"] == "waiting" for row in self.rows)
        return counts

    def _bring_forward(self) -> None:
        now = self.world.clock.now()
        for number in self.agenda.take_until(now + SOON_SECONDS):
            row = self.rows.get(number)
            if row is not None and row["status"] == "waiting":
                if not row["attempts"]:
                    row["due"] = min(row["due"], now)
                self.agenda.add(row["due"], number)
        self.agenda.run_due()

    async def forget(self) -> None:
        """Drop what waits, and let what is on its way arrive before the state is emptied."""
        self.agenda.clear()
        self.finished.clear()
        self.held.clear()
        for _ in range(100):
            if not self.in_flight:
                return
            await asyncio.sleep(0.01)

    # --- one attempt -------------------------------------------------------------------------------

    def _start(self, number: str) -> None:
        row = self.rows.get(number)
        if row is None or row["status"] != "waiting" or row["due"] > self.world.clock.now():
            return
        row["status"] = "sending"
        self.in_flight += 1
        lane = f"{row['account']}|{row['person'] or number}"
        task = asyncio.get_running_loop().create_task(self._attempt(row, self._lanes.get(lane)))
        self._lanes[lane] = task
        task.add_done_callback(lambda done: self._left(lane, done))

    def _left(self, lane: str, task: asyncio.Task[None]) -> None:
        self.in_flight -= 1
        if self._lanes.get(lane) is task:
            del self._lanes[lane]
        if not task.cancelled() and task.exception():
            log.error("a callback failed inside the sandbox", exc_info=task.exception())

    async def _attempt(self, row: Row, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        account = self.world.accounts.get(row["account"])
        if account is None or self.session is None:
            row["status"] = "waiting"
            return
        attempt: Row = {"at": self.world.clock.now(), "status": 0, "error": "", "ms": 0, "answer": ""}
        url, body, headers = self._request(account, row)
        answer = b""
        async with self._slots:
            started = time.monotonic()
            try:
                async with self.session.post(
                    url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    answer = await response.read()
                    attempt["status"] = response.status
            except TimeoutError:
                attempt["error"] = f"no answer within {self.answer_seconds:g} seconds"
            except aiohttp.ClientError as error:
                attempt["error"] = f"{type(error).__name__}: {error}"[:200]
            attempt["ms"] = round((time.monotonic() - started) * 1000, 1)
        attempt["answer"] = answer[:300].decode("utf-8", "replace")
        row["attempts"].append(attempt)
        if self.rows.get(row["id"]) is not row:
            return  # forgotten by a reset meanwhile
        received = attempt["status"] == 200 or (account["kind"] == "pay" and attempt["status"] == 204)
        if received:
            row["status"] = "delivered"
            if row["variant"] in ("genuine", "replay") and account["kind"] in ("service", "subscription"):
                self._take_reply(account, row, answer)
        else:
            self._repeat_or_give_up(account, row)
        if row["status"] != "waiting":
            self._done(row)
        self.rows.put(row["id"], row)

    def _repeat_or_give_up(self, account: Row, row: Row) -> None:
        pauses: Any = self.pay_repeat_after if account["kind"] == "pay" else REPEAT_AFTER
        tried = len(row["attempts"])
        if row["repeats"] and tried <= len(pauses):
            row["status"] = "waiting"
            row["due"] = self.world.clock.now() + pauses[tried - 1]
            self.agenda.add(row["due"], row["id"])
            return
        row["status"] = "failed"
        if row["variant"] == "genuine" and "MsgId" in row["content"] and row["person"]:
            self._show_out_of_order(account, row)

    def _done(self, row: Row) -> None:
        self.finished.append(row["id"])
        if len(self.finished) > ROWS_KEPT:
            self.rows.delete(self.finished.popleft())

    def _show_out_of_order(self, account: Row, row: Row) -> None:
        self.world.deliver(
            row["person"], channel="notice", account=account["key"], kind="text", text=OUT_OF_ORDER_TEXT
        )

    # --- building the request ----------------------------------------------------------------------

    def _request(self, account: Row, row: Row) -> tuple[str, bytes, dict[str, str]]:
        if account["kind"] == "pay":
            return self._pay_request(account, row)
        variant, content = row["variant"], dict(row["content"])
        if variant == "unknown_type":
            content.update(
                {"MsgType": "event", "Event": "sandbox_unknown_event", "ChangeType": "sandbox_unknown"}
            )
            content.pop("MsgId", None)
        if variant == "stale":
            timestamp = str(int(self.world.clock.now()) - 3600)
        else:
            timestamp = str(int(self.world.clock.now()))
        nonce = str(secrets.randbelow(10**9))
        token = "someone-else" if variant in ("forge", "signtest", "wrong_serial") else account["token"]
        clear = crypto.xml_of(content)
        work = account["kind"] == "work"
        mode = "safe" if work else account["mode"]
        query = {"timestamp": timestamp, "nonce": nonce}
        if not work:
            query = {"signature": crypto.sha1_of_sorted(token, timestamp, nonce), **query}
            query["openid"] = str(content.get("FromUserName", ""))
        if mode == "plain":
            if variant == "tamper":
                # The plain mode signs no body: what can be noticed is a signature that does not fit.
                query["signature"] = query["signature"][::-1]
            body = clear
        else:
            receiver = account["corpid"] if work else account["appid"]
            encrypted = crypto.encrypt_message(clear, aes_key=account["aes_key"], receiver=receiver)
            if not work:
                query["encrypt_type"] = "aes"
            query["msg_signature"] = crypto.sha1_of_sorted(token, timestamp, nonce, encrypted)
            if variant == "tamper":
                encrypted = encrypted[:40] + ("A" if encrypted[40] != "A" else "B") + encrypted[41:]
            outer: Row = {"ToUserName": content["ToUserName"]}
            if work:
                outer["AgentID"] = str(account["agentid"])
            if mode == "compatible":
                outer = dict(content)
            body = crypto.xml_of({**outer, "Encrypt": encrypted})
        joint = "&" if "?" in row["url"] else "?"
        return f"{row['url']}{joint}{urlencode(query)}", body.encode(), {"Content-Type": "text/xml"}

    def _pay_request(self, account: Row, row: Row) -> tuple[str, bytes, dict[str, str]]:
        variant, content = row["variant"], row["content"]
        document = content["notice"]
        if variant == "unknown_type":
            document = {**document, "id": str(uuid.uuid4()), "event_type": "SANDBOX.UNKNOWN"}
        body = json.dumps(document, ensure_ascii=False)
        timestamp = str(int(self.world.clock.now()) - (600 if variant == "stale" else 0))
        nonce = crypto.random_text(32)
        by_certificate = account.get("notices_by") == "certificate" and account.get("certificate")
        signer = account["certificate"] if by_certificate else {"key": account["platform_key"]}
        key = crypto.new_rsa_key() if variant == "forge" else crypto.load_private(signer["key"])
        signature = crypto.rsa_sign(key, timestamp, nonce, body)
        if variant == "signtest":
            signature = "WECHATPAY/SIGNTEST/" + signature[19:]
        if variant == "tamper":
            body = body.replace(document["id"], str(uuid.uuid4()))
        serial = signer["serial"] if by_certificate else account["public_key_id"]
        if variant == "wrong_serial":
            serial = "7" * 40
        headers = {
            "Content-Type": "application/json",
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": signature,
            "Wechatpay-Serial": serial,
            "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
            "Request-ID": uuid.uuid4().hex,
            "User-Agent": "Mozilla/4.0",
        }
        return row["url"], body.encode(), headers

    # --- the answer of an Official Account ---------------------------------------------------------

    def _take_reply(self, account: Row, row: Row, answer: bytes) -> None:
        """A passive reply: shown to the person; anything that is no reply becomes the platform's notice."""
        text = answer.decode("utf-8", "replace").strip()
        if text in ("", "success") or not row["person"]:
            return
        try:
            reply = ElementTree.fromstring(text)  # noqa: S314 - from the shop under test, bounded by its size
            if reply.find("Encrypt") is not None:
                encrypted = reply.findtext("Encrypt", "")
                signed = crypto.sha1_of_sorted(
                    account["token"], reply.findtext("TimeStamp", ""), reply.findtext("Nonce", ""), encrypted
                )
                if signed != reply.findtext("MsgSignature", ""):
                    raise crypto.CryptoError("the reply's signature does not fit")
                clear = crypto.decrypt_message(
                    encrypted, aes_key=account["aes_key"], receiver=account["appid"]
                )
                reply = ElementTree.fromstring(clear)  # noqa: S314 - as above
            elif account["mode"] == "safe":
                raise crypto.CryptoError("in safe mode the reply must be encrypted")
            if reply.findtext("ToUserName") != row["content"].get("FromUserName"):
                raise crypto.CryptoError("the reply is not addressed to the sender")
            message = reply_message(reply)
        except (ElementTree.ParseError, crypto.CryptoError, KeyError) as error:
            row["attempts"][-1]["error"] = f"reply not understood: {error}"
            if "MsgId" in row["content"]:
                self._show_out_of_order(account, row)
            return
        if message is not None:
            self.world.deliver(row["person"], channel="reply", account=account["key"], **message)


def reply_message(reply: ElementTree.Element) -> Row | None:
    """The message in a passive reply; raises KeyError for a type that does not exist."""
    kind = reply.findtext("MsgType", "")
    if kind == "text":
        return {"kind": "text", "text": reply.findtext("Content", "")}
    if kind in ("image", "voice", "video"):
        names = {"image": "Image", "voice": "Voice", "video": "Video"}
        return {"kind": kind, "media_id": reply.findtext(f"{names[kind]}/MediaId", "")}
    if kind == "news":
        articles = [
            {
                "title": item.findtext("Title", ""),
                "description": item.findtext("Description", ""),
                "picurl": item.findtext("PicUrl", ""),
                "url": item.findtext("Url", ""),
            }
            for item in reply.findall("Articles/item")
        ]
        first = articles[0]["title"] if articles else ""
        link = articles[0]["url"] if articles else ""
        return {"kind": "news", "text": first, "link": link, "articles": articles[:8]}
    if kind == "music":
        return {"kind": "text", "text": "♪ " + reply.findtext("Music/Title", "")}
    if kind == "transfer_customer_service":
        return None
    raise KeyError(kind)
