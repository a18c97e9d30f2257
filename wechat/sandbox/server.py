"""The HTTP server: finds platform, account and handler of a request; shows faults; counts calls."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import Any

from aiohttp import web

from wechat.sandbox import control, oa_mass, oauth, pay, pay_refunds, screens, tokens, work_mass, work_tags
from wechat.sandbox import pay_bills as pay_bills  # its routes
from wechat.sandbox.callbacks import Callbacks
from wechat.sandbox.errors import ApiError, PayError, Refused
from wechat.sandbox.faults import Faults
from wechat.sandbox.routes import OA, WORK, Call, Route
from wechat.sandbox.store import Row, as_json
from wechat.sandbox.world import World

BODY_MOST = 20 * 1024 * 1024
RECENT_CALLS = 200
JSON_HEADERS = {"Content-Type": "application/json; encoding=utf-8"}
WORK_PER_MINUTE, WORK_PER_HOUR = 10_000, 150_000
log = logging.getLogger("sandbox")


class Server:
    """One sandbox: the world and the ways to speak to it."""

    def __init__(self, world: World, *, pay_scale: float = 0.2, demo: bool = True) -> None:
        self.world = world
        self.demo = demo
        world.faults = Faults(world)
        world.callbacks = Callbacks(world, pay_scale=pay_scale)
        world.actions["finish_mass_job"] = oa_mass.finish_mass_job
        world.actions["finish_refund"] = pay_refunds.finish_refund
        self.control = control.Control(world, demo=demo)
        self.screens = screens.Screens(world)
        self._tasks: list[asyncio.Task[None]] = []

    def application(self) -> web.Application:
        """The aiohttp application; one route takes everything, so that paths read as at the vendors'."""
        app = web.Application(client_max_size=BODY_MOST)
        app.router.add_route("*", "/{path:.*}", self.answer)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)
        return app

    async def _start(self, app: web.Application) -> None:
        if self.demo:
            self.world.make_demo()
        self.world.write_credentials()
        await self.world.store.flush()
        for work in (self.world.store.run(), self.world.agenda.run(), self.world.callbacks.run()):
            self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _stop(self, app: web.Application) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.world.store.close()

    # --- finding the handler -----------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Every request comes here."""
        path = request.path
        if path.startswith("/v3/"):
            return await self._pay(request, path)
        if path in ("/", "/control") or path.startswith(("/sandbox/", "/connect/")) or path == "/jweixin.js":
            return await self._own(request, path)
        if path == "/cgi-bin/showqrcode":
            return self.screens.show_qrcode(request.query.get("ticket", ""))
        if path.startswith(("/cgi-bin/", "/sns/", "/wxaapi/")):
            return await self._platform(request, path)
        return web.Response(status=404, text="not found")

    async def _own(self, request: web.Request, path: str) -> web.StreamResponse:
        try:
            if path.startswith("/sandbox/api/"):
                return await self.control.answer(request, path.removeprefix("/sandbox/api/"))
            return await self.screens.answer(request, path)
        except Refused as refused:
            return web.json_response({"error": refused.message}, status=refused.status)

    def _count(self, account_key: str, path: str, errcode: Any) -> None:
        key = f"{account_key}|{path}"
        row = self.world.call_counts.get(key) or {
            "account": account_key,
            "path": path,
            "total": 0,
            "errors": 0,
        }
        row["total"] += 1
        row["errors"] += errcode not in (0, None)
        self.world.call_counts.put(key, row)
        recent = self.world.recent_calls
        recent.append(
            {"at": self.world.clock.now(), "account": account_key, "path": path, "errcode": errcode}
        )
        if len(recent) > RECENT_CALLS * 2:
            del recent[:RECENT_CALLS]

    # --- Official Accounts and WeCom ---------------------------------------------------------------

    async def _platform(self, request: web.Request, path: str) -> web.StreamResponse:
        query = dict(request.query)
        raw, files = await self._read(request)
        platform, account, errcode = "work" if path == "/cgi-bin/gettoken" else "oa", None, None
        fault: Row | None = None
        try:
            account, platform, route = self._find(path, query, raw)
            if self.world.fault_rows.rows:
                fault = self.world.faults.for_call(path, account["key"])
            answer = await self._with_fault(
                request, fault, lambda: self._call(account, route, path, query, raw, files)
            )
        except ApiError as error:
            answer, errcode = error.document(platform), error.errcode
        self._count(account["key"] if account else "", path, errcode)
        status = int(fault["http_status"]) if fault and fault.get("http_status") else 200
        if answer is None:
            return web.Response(status=status, text="gateway error")
        headers = JSON_HEADERS
        if platform == "work":
            # Header values carry one line of Latin text only.
            code = str(answer.get("errcode", 0))
            headers = {**JSON_HEADERS, "error-code": code, "error-msg": "ok" if code == "0" else "see body"}
        return web.Response(status=status, body=as_json(answer).encode(), headers=headers)

    async def _read(self, request: web.Request) -> tuple[bytes, Row]:
        if request.content_type != "multipart/form-data":
            return await request.read(), {}
        files: Row = {}
        form = await request.post()
        for name, value in form.items():
            if isinstance(value, web.FileField):
                content = value.file.read()
                files[name] = {
                    "filename": value.filename,
                    "content_type": value.content_type,
                    "content": base64.b64encode(content).decode(),
                }
        # Some clients name the part after the file; the vendor takes the first part.
        if files and "media" not in files:
            files["media"] = next(iter(files.values()))
        return b"", files

    def _find(self, path: str, query: dict[str, str], raw: bytes) -> tuple[Row, str, Route]:
        """The account, its platform and the handler."""
        if path in OPEN_PATHS:
            return self._find_open(path, query, raw)
        account = tokens.account_of(self.world, query.get("access_token"))
        platform = "work" if account["kind"] == "work" else "oa"
        route = (WORK if platform == "work" else OA).get(path)
        if route is None:
            raise ApiError(48001 if platform == "oa" else 48002, "the sandbox does not know this call")
        if account["kind"] not in route.kinds:
            raise ApiError(48001)
        return account, platform, route

    def _find_open(self, path: str, query: dict[str, str], raw: bytes) -> tuple[Row, str, Route]:
        world = self.world
        if path == "/cgi-bin/gettoken":
            account = world.by_corpid.get(query.get("corpid", ""))
            if account is None:
                raise ApiError(40013, "invalid corpid")
            if account["secret"] != query.get("corpsecret"):
                raise ApiError(40001, "invalid credential")
            return (
                account,
                "work",
                Route(lambda call: _token_answer(world, tokens.work_token(world, call.account))),
            )
        if path == "/cgi-bin/token":
            account = tokens.oa_credentials(world, query)
            return (
                account,
                "oa",
                Route(lambda call: tokens.answer(tokens.replace_token(world, call.account), world)),
            )
        if path == "/cgi-bin/stable_token":
            try:
                given = json.loads(raw or b"null")
            except ValueError as error:
                raise ApiError(47001) from error
            if not isinstance(given, dict):
                raise ApiError(44002)
            account = tokens.oa_credentials(world, given)
            force = given.get("force_refresh") is True
            return (
                account,
                "oa",
                Route(
                    lambda call: tokens.answer(tokens.stable_token(world, call.account, force=force), world)
                ),
            )
        handler = LOGIN_CALLS[path]
        found = world.by_appid.get(query.get("appid", "")) or {"key": "", "kind": "service"}
        return found, "oa", Route(lambda call: handler(world, query))

    def _call(
        self, account: Row, route: Route, path: str, query: dict[str, str], raw: bytes, files: Row
    ) -> Any:
        key = account["key"]
        if account["kind"] == "work":
            if tokens.count(self.world, key, path, tokens.minute(self.world)) > WORK_PER_MINUTE * self._scale(
                account
            ):
                raise ApiError(45009)
        else:
            limit = (account.get("quotas") or {}).get(path, route.daily)
            if limit is not None and tokens.count(self.world, key, path, tokens.day(self.world)) > limit:
                raise ApiError(45009)
        return route.handler(Call(self.world, account, path, query, raw, files))

    @staticmethod
    def _scale(account: Row) -> int:
        return int(account.get("frequency_scale", 1))

    async def _with_fault(self, request: web.Request, fault: Row | None, call: Any) -> Any:
        """Run the call as the fault wants it; None when the fault answers without a document."""
        if fault is None:
            return call()
        if fault.get("delay_ms"):
            await asyncio.sleep(fault["delay_ms"] / 1000)
        after = fault.get("effect") == "after"
        if fault.get("drop"):
            if after:
                call()
            hang_up(request)
        if fault.get("errcode") is not None:
            if after:
                call()
            raise ApiError(int(fault["errcode"]))
        if fault.get("http_status"):
            if after:
                call()
            return {"errcode": -1, "errmsg": "system error"} if fault["http_status"] < 500 else None
        return call()

    # --- WeChat Pay --------------------------------------------------------------------------------

    async def _pay(self, request: web.Request, path: str) -> web.StreamResponse:
        raw = await request.read()
        header = request.headers.get("Authorization", "")
        account = pay.merchant_of_header(self.world, header)
        status: int
        document: Row | str | None
        try:
            account = pay.authenticate(
                self.world, method=request.method, target=request.raw_path, body=raw, header=header
            )
            fault = self.world.faults.for_call(path, account["key"])
            if fault and fault.get("delay_ms"):
                await asyncio.sleep(fault["delay_ms"] / 1000)
            after = bool(fault and fault.get("effect") == "after")
            if fault and (fault.get("drop") or fault.get("http_status")):
                if after:
                    self._pay_call(request, path, account, raw)
                if fault.get("drop"):
                    hang_up(request)
                code = str(fault.get("code") or "SYSTEM_ERROR")
                raise PayError(
                    int(fault["http_status"]), code, str(fault.get("message") or "系统繁忙，请稍后重试")
                )
            status, document = self._pay_call(request, path, account, raw)
        except PayError as error:
            status, document = error.status, error.document()
        if isinstance(document, str):
            self._count(account["key"] if account else "", path, None)
            return web.Response(status=status, text=document, content_type="text/plain")
        refusal = None if status < 300 else (document or {}).get("code")
        self._count(account["key"] if account else "", path, refusal)
        body = "" if document is None else as_json(document)
        headers = pay.signed_headers(self.world, account, body, request.headers.get("Wechatpay-Serial", ""))
        if document is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
        return web.Response(status=status, body=body.encode() if body else None, headers=headers)

    def _pay_call(self, request: web.Request, path: str, account: Row, raw: bytes) -> pay.Answer:
        for method, pattern, handler in pay.ROUTES:
            found = pattern.fullmatch(path)
            if found and method == request.method:
                return handler(pay.PayCall(self.world, account, dict(request.query), raw, found.groups()))
        raise PayError(404, "RESOURCE_NOT_EXISTS", "沙箱不支持这个接口")


def _token_answer(world: World, row: Row) -> Row:
    return {"errcode": 0, "errmsg": "ok", **tokens.answer(row, world)}


def hang_up(request: web.Request) -> None:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("the sandbox was told to drop this connection")


LOGIN_CALLS = {
    "/sns/oauth2/access_token": oauth.code_to_token,
    "/sns/oauth2/refresh_token": oauth.refresh_token,
    "/sns/userinfo": oauth.userinfo,
    "/sns/auth": oauth.auth,
    "/sns/jscode2session": oauth.mini_session,
}
OPEN_PATHS = {"/cgi-bin/gettoken", "/cgi-bin/token", "/cgi-bin/stable_token", *LOGIN_CALLS}

# The handlers register themselves when their modules are imported.
__all__ = ["Server", "work_mass", "work_tags"]
