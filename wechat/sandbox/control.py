"""The sandbox's own interface: clock, accounts, faults, calls, callbacks, state."""

from __future__ import annotations

import inspect
import json
import secrets
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from wechat.sandbox import api_people, crypto, tokens
from wechat.sandbox.api_routes import API, Ask, api
from wechat.sandbox.certificates import platform_certificate
from wechat.sandbox.errors import Refused
from wechat.sandbox.faults import PRESETS
from wechat.sandbox.store import Row
from wechat.sandbox.world import OA_KINDS, World

BULK_NAMES = ("people", "follow", "message")
FURTHEST_SECONDS = 20 * 365 * 86400


class Control:
    """Answers `/sandbox/api/…`."""

    def __init__(self, world: World, *, demo: bool) -> None:
        self.world = world
        self.demo = demo

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        """Find the handler, read JSON, answer JSON. Raises Refused."""
        path = path.strip("/")
        if path.startswith("stream/"):
            return await api_people.stream(self.world, request, path.removeprefix("stream/"))
        body: Any = {}
        raw = await request.read()
        if raw:
            try:
                body = json.loads(raw)
            except ValueError as error:
                raise Refused("The body is not JSON.") from error
        known = False
        for method, pattern, handler in API:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            known = True
            if method == request.method:
                ask = Ask(self.world, found.groups(), dict(request.query), body)
                answer = handler(ask)
                if inspect.isawaitable(answer):
                    answer = await answer
                text = json.dumps(answer, ensure_ascii=False)
                return web.Response(text=text, content_type="application/json")
        raise Refused(
            "The sandbox has no such address." if not known else "Wrong method.", 405 if known else 404
        )


# --- clock ----------------------------------------------------------------------------------------


def _clock(world: World) -> Row:
    return {
        "now": world.clock.now(),
        "offset_seconds": world.clock.offset_seconds,
        "beijing": world.clock.rfc3339(),
    }


@api("GET", "clock")
def clock_get(ask: Ask) -> Row:
    """The sandbox's time."""
    return _clock(ask.world)


@api("POST", "clock")
def clock_move(ask: Ask) -> Row:
    """Move the clock by `advance_seconds` or to `offset_seconds`."""
    body = ask.body if isinstance(ask.body, dict) else {}
    try:
        if "offset_seconds" in body:
            offset = float(body["offset_seconds"])
        else:
            offset = ask.world.clock.offset_seconds + float(body["advance_seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refused("Say advance_seconds or offset_seconds.") from error
    if not -FURTHEST_SECONDS <= offset <= FURTHEST_SECONDS:
        raise Refused("That is too far away.")
    ask.world.clock.move_to(offset)
    for listener in list(ask.world.listeners):
        ask.world.tell(listener, {"type": "clock", **_clock(ask.world)})
    return _clock(ask.world)


@api("POST", "reset")
async def reset(ask: Ask) -> Row:
    """Forget people, messages, orders, faults; {"accounts": true} also the accounts; the clock goes back."""
    world = ask.world
    wipe = bool(isinstance(ask.body, dict) and ask.body.get("accounts"))
    demo = bool(world.settings.get("demo"))
    world.agenda.clear()
    await world.callbacks.forget()
    world.reset(accounts_too=wipe)
    world.clock.move_to(0)
    if demo and wipe:
        world.make_demo()
        world.write_credentials()
    elif demo:
        world.make_demo_people()
    for listener in list(world.listeners):
        world.tell(listener, {"type": "reset"})
    return {"ok": True}


# --- accounts -------------------------------------------------------------------------------------


def _shown_account(world: World, row: Row) -> Row:
    more = {"gh_id": row["gh_id"]} if row["kind"] in OA_KINDS else {}
    return {**world.shown_account(row), **more, "webhook_url": world.webhook_url(row)}


@api("GET", "accounts")
def accounts_get(ask: Ask) -> list[Row]:
    """All accounts with their secrets (they are worth nothing outside of the sandbox)."""
    return [
        {**ask.world.shown_account(row), "webhook_url": ask.world.webhook_url(row)}
        for row in ask.world.accounts
    ]


@api("POST", "accounts")
def accounts_set(ask: Ask) -> Row:
    """Create or change an account; missing secrets are generated."""
    if not isinstance(ask.body, dict):
        raise Refused("An account is an object.")
    return _shown_account(ask.world, ask.world.make_account(ask.body))


@api("POST", "accounts/([^/]+)/verify")
async def accounts_verify(ask: Ask) -> Row:
    """Do what the platform does when the address is saved: the GET check with echostr."""
    account = ask.world.platform_account(ask.arguments[0], *OA_KINDS, "work")
    timestamp, nonce = str(int(ask.world.clock.now())), str(secrets.randbelow(10**9))
    expected = str(secrets.randbelow(10**18))
    if account["kind"] == "work":
        sent = crypto.encrypt_message(expected, aes_key=account["aes_key"], receiver=account["corpid"])
        signature = crypto.sha1_of_sorted(account["token"], timestamp, nonce, sent)
        query = {"msg_signature": signature, "timestamp": timestamp, "nonce": nonce, "echostr": sent}
    else:
        signature = crypto.sha1_of_sorted(account["token"], timestamp, nonce)
        query = {"signature": signature, "timestamp": timestamp, "nonce": nonce, "echostr": expected}
    url, session = ask.world.webhook_url(account), ask.world.callbacks.session
    assert session is not None
    limit = aiohttp.ClientTimeout(total=1.0 if account["kind"] == "work" else 5.0)
    try:
        async with session.get(f"{url}?{urlencode(query)}", timeout=limit) as response:
            text = (await response.content.read(1000)).decode("utf-8", "replace")
            return {
                "ok": response.status == 200 and text == expected,
                "status": response.status,
                "answer": text,
            }
    except (aiohttp.ClientError, TimeoutError) as error:
        return {"ok": False, "status": 0, "answer": f"{type(error).__name__}: {error}"}


@api("POST", "accounts/([^/]+)/rotate")
def accounts_rotate(ask: Ask) -> Row:
    """Renew a merchant's platform certificate: answers are signed with the new one from now on."""
    account = ask.world.platform_account(ask.arguments[0], "pay")
    certificate = platform_certificate(ask.world.clock.beijing())
    account["certificate"] = certificate
    ask.world.accounts.put(account["key"], account)
    return {"serial": certificate["serial"]}


@api("POST", "tokens")
def tokens_spoil(ask: Ask) -> Row:
    """Make an account's tokens {"state": "expired"} (42001) or "replaced" by somebody else's fetch (40001)."""
    how = ask.text("state", "expired")
    if how not in ("expired", "replaced"):
        raise Refused("state must be expired or replaced.")
    return {"spoiled": tokens.spoil(ask.world, ask.account(*OA_KINDS, "work"), how)}


@api("GET", "templates")
def templates_get(ask: Ask) -> list[Row]:
    """Message templates of all accounts."""
    return [row for row in ask.world.templates if not row["deleted"]]


@api("POST", "templates")
def templates_set(ask: Ask) -> Row:
    """Give an account a template: account, template_id, title, content with {{key.DATA}}, family."""
    account, template_id = ask.account("service"), ask.text("template_id")
    family = ask.text("family", "template")
    if family not in ("template", "subscribe"):
        raise Refused("family must be template or subscribe.")
    row = {
        "account": account["key"],
        "template_id": template_id,
        "title": ask.text("title", ""),
        "content": ask.text("content", ""),
        "family": family,
        "deleted": False,
    }
    return ask.world.templates.put(f"{account['key']}|{template_id}", row)


# --- faults ---------------------------------------------------------------------------------------


@api("GET", "faults")
def faults_get(ask: Ask) -> list[Row]:
    """The faults in force."""
    return list(ask.world.fault_rows)


@api("GET", "faults/presets")
def faults_presets(ask: Ask) -> list[Row]:
    """Faults to choose from."""
    return [{"name": name, "fault": fault} for name, fault in PRESETS]


@api("POST", "faults")
def faults_add(ask: Ask) -> Row:
    """Put a fault in force; see `faults.py` for its fields."""
    if not isinstance(ask.body, dict):
        raise Refused("A fault is an object.")
    return ask.world.faults.add(ask.body)


@api("DELETE", "faults")
def faults_clear(ask: Ask) -> Row:
    """Remove all faults."""
    count = len(ask.world.fault_rows)
    ask.world.fault_rows.clear()
    return {"removed": count}


@api("DELETE", "faults/([^/]+)")
def faults_remove(ask: Ask) -> Row:
    """Remove one fault."""
    if ask.world.fault_rows.get(ask.arguments[0]) is None:
        raise Refused("There is no such fault.", 404)
    ask.world.fault_rows.delete(ask.arguments[0])
    return {"removed": 1}


# --- what happened --------------------------------------------------------------------------------


@api("GET", "calls")
def calls_get(ask: Ask) -> Row:
    """Calls of the platforms' interfaces: ?path= (prefix) and ?account= narrow them."""
    path, account = ask.query.get("path", ""), ask.query.get("account", "")

    def fits(row: Row) -> bool:
        return str(row["path"]).startswith(path) and account in ("", row["account"])

    by_path: dict[str, int] = {}
    errors = 0
    for row in ask.world.call_counts:
        if fits(row):
            by_path[row["path"]] = by_path.get(row["path"], 0) + row["total"]
            errors += row["errors"]
    recent = [row for row in ask.world.recent_calls if fits(row)][-50:]
    return {"total": sum(by_path.values()), "errors": errors, "by_path": by_path, "recent": recent[::-1]}


@api("DELETE", "calls")
def calls_clear(ask: Ask) -> Row:
    """Count from zero again."""
    ask.world.call_counts.clear()
    ask.world.recent_calls.clear()
    return {"ok": True}


def _shown_callback(row: Row) -> Row:
    names = (
        "id",
        "account",
        "event",
        "variant",
        "status",
        "url",
        "person",
        "attempts",
        "created",
        "due",
        "content",
    )
    return {name: row[name] for name in names}


@api("GET", "callbacks")
def callbacks_get(ask: Ask) -> list[Row]:
    """The newest deliveries first: ?account=, ?event=, ?status=, ?limit=."""
    limit = min(int(ask.query.get("limit", "200")) if ask.query.get("limit", "200").isdigit() else 200, 5000)
    chosen = []
    for row in reversed(list(ask.world.callback_rows)):
        if all(ask.query.get(name, "") in ("", row[name]) for name in ("account", "event", "status")):
            chosen.append(_shown_callback(row))
            if len(chosen) == limit:
                break
    return chosen


@api("POST", "callbacks/flush")
async def callbacks_flush(ask: Ask) -> Row:
    """Deliver all that is due and wait until it is quiet."""
    return await ask.world.callbacks.flush()


@api("POST", "callbacks/([^/]+)/replay")
def callbacks_replay(ask: Ask) -> Row:
    """Send one again."""
    return _shown_callback(ask.world.callbacks.replay(ask.arguments[0]))


@api("POST", "flush_state")
async def flush_state(ask: Ask) -> Row:
    """Write what changed to the file now."""
    await ask.world.store.flush()
    return {"ok": True}


@api("GET", "state")
def state(ask: Ask) -> Row:
    """Counts of the whole sandbox."""
    world = ask.world
    by_status: dict[str, int] = {}
    for row in world.callback_rows:
        by_status[row["status"]] = by_status.get(row["status"], 0) + 1
    by_channel: dict[str, int] = {}
    for row in world.messages:
        by_channel[row["channel"]] = by_channel.get(row["channel"], 0) + 1
    orders: dict[str, int] = {}
    for row in world.orders:
        orders[row["state"]] = orders.get(row["state"], 0) + 1
    return {
        **_clock(world),
        "accounts": len(world.accounts),
        "people": len(world.people),
        "followers": sum(row["subscribe"] for row in world.follows),
        "customers": sum(not row["deleted"] for row in world.customers),
        "groups": sum(not row.get("dismissed") for row in world.groups),
        "messages": len(world.messages),
        "messages_by_channel": by_channel,
        "callbacks": by_status,
        "orders": orders,
        "refunds": len(world.refunds),
        "faults": len(world.fault_rows),
        "calls": sum(row["total"] for row in world.call_counts),
    }
