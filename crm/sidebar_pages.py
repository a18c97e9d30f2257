"""The page that WeCom shows a guide beside her chat with a customer. The address to enter in WeCom is crm:sidebar.

WeCom says whose chat it is by `wx.agentConfig` and `getCurExternalContact`; the login is the house's own for staff,
entered by WeCom's word for who the guide is, or by the password where the page is opened elsewhere.
"""

import json
import secrets
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

import structlog
from django.conf import settings
from django.contrib import auth
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from core import clock
from core.errors import Refusal
from core.money import yuan
from crm import picture, services
from crm import queries as crm_queries
from crm.admin.picture import Named
from crm.models import Identity, Staff
from crm.queries import sidebar as queries
from crm.queries.picture import identities_with_guides, tags_of
from crm.queries.touch import reason_label
from wechat import queries as wechat_queries
from wechat import services as wechat
from wechat.errors import CodeRejected, PlatformError
from wechat.models import Account

log = structlog.get_logger(__name__)

STATE_COOKIE = "pond_sidebar"
STATE_SALT = "crm.sidebar"
STATE_SECONDS = 600
ORDERS = "shop.orders"  # the panel that the shop gives to a member's page
MOST_ID = 128


def for_guides(page: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Only for staff who may see members; gives the page the account and the guide (None: a login that is no
    guide's). Others are sent to the login, and come back to this page.
    """

    @wraps(page)
    def ask(request: HttpRequest, key: str) -> HttpResponse:
        account = wechat_queries.find_account(Account.WORK, key)
        if account is None:
            return message(
                request,
                404,
                _("There is no such WeCom account"),
                _("The address ends with the key of the account, as the admin shows it."),
            )
        user: Any = request.user
        if not (user.is_authenticated and user.is_active and user.is_staff):
            return to_login(request, account)
        guide = queries.colleague(user)
        if (guide is not None and not guide.is_active) or not user.has_perm("crm.view_member"):
            return message(
                request,
                403,
                _("You may not see customers"),
                _("Ask an administrator for the permission to view members."),
            )
        return page(request, account, guide)

    return ask


def to_login(request: HttpRequest, account: Account) -> HttpResponse:
    """WeCom says who the guide is; elsewhere the password does. She comes back to this page."""
    back = request.get_full_path() if request.method == "GET" else reverse("crm:sidebar", args=[account.key])
    in_wecom = "wxwork" in request.headers.get("User-Agent", "")
    if not in_wecom and not settings.SANDBOX_URL:
        return HttpResponseRedirect(f"{reverse('admin:login')}?{urlencode({'next': back})}")
    state = secrets.token_urlsafe(18)
    begun = {"state": state, "next": back, "at": int(clock.now().timestamp())}
    response = HttpResponseRedirect(
        wechat.work_login_url(
            account_id=account.pk,
            redirect_uri=request.build_absolute_uri(reverse("crm:sidebar_login", args=[account.key])),
            state=state,
        )
    )
    response.set_cookie(
        STATE_COOKIE,
        signing.dumps(begun, salt=STATE_SALT),
        max_age=STATE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.COOKIE_SECURE,
    )
    return response


@never_cache
@require_GET
def sidebar_login(request: HttpRequest, key: str) -> HttpResponse:
    """WeCom sends the guide back with a code: it is exchanged once, and only for a login that this browser began."""
    account, begun = wechat_queries.find_account(Account.WORK, key), _begun(request)
    here = str(begun["next"]) if begun else reverse("crm:sidebar", args=[key])
    if (
        account is None
        or begun is None
        or not secrets.compare_digest(str(begun["state"]), request.GET.get("state", ""))
    ):
        return message(
            request, 403, _("This login link has been used or is too old"), _("Please begin again."), here
        )
    try:
        userid = wechat.work_login_userid(account_id=account.pk, code=request.GET.get("code", "")[:512])
    except CodeRejected:
        return message(
            request, 403, _("This login link has been used or is too old"), _("Please begin again."), here
        )
    except PlatformError as error:
        log.warning("guide login failed", code=error.code)
        return message(
            request, 503, _("WeCom does not answer just now"), _("Please try again in a moment."), here
        )
    guide = (
        Staff.objects.select_related("user")
        .filter(work_userid=userid, is_active=True, user__is_active=True, user__is_staff=True)
        .first()
        if userid
        else None
    )
    if guide is None or guide.user is None:
        return message(
            request,
            403,
            _("Your WeCom account has no login here"),
            _("Ask an administrator to link it with a login under “Guides”."),
        )
    auth.login(request, guide.user, backend="django.contrib.auth.backends.ModelBackend")
    response = HttpResponseRedirect(str(begun["next"]))
    response.delete_cookie(STATE_COOKIE, samesite="Lax")
    return response


def _begun(request: HttpRequest) -> dict[str, Any] | None:
    """The login that this browser began and did not end."""
    try:
        begun = signing.loads(request.COOKIES.get(STATE_COOKIE, ""), salt=STATE_SALT)
        fresh = begun["at"] >= int(clock.now().timestamp()) - STATE_SECONDS
    except (signing.BadSignature, KeyError, TypeError):
        return None
    return dict(begun) if fresh else None


@never_cache
@require_GET
@for_guides
def sidebar(request: HttpRequest, account: Account, guide: Staff | None) -> HttpResponse:
    """Without `?customer=` a page that asks WeCom whose chat this is; with it, the short picture of her."""
    external_userid = request.GET.get("customer", "")
    if not external_userid:
        return _ask_wecom(request, account)
    found = _customer(account, guide, external_userid)
    if isinstance(found, tuple):
        return message(request, *found)
    return _show(request, account, external_userid, found)


def _ask_wecom(request: HttpRequest, account: Account) -> HttpResponse:
    trouble, config = "", {}
    try:
        config = wechat.agent_config(account_id=account.pk, url=request.build_absolute_uri())
    except Refusal as refusal:
        log.warning("agent_config_unavailable", error=type(refusal).__name__)
        trouble = refusal.message
    context = {
        "config": json.dumps(config),
        "scripts": wechat.work_sdk_urls(account_id=account.pk) if config else [],
        "trouble": trouble,
        "here": reverse("crm:sidebar", args=[account.key]),
    }
    return render(request, "crm/sidebar_ask.html", context, using="jinja2")


def _customer(account: Account, guide: Staff | None, external_userid: str) -> Any:
    """The member, or (status, title, advice) of a refusal."""
    found = (
        None
        if len(external_userid) > MOST_ID or "\x00" in external_userid
        else queries.customer_of(
            account_id=account.pk,
            external_userid=external_userid,
            store_id=guide.store_id if guide is not None else None,
        )
    )
    if found is None:
        return (
            404,
            _("We do not know this customer yet"),
            _("She appears as soon as WeCom has told us of her. That takes a moment after she was added."),
        )
    if not found.is_ours:
        return (
            403,
            _("She is a customer of another store"),
            _("You see the customers whom colleagues of your store have in WeCom."),
        )
    return found.member


def _show(request: HttpRequest, account: Account, external_userid: str, member: Any) -> HttpResponse:
    """At most fifteen statements, whoever looks."""
    user: Any = request.user
    identities = identities_with_guides(member.pk)
    tags, touches = tags_of(member.pk), queries.last_touches(member.pk)
    named = Named([*(tag.origin for tag in tags.carried), *(touch.origin for touch in touches)], user)
    orders = picture.panels_of(member.pk, viewer=user, only=[ORDERS])
    did, tag_id = request.GET.get("did", ""), request.GET.get("tag", "")
    changed = next(
        (
            (tag_pk, name)
            for tag_pk, name in [
                *((tag.tag_id, tag.name) for tag in tags.carried),
                *((tag.pk, tag.name) for tag in tags.others),
            ]
            if str(tag_pk) == tag_id
        ),
        None,
    )
    context = {
        "member": member,
        "stats": member.stats,
        "identities": [
            {
                "kind": one.get_kind_display(),
                "account": str(one.account) if one.account else "",
                "value": short_identity(one),
                "is_following": one.is_following,
                "is_weak": not one.is_verified,
            }
            for one in identities
        ],
        "guides": [one for identity in identities for one in identity.guides if one["is_open"]],
        "balances": [
            (label, f"¥{yuan(amount)}" if is_money else f"{amount:,}")
            for label, amount, is_money in queries.balances_of(member.pk)
        ],
        "life": life_shown(crm_queries.lifecycle_of(member.pk)),
        "carried": [{"tag": tag, "origin": named.origin(tag.origin).label} for tag in tags.carried],
        "others": tags.others,
        "may_add": _may(user, "add"),
        "may_remove": _may(user, "delete"),
        "orders": orders[0].rows if orders else None,
        "touches": touches_shown(touches, named),
        "did": did if changed and did in ("added", "removed") else "",
        "changed": changed,
        "customer": external_userid,
        "act": reverse("crm:sidebar_tags", args=[account.key]),
        "full": reverse("admin:crm_member_change", args=[member.pk]),
    }
    return render(request, "crm/sidebar.html", context, using="jinja2")


def short_identity(identity: Identity) -> str:
    """Phones are masked here for everybody: whole ones are shown, and recorded, on the full page only."""
    value = identity.hidden
    if identity.kind == Identity.PHONE:
        return value
    return value if len(value) <= 14 else f"{value[:4]}…{value[-4:]}"


def touches_shown(touches: Iterable[Any], named: Named) -> list[dict[str, Any]]:
    """What was sent to her, by what, over which channel, and why it was not when it was not."""
    return [
        {
            "touch": touch,
            "name": named.link(touch.origin).label,
            "channel": wechat_queries.channel_label(touch.channel) if touch.channel else "",
            "reason": reason_label(touch.reason) if touch.reason else "",
        }
        for touch in touches
    ]


def life_shown(life: crm_queries.Life | None) -> dict[str, Any] | None:
    if life is None:
        return None
    is_known = bool(life.frequency)
    return {
        "stage": life.stage_label,
        "word": life.stage,
        "since": life.since,
        "percent": round((life.chance_bps if is_known else life.vigour_bps) / 100),
        "is_chance": is_known,
        "value": f"¥{yuan(life.value_fen)}" if life.value_fen is not None else "–",
        "cell": life.cell_label,
    }


def _may(user: Any, what: str) -> bool:
    return bool(user.has_perm(f"crm.{what}_membertag") or user.has_perm("crm.change_member"))


@never_cache
@require_POST
@for_guides
def sidebar_tags(request: HttpRequest, account: Account, guide: Staff | None) -> HttpResponse:
    """POST customer and add=ID or remove=ID, or undo=ID with did=added|removed; back to her picture."""
    external_userid = request.POST.get("customer", "")
    found = _customer(account, guide, external_userid)
    if isinstance(found, tuple):
        return message(request, *found)
    origin, query = f"staff:{request.user.pk}", {"customer": external_userid}
    wanted = next((name for name in ("add", "remove", "undo") if request.POST.get(name)), "")
    change = (
        request.POST.get("did", "") if wanted == "undo" else {"add": "added", "remove": "removed"}.get(wanted)
    )
    takes_off = (wanted, change) in (("remove", "removed"), ("undo", "added"))
    if not _may(request.user, "delete" if takes_off else "add"):
        return message(
            request, 403, _("You may not change tags"), _("Ask an administrator for the permission.")
        )
    text = request.POST.get(wanted, "")
    tag_id = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    if tag_id and wanted == "add":
        services.add_tags(member_ids=[found.pk], tag_ids=[tag_id], origin=origin)
    elif tag_id and wanted == "remove":
        services.remove_tags(member_ids=[found.pk], tag_ids=[tag_id], origin=origin)
    elif tag_id and change in ("added", "removed"):
        services.undo_tag_change(member_id=found.pk, tag_id=tag_id, change=change, origin=origin)
    if tag_id and wanted in ("add", "remove"):
        query |= {"did": str(change), "tag": str(tag_id)}
    return HttpResponseRedirect(f"{reverse('crm:sidebar', args=[account.key])}?{urlencode(query)}#tags")


def message(request: HttpRequest, status: int, title: str, advice: str, link: str = "") -> HttpResponse:
    context = {"title": title, "advice": advice, "link": link}
    return render(request, "crm/sidebar_message.html", context, status=status, using="jinja2")
