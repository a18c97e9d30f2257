"""The guide's workbench on her phone: her own members, one by one and those to look after. Entered inside of WeCom.

Who is not hers, nor of her store, is not there (404). Whole phone numbers are shown on demand only, and recorded.
"""

from collections.abc import Callable
from datetime import date
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from core.errors import Refusal
from core.money import yuan
from crm import picture, services
from crm import queries as crm_queries
from crm.admin.days import told
from crm.admin.picture import Named, asks_consent, given_answer, told_fact
from crm.errors import WrongProfile
from crm.models import Activity, Consent, Identity, Member, Segment, Staff
from crm.queries import guide as queries
from crm.queries import segments_shown, segments_why, sidebar
from crm.queries.fields import fields_of
from crm.queries.picture import consents_of, identities_with_guides, tags_of
from crm.sidebar_pages import ORDERS, life_shown, message, short_identity, to_login, touches_shown
from wechat import queries as wechat_queries
from wechat.models import Account

FACTS_SHOWN = 15
BY_PEOPLE = ("staff", "wecom", "guide")
"""Origins of tags that a guide may take off: what a rule or an import has put would come back."""

Page = Callable[..., HttpResponse]


def for_guides(page: Page) -> Page:
    """Only for guides who may see members; gives the page the guide. Others are sent to the login, and come back."""

    @wraps(page)
    def ask(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        user: Any = request.user
        if not (user.is_authenticated and user.is_active and user.is_staff):
            account = wechat_queries.find_account(Account.WORK)
            if account is None:
                query = urlencode({"next": reverse("crm:guide")})
                return HttpResponseRedirect(f"{reverse('admin:login')}?{query}")
            return to_login(request, account)
        guide = sidebar.colleague(user)
        if guide is None or not guide.is_active or not user.has_perm("crm.view_member"):
            return message(
                request,
                403,
                _("This is the workbench of guides"),
                _(
                    "Ask an administrator to link your login under “Guides”, with the permission to view members."
                ),
            )
        return page(request, guide, *args, **kwargs)

    return ask


@never_cache
@require_GET
@for_guides
def guide(request: HttpRequest, guide: Staff) -> HttpResponse:
    """Her members: `?list=` of queries.LISTS, `?q=` finds, `?store=1` with those of her colleagues. Nine statements."""
    whole_store = request.GET.get("store") == "1" and guide.store_id is not None
    which = request.GET.get("list", "all")
    term = " ".join(request.GET.get("q", "").replace("\x00", "").split())[:40]
    members = queries.members_of(guide, whole_store=whole_store)
    shown = queries.listed(
        members,
        which=which if which in queries.LISTS else "all",
        term=term,
        contacts=queries.contacts_of(guide, whole_store=whole_store),
        before=request.GET.get("before", ""),
    )
    here = {"store": "1"} if whole_store else {}
    counts = queries.counts_of(members)
    labels = {
        "all": _("all"),
        "cooling": _("cooling"),
        "dormant": _("dormant"),
        "birthdays": _("birthdays"),
    }
    context = {
        "guide": guide,
        "term": term,
        "whole_store": whole_store,
        "tabs": [
            {
                "label": label,
                "count": getattr(counts, name),
                "address": f"?{urlencode({'list': name, **here})}",
                "on": not term and name == (which if which in queries.LISTS else "all"),
            }
            for name, label in labels.items()
        ],
        "rows": shown.rows,
        "older": f"?{urlencode({'q': term, **here, 'before': shown.next_key})}" if shown.next_key else "",
        "mine": f"?{urlencode({'list': which})}",
        "ours": f"?{urlencode({'list': which, 'store': '1'})}",
    }
    return render(request, "crm/guide.html", context, using="jinja2")


def _her(guide: Staff, member_id: int) -> Member:
    member = queries.member_of(guide, member_id)
    if member is None:
        raise Http404
    return member


@never_cache
@require_GET
@for_guides
def guide_member(request: HttpRequest, guide: Staff, member_id: int) -> HttpResponse:
    """The short picture of one of hers. At most twenty statements, whoever looks."""
    return _show(request, guide, _her(guide, member_id))


def _show(
    request: HttpRequest,
    guide: Staff,
    member: Member,
    *,
    error: str = "",
    status: int = 200,
    whole_phones: bool = False,
) -> HttpResponse:
    user: Any = request.user
    identities = identities_with_guides(member.pk)
    tags, touches = tags_of(member.pk), sidebar.last_touches(member.pk)
    timeline = crm_queries.timeline_of(member.pk, before=request.GET.get("before", ""), limit=FACTS_SHOWN)
    fields = fields_of(member.pk)
    named = Named(
        [
            *(tag.origin for tag in tags.carried),
            *(touch.origin for touch in touches),
            *(field.origin for field in fields),
            *(fact.subject for fact in timeline.rows),
            *(str(fact.data.get("origin", "")) for fact in timeline.rows if fact.kind == Activity.TAGGED),
        ],
        user,
    )
    orders = picture.panels_of(member.pk, viewer=user, only=[ORDERS])
    _consents, latest = consents_of(member.pk)
    standing = crm_queries.standing_of(member.pk)
    days = [told(*day) for day in standing.days]
    here = reverse("crm:guide_member", args=[member.pk])
    phones = [one for one in identities if one.kind == Identity.PHONE]
    context = {
        "guide": guide,
        "member": member,
        "stats": member.stats,
        "error": error,
        "saved": request.GET.get("saved") == "1",
        "life": life_shown(standing.life),
        "balances": [
            (label, f"¥{yuan(amount)}" if is_money else f"{amount:,}")
            for label, amount, is_money in sidebar.balances_of(member.pk)
        ],
        "carried": [
            {"tag": tag, "origin": named.origin(tag.origin).label, "may_remove": _is_by_people(tag.origin)}
            for tag in tags.carried
        ],
        "others": tags.others,
        "may_add": _may(user, "add_membertag"),
        "may_remove": _may(user, "delete_membertag"),
        "may_note": _may(user, "change_memberfieldvalue"),
        "orders": orders[0].rows if orders else None,
        "touches": touches_shown(touches, named),
        "facts": [told_fact(fact, named) for fact in timeline.rows],
        "older": f"{here}?{urlencode({'before': timeline.next_key})}#timeline" if timeline.next_key else "",
        "newest": f"{here}#timeline" if request.GET.get("before") else "",
        "fields": [
            {
                "field": field,
                "origin": named.origin(field.origin).label if field.origin else "",
            }
            for field in fields
        ],
        "days": days,
        "may_write_birthday": member.birthday is None or member.birthday_from == Member.GUIDE,
        "phones": [one.value if whole_phones else short_identity(one) for one in phones],
        "may_see_phones": bool(phones) and not whole_phones and user.has_perm("crm.view_phone"),
        "whole_phones": whole_phones,
        "segments": segments_shown.memberships(member.pk, queries.segments_for_guides()),
        "answers": [(label, latest.get(purpose)) for purpose, label in Consent.PURPOSES],
        "asks_consent": asks_consent(user, identities),
        "may_be_another": queries.may_be_another(member.pk),
        "contacts": [one for identity in identities for one in identity.guides if one["is_open"]],
        "here": here,
    }
    return render(request, "crm/guide_member.html", context, status=status, using="jinja2")


def _is_by_people(origin: str) -> bool:
    return origin.partition(":")[0] in BY_PEOPLE


def _may(user: Any, what: str) -> bool:
    return bool(user.has_perm(f"crm.{what}") or user.has_perm("crm.change_member"))


def _refuse(request: HttpRequest) -> HttpResponse:
    return message(request, 403, _("You may not change this"), _("Ask an administrator for the permission."))


def _back(member_id: int, part: str) -> HttpResponse:
    return HttpResponseRedirect(f"{reverse('crm:guide_member', args=[member_id])}?saved=1#{part}")


@never_cache
@require_POST
@for_guides
def guide_tags(request: HttpRequest, guide: Staff, member_id: int) -> HttpResponse:
    """POST add=ID or remove=ID; what rules and imports have put stays."""
    member = _her(guide, member_id)
    adds = bool(request.POST.get("add"))
    if not _may(request.user, "add_membertag" if adds else "delete_membertag"):
        return _refuse(request)
    text = request.POST.get("add" if adds else "remove", "")
    tag_id = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    origin = f"staff:{request.user.pk}"
    if adds:
        services.add_tags(member_ids=[member.pk], tag_ids=[tag_id], origin=origin)
    else:
        carried = next((one for one in tags_of(member.pk).carried if one.tag_id == tag_id), None)
        if carried is not None and not _is_by_people(carried.origin):
            words = _("A rule or an import has put this tag: it would come back.")
            return _show(request, guide, member, error=words, status=409)
        services.remove_tags(member_ids=[member.pk], tag_ids=[tag_id], origin=origin)
    return _back(member.pk, "tags")


@never_cache
@require_POST
@for_guides
def guide_facts(request: HttpRequest, guide: Staff, member_id: int) -> HttpResponse:
    """POST field-ID=text of the house's own fields, or birthday=YYYY-MM-DD, or note=text. Each keeps the guide."""
    member = _her(guide, member_id)
    if not _may(request.user, "change_memberfieldvalue"):
        return _refuse(request)
    origin = f"guide:{guide.pk}"
    fields = {
        int(name[6:]): request.POST[name]
        for name in request.POST
        if name.startswith("field-") and name[6:].isascii() and name[6:].isdigit() and len(name) < 24
    }
    try:
        if "birthday" in request.POST:
            services.note_birthday(
                member_id=member.pk, birthday=_day(request.POST["birthday"]), guide_id=guide.pk
            )
        elif "note" in request.POST:
            services.note_member(member_id=member.pk, text=request.POST["note"], by=origin)
        elif fields:
            services.set_fields(member_id=member.pk, values=fields, origin=origin)
    except Refusal as refusal:
        return _show(request, guide, member, error=refusal.message, status=refusal.status)
    return _back(member.pk, "timeline" if "note" in request.POST else "facts")


@never_cache
@require_POST
@for_guides
def guide_consent(request: HttpRequest, guide: Staff, member_id: int) -> HttpResponse:
    """POST as `given_answer`: what she told her guide about her consent."""
    member = _her(guide, member_id)
    if not request.user.has_perm("crm.add_consent"):
        return _refuse(request)
    try:
        given_answer(request, member.pk)
    except Refusal as refusal:
        return _show(request, guide, member, error=refusal.message, status=refusal.status)
    return _back(member.pk, "consents")


def _day(text: str) -> date | None:
    """Raises WrongProfile for what is no day."""
    try:
        return date.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise WrongProfile(_("This birthday is not possible. Please check the year.")) from None


@never_cache
@require_POST
@for_guides
def guide_phones(request: HttpRequest, guide: Staff, member_id: int) -> HttpResponse:
    """Her whole phone numbers; a POST, so that no link shows them, and every look is kept."""
    member = _her(guide, member_id)
    if not request.user.has_perm("crm.view_phone"):
        return _refuse(request)
    count = Identity.objects.filter(member=member, kind=Identity.PHONE).count()
    if count:
        services.record_phone_look(
            user=request.user,
            subject=f"member:{member.pk}",
            page=request.path,
            member_id=member.pk,
            count=count,
        )
    return _show(request, guide, member, whole_phones=True)


@never_cache
@require_GET
@for_guides
def guide_why(request: HttpRequest, guide: Staff, member_id: int, segment_id: int) -> HttpResponse:
    """Why she is in a segment that the brand shows to guides, or not: condition by condition."""
    member = _her(guide, member_id)
    segment = Segment.objects.filter(pk=segment_id, is_shown_to_guides=True).first()
    if segment is None:
        raise Http404
    try:
        told_why = segments_why.explain(segment, member.pk)
    except Refusal as refusal:
        return message(
            request,
            409,
            segment.name,
            refusal.message,
            reverse("crm:guide_member", args=[member.pk]),
        )
    context = {
        "member": member,
        "segment": segment,
        "why": told_why,
        "back": reverse("crm:guide_member", args=[member.pk]) + "#segments",
    }
    return render(request, "crm/guide_why.html", context, using="jinja2")
