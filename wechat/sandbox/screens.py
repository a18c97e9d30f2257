"""Pages, pictures and scripts: the phone, the control page, jweixin.js, QR codes, the login page."""

from __future__ import annotations

import base64
import hashlib
import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import segno
from aiohttp import web

from wechat.sandbox import h5pay, oauth, pay
from wechat.sandbox.errors import Refused
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
TINTS = ("#5b8c7b", "#b5838d", "#6d83b3", "#c79a63", "#8d7bb0", "#6aa0a8", "#a8786a", "#7d9a5b")


class Screens:
    """Everything a browser shows."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        """Find the page; raises Refused."""
        if path == "/":
            return self._phone(request)
        if path == "/control":
            return self._file("control.html")
        if path == "/jweixin.js":
            return self._file("jweixin.js", cross_origin=True)
        if path == "/connect/oauth2/authorize":
            return await self._authorize(request)
        if path == pay.H5_PATH:
            query = {name: value for name, value in request.query.items() if name != "sandbox_person"}
            person = self._who(request, dict(request.query))
            return self._login_page(h5pay.page(self.world, query, person, confirmed=request.method == "POST"))
        parts = path.removeprefix("/sandbox/").split("/")
        if parts[0] == "static" and len(parts) == 2:
            return self._file(parts[1])
        if parts[0] == "qr" and len(parts) == 3:
            return self._picture_of_code(parts[1], parts[2].removesuffix(".png"))
        if parts[0] == "avatar":
            return self._avatar("/".join(parts[1:]).removesuffix(".svg"))
        if parts[0] == "media" and len(parts) == 2:
            return self._medium(parts[1])
        if parts[0] == "article" and len(parts) == 3:
            return self._article(parts[1], parts[2])
        raise Refused("There is no such page.", 404)

    def _file(self, name: str, *, cross_origin: bool = False) -> web.Response:
        path = STATIC / Path(name).name
        if not path.is_file() or path.suffix not in TYPES:
            raise Refused("There is no such file.", 404)
        headers = {"Cache-Control": "no-cache"}
        if cross_origin:
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return web.Response(
            body=path.read_bytes(), content_type=TYPES[path.suffix], charset="utf-8", headers=headers
        )

    def _phone(self, request: web.Request) -> web.Response:
        response = self._file("phone.html")
        person = request.query.get("person", "")
        if person in self.world.people.rows:
            response.set_cookie("sandbox_person", person, samesite="Lax", path="/")
        return response

    # --- pictures ----------------------------------------------------------------------------------

    @staticmethod
    def _png(text: str) -> web.Response:
        picture = io.BytesIO()
        segno.make(text, error="m").save(picture, kind="png", scale=8, border=3)
        headers = {"Cache-Control": "max-age=3600", "Cross-Origin-Resource-Policy": "cross-origin"}
        return web.Response(body=picture.getvalue(), content_type="image/png", headers=headers)

    def show_qrcode(self, ticket: str) -> web.Response:
        """GET /cgi-bin/showqrcode: the picture of a ticket; 404 for one that is not known."""
        row = self.world.tickets.get(ticket)
        if row is None:
            return web.Response(status=404, text="ticket not found")
        return self._png(row["url"])

    def _picture_of_code(self, kind: str, code: str) -> web.Response:
        if kind == "pay" and code in self.world.prepays.rows:
            return self._png(f"{pay.PAY_CODES}{code}")
        row = self.world.tickets.get(code) if kind == "oa" else self.world.contact_ways.get(code)
        if row is None:
            raise Refused("There is no such code.", 404)
        return self._png(row["url"])

    def _avatar(self, name: str) -> web.Response:
        """A tinted tile with the first character of a name."""
        if name.startswith("account/"):
            row = self.world.accounts.get(name.removeprefix("account/"))
        elif name.startswith("member/"):
            row = self.world.members.get(name.removeprefix("member/").replace("/", "|"))
        else:
            row = self.world.people.get(name)
        shown = str(row["name"]) if row else "?"
        letter = shown[-1] if name.startswith("member/") and row else shown[:1]
        tint = TINTS[hashlib.sha256(name.encode()).digest()[0] % len(TINTS)]
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 80" width="80" height="80">'
            f'<rect width="80" height="80" rx="12" fill="{tint}"/>'
            '<text x="40" y="54" font-size="38" fill="#fff" text-anchor="middle" font-family="sans-serif">'
            f"{escape(letter)}</text></svg>"
        )
        headers = {"Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "cross-origin"}
        return web.Response(text=svg, content_type="image/svg+xml", headers=headers)

    def _medium(self, media_id: str) -> web.Response:
        row = self.world.media.get(media_id)
        if row is None:
            raise Refused("There is no such medium.", 404)
        allowed = (
            row["content_type"] if row["content_type"].startswith(("image/", "video/", "audio/")) else ""
        )
        kind = allowed if allowed != "image/svg+xml" else ""
        return web.Response(
            body=base64.b64decode(row["content"]),
            content_type=kind or "application/octet-stream",
            headers={"X-Content-Type-Options": "nosniff"},
        )

    def _article(self, media_id: str, place: str) -> web.Response:
        draft = next((row for row in self.world.drafts if row["media_id"] == media_id), None)
        if draft is None or not place.isdigit() or int(place) >= len(draft["articles"]):
            raise Refused("There is no such article.", 404)
        article = draft["articles"][int(place)]
        # The article's own HTML is shown without scripts.
        inner = f'<main class="article"><h1>{escape(article["title"])}</h1>{article["content"]}</main>'
        headers = {"Content-Security-Policy": "script-src 'none'; frame-ancestors 'self'"}
        return web.Response(
            text=oauth.page(article["title"], inner), content_type="text/html", headers=headers
        )

    # --- the login page ----------------------------------------------------------------------------

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        posted = dict(await request.post()) if request.method == "POST" else {}
        query = {**request.query, **{name: str(value) for name, value in posted.items()}}
        person = self._who(request, query)
        asked = {
            name: value
            for name, value in query.items()
            if name not in ("sandbox_person", "sandbox_guide", "decision", "snapshot")
        }
        try:
            account = oauth.asked(self.world, asked)
        except oauth.LoginProblem as problem:
            return self._login_page(oauth.problem_page(str(problem)), status=400)
        if account["kind"] == "work":
            return self._authorize_member(request, account, asked)
        if person is None:
            return self._login_page(oauth.choose_person_page(self.world, asked))
        if request.method == "POST" and query.get("decision") != "allow":
            return self._login_page(oauth.problem_page("你已拒绝授权，可以关闭页面"))
        if request.method != "POST" and oauth.needs_consent(self.world, account, person, asked):
            return self._login_page(oauth.consent_page(self.world, account, person, asked))
        snapshot = query.get("snapshot") == "1"
        raise web.HTTPFound(oauth.grant(self.world, account, person, asked, snapshot=snapshot))

    def _authorize_member(self, request: web.Request, account: Row, asked: dict[str, str]) -> web.Response:
        """WeCom asks nobody for consent: a member of the enterprise comes back with a code at once."""
        named = request.query.get("sandbox_guide") or unquote(request.cookies.get("sandbox_guide", ""))
        member = self.world.members.get(named)
        if member is None or member["account"] != account["key"]:
            return self._login_page(oauth.choose_member_page(self.world, account, asked))
        raise web.HTTPFound(oauth.grant_member(self.world, account, member["userid"], asked))

    def _who(self, request: web.Request, query: dict[str, str]) -> Row | None:
        named = query.get("sandbox_person") or request.cookies.get("sandbox_person", "")
        return self.world.people.get(named)

    @staticmethod
    def _login_page(text: str, *, status: int = 200) -> web.Response:
        return web.Response(text=text, content_type="text/html", status=status)
