"""access_token of Official Accounts and WeCom: issuing, replacing, expiring, and the daily quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wechat.sandbox import crypto
from wechat.sandbox.errors import ApiError
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

LIFE_SECONDS = 7200
OVERLAP_SECONDS = 300


def count(world: World, account_key: str, path: str, period: str) -> int:
    """Count one more in this period (a day, a minute) and answer how many there are."""
    key = f"{account_key}|{path}|{period.split(':', 1)[0]}"
    row = world.quotas.get(key)
    if row is None or row["period"] != period:
        row = {"period": period, "used": 0}
    row["used"] += 1
    world.quotas.put(key, row)
    return int(row["used"])


def used(world: World, account_key: str, path: str, period: str) -> int:
    """How many were counted in this period."""
    row = world.quotas.get(f"{account_key}|{path}|{period.split(':', 1)[0]}")
    return int(row["used"]) if row and row["period"] == period else 0


def day(world: World) -> str:
    """The period of daily quotas."""
    return f"day:{world.clock.day()}"


def month(world: World) -> str:
    """The period of monthly caps."""
    return f"month:{world.clock.month()}"


def minute(world: World) -> str:
    """The period of per-minute limits."""
    return f"minute:{int(world.clock.now() // 60)}"


def _issue(world: World, account: Row, family: str) -> Row:
    now = world.clock.now()
    token = crypto.random_text(136 if account["kind"] != "work" else 214)
    row = {
        "token": token,
        "account": account["key"],
        "family": family,
        "expires": now + LIFE_SECONDS,
        "dead": 0.0,
    }
    for old in [
        one for one in world.tokens if one["account"] == account["key"] and one["expires"] < now - 86400
    ]:
        world.tokens.delete(old["token"])
    world.settings.put(f"token|{account['key']}|{family}", {"value": token})
    return world.tokens.put(token, row)


def current(world: World, account: Row, family: str) -> Row | None:
    """The newest token of this family ("token", "stable", "work"), dead or alive."""
    pointer = world.settings.get(f"token|{account['key']}|{family}")
    return world.tokens.get(pointer["value"]) if pointer else None


def alive(world: World, row: Row | None) -> bool:
    """Whether the token is accepted now."""
    now = world.clock.now()
    return row is not None and now < row["expires"] and not (row["dead"] and now >= row["dead"])


def replace_token(world: World, account: Row) -> Row:
    """GET /cgi-bin/token: a new token each time; the one before lives five minutes more."""
    limit = (account.get("quotas") or {}).get("/cgi-bin/token", 2000)
    if count(world, account["key"], "/cgi-bin/token", day(world)) > limit:
        raise ApiError(45009)
    before = current(world, account, "token")
    if before is not None and not before["dead"]:
        before["dead"] = world.clock.now() + OVERLAP_SECONDS
        world.tokens.put(before["token"], before)
    return _issue(world, account, "token")


def stable_token(world: World, account: Row, *, force: bool) -> Row:
    """POST /cgi-bin/stable_token: the same token until five minutes before its end, unless forced."""
    key, now = account["key"], world.clock.now()
    if count(world, key, "/cgi-bin/stable_token", minute(world)) > 10_000:
        raise ApiError(45011)
    before = current(world, account, "stable")
    if force:
        last = world.settings.get(f"forced|{key}")
        if last and now - last["value"] < 30:
            raise ApiError(45011)
        if count(world, key, "forced", day(world)) > 20:
            raise ApiError(45009)
        world.settings.put(f"forced|{key}", {"value": now})
        if before is not None:
            before["dead"] = now
            world.tokens.put(before["token"], before)
        return _issue(world, account, "stable")
    if before is not None and alive(world, before) and before["expires"] - now > OVERLAP_SECONDS:
        return before
    return _issue(world, account, "stable")


def work_token(world: World, account: Row) -> Row:
    """GET /cgi-bin/gettoken: the same token as long as it lives."""
    before = current(world, account, "work")
    if before is not None and alive(world, before):
        return before
    return _issue(world, account, "work")


def spoil(world: World, account: Row, how: str) -> int:
    """Make all the account's tokens "expired" (42001) or "replaced" (40001); answers how many."""
    now, spoiled = world.clock.now(), 0
    for row in world.tokens:
        if row["account"] == account["key"] and alive(world, row):
            if how == "expired":
                row["expires"] = now
            else:
                row["dead"] = now
            world.tokens.put(row["token"], row)
            spoiled += 1
    return spoiled


def account_of(world: World, token: str | None) -> Row:
    """The account whose token this is; raises 41001, 40014, 40001 or 42001."""
    if not token:
        raise ApiError(41001)
    row = world.tokens.get(token)
    if row is None:
        raise ApiError(40014 if len(token) < 20 else 40001)
    now = world.clock.now()
    if now >= row["expires"]:
        raise ApiError(42001)
    if row["dead"] and now >= row["dead"]:
        raise ApiError(40001)
    account = world.accounts.get(row["account"])
    if account is None:
        raise ApiError(40001)
    return account


def answer(row: Row, world: World) -> Row:
    """What the three token calls answer."""
    left = max(1, round(row["expires"] - world.clock.now()))
    return {"access_token": row["token"], "expires_in": min(LIFE_SECONDS, left)}


def oa_credentials(world: World, given: dict[str, Any]) -> Row:
    """The account of an appid and secret; raises 40002, 41002, 41004, 40013, 40125."""
    if given.get("grant_type") != "client_credential":
        raise ApiError(40002)
    return app_of(world, given)


def app_of(world: World, given: dict[str, Any]) -> Row:
    """The Official Account of an appid and secret; raises 41002, 41004, 40013, 40125."""
    if not given.get("appid"):
        raise ApiError(41002)
    if not given.get("secret"):
        raise ApiError(41004)
    account = world.by_appid.get(given["appid"])
    if account is None:
        raise ApiError(40013)
    if account["secret"] != given["secret"]:
        raise ApiError(40125)
    return account
