"""All state of the sandbox in one place: accounts, people, who follows whom, messages, time, files.

Behaviour lives in the modules named after the platform's rooms (`oa_*`, `work_*`, `pay`) and in `people`;
they take the world as their first argument.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import secrets
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wechat.sandbox import crypto
from wechat.sandbox.agenda import Agenda
from wechat.sandbox.clock import Clock
from wechat.sandbox.errors import Refused
from wechat.sandbox.store import Row, Store

if TYPE_CHECKING:
    from wechat.sandbox.callbacks import Callbacks
    from wechat.sandbox.faults import Faults

INBOX_KEPT = 500
LETTER_OF_BYTE = bytes(ord(crypto.LETTERS[byte % 62]) for byte in range(256))
OA_KINDS = ("service", "subscription")
APP_KINDS = (*OA_KINDS, "mini")  # what has an appid and gives people openids
KINDS = (*APP_KINDS, "work", "pay")
DEMO_MEMBERS = (("lina", "李娜"), ("wangwei", "王伟"), ("zhaomin", "赵敏"))
DEMO_PEOPLE = ("小雨", "陈思思", "周明", "林晓", "阿杰")


class World:
    """The stand-in's state. Tables are named by the noun; their keys are said beside them."""

    callbacks: Callbacks
    faults: Faults

    def __init__(self, *, state_dir: Path | None, clock: Clock, base: str, shop_base: str) -> None:
        self.state_dir = state_dir
        self.clock = clock
        self.base = base.rstrip("/")
        self.shop_base = shop_base.rstrip("/")
        self.store = Store(state_dir / "sandbox.sqlite3" if state_dir else None)
        table = self.store.table
        self.settings = table("settings")  # by name
        self.accounts = table("accounts")  # by account key
        self.people = table("people")  # by person id
        self.follows = table("follows")  # "account|person"
        self.tokens = table("tokens")  # by token
        self.codes = table("codes")  # OAuth codes and their tokens, by code
        self.consents = table("consents")  # "account|person": snsapi_userinfo once allowed
        self.tickets = table("tickets")  # QR codes of Official Accounts, by ticket
        self.menus = table("menus")  # by account key
        self.oa_tags = table("oa_tags")  # "account|id"
        self.templates = table("templates")  # "account|template_id"
        self.sent_once = table("sent_once")  # "account|client_msg_id" of template messages
        self.quotas = table("quotas")  # "account|path|period"
        self.subscriptions = table("subscriptions")  # "account|person|template": notifications left
        self.drafts = table("drafts")  # "account|media_id"
        self.media = table("media")  # by media_id
        self.mass_jobs = table("mass_jobs")  # by msg_id
        self.sms = table("sms")  # by number
        self.messages = table("messages")  # by message number
        self.callback_rows = table("callbacks")  # by delivery number
        self.fault_rows = table("faults")  # by fault number
        self.timers = table("timers")  # by number: what the platform does later by itself
        self.members = table("members")  # "account|userid"
        self.customers = table("customers")  # "account|userid|person"
        self.work_tags = table("work_tags")  # "account|group_id"
        self.contact_ways = table("contact_ways")  # by config_id
        self.welcome_codes = table("welcome_codes")  # by code
        self.groups = table("groups")  # by chat_id
        self.work_tasks = table("work_tasks")  # by msgid
        self.orders = table("orders")  # "mchid|out_trade_no"
        self.prepays = table("prepays")  # by prepay_id
        self.refunds = table("refunds")  # "mchid|out_refund_no"
        self.call_counts = table("call_counts")  # "account|path"
        self.bills: dict[str, Row] = {}  # by token, for five minutes
        self.recent_calls: list[Row] = []
        self.listeners: dict[str, set[asyncio.Queue[Row]]] = defaultdict(set)
        self.actions: dict[str, Callable[..., None]] = {}
        self.agenda = Agenda(clock, self._act)
        for timer in self.timers:
            self.agenda.add(timer["due"], timer["id"])
        self._index()

    # --- what the platform does later by itself ------------------------------------------------------

    def later(self, seconds: float, action: str, **given: Any) -> None:
        """Call the action of this name (see `server.py`) when so many seconds have passed."""
        number = str(self.next_number())
        due = self.clock.now() + seconds
        self.timers.put(number, {"id": number, "due": due, "action": action, "given": given})
        self.agenda.add(due, number)

    def _act(self, number: str) -> None:
        timer = self.timers.get(number)
        if timer is not None:
            self.timers.delete(number)
            self.actions[timer["action"]](self, **timer["given"])

    def run_timers(self, *, ahead: float = 0.0) -> None:
        """Do all that is due, or will be within so many seconds."""
        for number in self.agenda.take_until(self.clock.now() + ahead):
            self._act(number)

    def _index(self) -> None:
        """Rebuild what is derived from the tables."""
        self.by_openid: dict[str, tuple[str, str]] = {}
        self.by_external: dict[str, tuple[str, str]] = {}
        self.inboxes: dict[str, list[str]] = defaultdict(list)
        self.customers_of: dict[str, list[str]] = defaultdict(list)
        self.by_appid = {row["appid"]: row for row in self.accounts if row["kind"] in APP_KINDS}
        self.by_corpid = {row["corpid"]: row for row in self.accounts if row["kind"] == "work"}
        self.by_mchid = {row["mchid"]: row for row in self.accounts if row["kind"] == "pay"}
        for person in self.people:
            self._index_person(person)
        for number in sorted(self.messages.rows, key=int):
            self.inboxes[self.messages.rows[number]["person"]].append(number)
        for key in self.customers.rows:
            self.customers_of[key.split("|")[2]].append(key)
        counter = self.settings.get("counter")
        self._counter: int = counter["value"] if counter else 0

    def _index_person(self, person: Row) -> None:
        for key, openid in person["openids_by_account"].items():
            self.by_openid[openid] = (key, person["id"])
        for key, external in person["externals_by_account"].items():
            self.by_external[external] = (key, person["id"])

    # --- settings and numbers ----------------------------------------------------------------------

    def next_number(self) -> int:
        """A number that was never given before, also across restarts."""
        self._counter += 1
        if self._counter % 1000 == 1:
            # A kill may lose the last moment: the stored mark runs ahead, so that no number comes twice.
            self.settings.put("counter", {"value": self._counter + 2000})
        return self._counter

    def secret_seed(self) -> bytes:
        """What identifiers are derived from; made at first start."""
        row = self.settings.get("seed")
        if row is None:
            row = self.settings.put("seed", {"value": secrets.token_hex(32)})
        return bytes.fromhex(row["value"])

    def derived(self, *parts: str, length: int) -> str:
        """An identifier that is random to look at and always the same for the same parts."""
        digest = hmac.new(self.secret_seed(), "|".join(parts).encode(), hashlib.sha512).digest()
        return digest.translate(LETTER_OF_BYTE).decode()[:length]

    # --- accounts ----------------------------------------------------------------------------------

    def account(self, key: str) -> Row:
        """The account of this key; raises Refused."""
        row = self.accounts.get(key)
        if row is None:
            raise Refused(f"There is no account {key!r}.", 404)
        return row

    def platform_account(self, key: str, *kinds: str) -> Row:
        """The account of this key if it is of one of these kinds; raises Refused."""
        row = self.account(key)
        if row["kind"] not in kinds:
            raise Refused(f"Account {key!r} is of kind {row['kind']}, not {' or '.join(kinds)}.")
        return row

    def webhook_url(self, account: Row) -> str:
        """Where the account's callbacks go."""
        if account.get("webhook_url"):
            return str(account["webhook_url"])
        if account["kind"] == "pay":
            return f"{self.shop_base}/wechat/pay/{account['key']}/notify/"
        room = "work" if account["kind"] == "work" else "oa"
        return f"{self.shop_base}/wechat/{room}/{account['key']}/"

    def make_account(self, given: Row) -> Row:
        """Create or change an account; what is missing is generated. Raises Refused."""
        kind, key = given.get("kind"), given.get("key")
        if kind not in KINDS:
            raise Refused(f"kind must be one of {', '.join(KINDS)}.")
        if not isinstance(key, str) or not key.replace("-", "").replace("_", "").isalnum():
            raise Refused("key must be letters, digits, - or _.")
        row: Row = dict(self.accounts.get(key) or {"created": self.clock.now()})
        row.update({name: value for name, value in given.items() if value is not None})
        row.setdefault("name", key)
        row.setdefault("events", True)
        if kind in OA_KINDS:
            row.setdefault("appid", "wx" + secrets.token_hex(8))
            row.setdefault("secret", secrets.token_hex(16))
            row.setdefault("gh_id", "gh_" + secrets.token_hex(6))
            row.setdefault("mode", "safe")
            if row["mode"] not in ("plain", "compatible", "safe"):
                raise Refused("mode must be plain, compatible or safe.")
            row.setdefault("open_platform", "main")
            row.setdefault("accept_any_template", True)
        if kind == "mini":
            row.setdefault("appid", "wx" + secrets.token_hex(8))
            row.setdefault("secret", secrets.token_hex(16))
            row.setdefault("open_platform", "main")
        if kind == "work":
            row.setdefault("corpid", "ww" + secrets.token_hex(8))
            row.setdefault("agentid", 1000002)
            row.setdefault("secret", crypto.random_text(43))
            row.setdefault("open_platform", "main")
        if kind in (*OA_KINDS, "work"):
            row.setdefault("token", crypto.random_text(24))
            row.setdefault("aes_key", crypto.random_text(42) + "A")
            if len(row["aes_key"]) != 43:
                raise Refused("aes_key must be 43 characters.")
        if kind == "pay":
            self._complete_pay(row)
        self.accounts.put(key, row)
        if kind == "work" and not any(member["account"] == key for member in self.members):
            for userid, name in DEMO_MEMBERS:
                self.make_member(key, userid, name)
        for person in self.people:
            self._name_person_in(person, row)
        self._index()
        return row

    def _complete_pay(self, row: Row) -> None:
        first_service = next((one for one in self.accounts if one["kind"] == "service"), None)
        if "appid" not in row:
            if first_service is None:
                raise Refused("A pay account needs an appid.")
            row["appid"] = first_service["appid"]
        row.setdefault("mchid", str(1_600_000_000 + secrets.randbelow(99_999_999)))
        row.setdefault("apiv3_key", crypto.random_text(32))
        if len(row["apiv3_key"].encode()) != 32:
            raise Refused("apiv3_key must be 32 characters.")
        row.setdefault("merchant_serial", secrets.token_hex(20).upper())
        try:
            merchant = (
                crypto.load_private(row["merchant_key"]) if "merchant_key" in row else crypto.new_rsa_key()
            )
        except crypto.CryptoError as error:
            raise Refused(f"merchant_key is {error}.") from error
        row.setdefault("merchant_key", crypto.private_pem(merchant))
        row["merchant_public"] = crypto.public_pem(merchant)
        if "platform_key" not in row:
            platform = crypto.new_rsa_key()
            row["platform_key"] = crypto.private_pem(platform)
            row["public_key"] = crypto.public_pem(platform)
        row.setdefault(
            "public_key_id", "PUB_KEY_ID_0" + "".join(str(secrets.randbelow(10)) for _ in range(25))
        )

    def make_member(self, account_key: str, userid: str, name: str) -> Row:
        """A WeCom member (a guide) of the corp."""
        key = f"{account_key}|{userid}"
        return self.members.put(key, {"account": account_key, "userid": userid, "name": name})

    def shown_account(self, row: Row) -> Row:
        """The account as `manage.py wechat_account set` takes it, with addresses."""
        common = {"kind": row["kind"], "key": row["key"], "name": row["name"]}
        if row["kind"] in OA_KINDS:
            names = ["appid", "secret", "token", "aes_key", "mode"]
        elif row["kind"] == "mini":
            names = ["appid", "secret"]
        elif row["kind"] == "work":
            names = ["corpid", "agentid", "secret", "token", "aes_key"]
        else:
            names = ["appid", "mchid", "apiv3_key", "merchant_key", "merchant_serial", "public_key"]
            names.append("public_key_id")
        common.update({name: row[name] for name in names})
        common["api_base"] = self.base
        if row["kind"] in (*OA_KINDS, "work"):
            common["jssdk_url"] = f"{self.base}/jweixin.js"
        return common

    def make_demo(self) -> None:
        """The demo brand's accounts, guides, people and group, once."""
        if self.settings.get("demo"):
            return
        self.make_account({"kind": "service", "key": "brand", "name": "池塘香氛服务号", "mode": "safe"})
        self.make_account({"kind": "service", "key": "event", "name": "池塘活动号", "mode": "compatible"})
        self.make_account({"kind": "subscription", "key": "news", "name": "池塘生活志", "mode": "plain"})
        self.make_account({"kind": "work", "key": "corp", "name": "池塘香氛"})
        brand = self.account("brand")
        self.make_account({"kind": "pay", "key": "pay", "name": "池塘香氛", "appid": brand["appid"]})
        self.make_demo_people()
        self.settings.put("demo", {"value": True})

    def make_demo_people(self) -> None:
        """A handful of people to begin with, and one customer group without customers yet."""
        for name in DEMO_PEOPLE:
            self.make_person({"name": name})
        if self.accounts.get("corp"):
            self.make_group("corp", "池塘香氛 · 闻香福利群", "lina")

    def write_credentials(self) -> None:
        """`credentials.json` in the state directory, readable by its owner only."""
        if self.state_dir is None:
            return
        names = ("brand", "event", "news", "corp", "pay")
        shown = [self.shown_account(row) for name in names if (row := self.accounts.get(name))]
        scratch = self.state_dir / "credentials.tmp"
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            json.dump(shown, file, ensure_ascii=False, indent=1)
        os.replace(scratch, self.state_dir / "credentials.json")

    # --- people ------------------------------------------------------------------------------------

    def person(self, person_id: str) -> Row:
        """The person; raises Refused."""
        row = self.people.get(person_id)
        if row is None:
            raise Refused(f"There is no person {person_id!r}.", 404)
        return row

    def make_person(self, given: Row) -> Row:
        """A person with her identities in every account.

        `given` may fix "id", "unionid", "external_userid" and "openids" ({appid: openid}), so that people
        who are already known elsewhere can be brought in.
        """
        person_id = str(given.get("id") or f"p{self.next_number()}")
        if person_id in self.people.rows:
            raise Refused(f"There is already a person {person_id!r}.", 409)
        row: Row = {
            "id": person_id,
            "name": str(given.get("name") or "新朋友"),
            "phone": str(given.get("phone") or ""),
            "snapshot": bool(given.get("snapshot", False)),
            "listed": bool(given.get("listed", True)),
            "given": {
                name: given[name] for name in ("unionid", "external_userid", "openids") if given.get(name)
            },
            "unionids": {},
            "openids_by_account": {},
            "externals_by_account": {},
            "addresses": given.get("addresses") or [self.example_address(given.get("name") or "新朋友")],
        }
        self.people.put(person_id, row)
        for account in self.accounts:
            self._name_person_in(row, account)
        self._index_person(row)
        return row

    @staticmethod
    def example_address(name: str) -> Row:
        """A saved address, obviously made up."""
        return {
            "userName": name,
            "postalCode": "200031",
            "provinceName": "上海市",
            "cityName": "上海市",
            "countryName": "徐汇区",
            "detailInfo": "示例路 100 弄 8 号 302 室",
            "nationalCode": "310104",
            "telNumber": "13800000001",
        }

    def _name_person_in(self, person: Row, account: Row) -> None:
        given, kind = person["given"], account["kind"]
        if kind in APP_KINDS and account["key"] not in person["openids_by_account"]:
            fixed = (given.get("openids") or {}).get(account["appid"])
            openid = fixed or "o" + self.derived("openid", account["key"], person["id"], length=27)
            person["openids_by_account"][account["key"]] = openid
        elif kind == "work" and account["key"] not in person["externals_by_account"]:
            fixed = given.get("external_userid") if not person["externals_by_account"] else None
            external = fixed or "wm" + self.derived("external", account["key"], person["id"], length=30)
            person["externals_by_account"][account["key"]] = external
        platform = account.get("open_platform")
        if platform and platform not in person["unionids"]:
            fixed = given.get("unionid") if not person["unionids"] else None
            person["unionids"][platform] = fixed or "o6" + self.derived(
                "union", platform, person["id"], length=26
            )
        self.people.put(person["id"], person)

    def shown_person(self, person: Row) -> Row:
        """The person as the interface answers her."""
        appids = {row["key"]: row["appid"] for row in self.accounts if row["kind"] in APP_KINDS}
        unionids, externals = person["unionids"], person["externals_by_account"]
        return {
            "id": person["id"],
            "name": person["name"],
            "unionid": next(iter(unionids.values()), ""),
            "openids": {
                appids[key]: openid for key, openid in person["openids_by_account"].items() if key in appids
            },
            "openids_by_account": person["openids_by_account"],
            "external_userid": next(iter(externals.values()), ""),
            "snapshot": person["snapshot"],
            "addresses": person["addresses"],
            "follows": [
                key
                for key in person["openids_by_account"]
                if (self.follow(key, person["id"]) or {}).get("subscribe")
            ],
        }

    def unionid(self, account: Row, person: Row) -> str:
        """The person's unionid in the account's Open Platform, empty when the account is bound to none."""
        platform = account.get("open_platform")
        return str(person["unionids"].get(platform, "")) if platform else ""

    def openid(self, account_key: str, person_id: str) -> str:
        """The person's openid in the account."""
        return str(self.person(person_id)["openids_by_account"][account_key])

    def find_by_openid(self, account_key: str, openid: Any) -> Row | None:
        """The person of this openid, if it belongs to this account."""
        found = self.by_openid.get(openid) if isinstance(openid, str) else None
        return self.people.rows[found[1]] if found and found[0] == account_key else None

    def find_by_external(self, account_key: str, external_userid: Any) -> Row | None:
        """The person of this external_userid, if it belongs to this corp."""
        found = self.by_external.get(external_userid) if isinstance(external_userid, str) else None
        return self.people.rows[found[1]] if found and found[0] == account_key else None

    def follow(self, account_key: str, person_id: str) -> Row | None:
        """The row of this person in this account; it stays after an unfollow, with subscribe 0."""
        return self.follows.get(f"{account_key}|{person_id}")

    def make_group(self, account_key: str, name: str, owner: str) -> Row:
        """A customer group, as only a member's client can make one."""
        chat_id = "wr" + crypto.random_text(30)
        now = int(self.clock.now())
        return self.groups.put(
            chat_id,
            {
                "chat_id": chat_id,
                "account": account_key,
                "name": name,
                "owner": owner,
                "create_time": now,
                "notice": "",
                "version": secrets.token_hex(16),
                "members": [{"userid": owner, "type": 1, "join_time": now, "join_scene": 1}],
            },
        )

    # --- messages ----------------------------------------------------------------------------------

    def deliver(self, person_id: str, **message: Any) -> Row:
        """Put a message into the person's inbox and show it on her phone.

        channel is custom, template, subscribe, mass, welcome, work_mass, reply, notice, sms, or sent for her own.
        """
        number = str(self.next_number())
        row: Row = {"id": int(number), "person": person_id, "at": self.clock.now(), "read": False, **message}
        self.messages.put(number, row)
        inbox = self.inboxes[person_id]
        inbox.append(number)
        if len(inbox) > INBOX_KEPT:
            self.messages.delete(inbox.pop(0))
        self.tell(person_id, {"type": "message", "message": row})
        return row

    def inbox(self, person_id: str) -> list[Row]:
        """Her messages, oldest first; the last 500 are kept."""
        return [self.messages.rows[number] for number in self.inboxes.get(person_id, ())]

    def tell(self, listener: str, news: Row) -> None:
        """Show something live to the phones (or guides' phones) that listen."""
        for queue in self.listeners.get(listener, ()):
            if queue.qsize() < 1000:
                queue.put_nowait(news)

    # --- forgetting --------------------------------------------------------------------------------

    def reset(self, *, accounts_too: bool = False) -> None:
        """Forget people and what they did; accounts and their secrets stay unless asked otherwise."""
        kept = {"settings", "accounts", "members", "menus", "tokens"}
        if accounts_too:
            kept = {"settings"}
            self.settings.delete("demo")
        for name in [name for name in self.settings.rows if name.startswith("forced|")]:
            self.settings.delete(name)
        for name, table in self.store.tables.items():
            if name not in kept:
                table.clear()
        self.recent_calls.clear()
        self._index()
