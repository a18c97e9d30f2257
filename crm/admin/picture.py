"""The page that shows everything about one member, and its small actions: tag, untag, undo, note."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from core import clock
from core.errors import Refusal
from crm import picture, queries, services
from crm.admin.days import told
from crm.admin.lifecycle_filters import life_cards
from crm.admin.lists import ago, money
from crm.admin.subjects import SubjectLink, subject_link
from crm.errors import WrongConsent
from crm.models import Activity, Consent, Identity, Member, Tag, Touch
from crm.queries.fields import fields_of
from crm.queries.picture import consents_of, identities_with_guides, subject_names, tags_of
from crm.queries.touch import reason_label
from crm.services.consent import CHANNELS, SAID
from wechat import queries as wechat_queries

FACTS_SHOWN = 20
TOUCHES_SHOWN = 10
PERIODS = (7, 30, 90, 365)


def shown_value(identity: Identity, request: HttpRequest) -> str:
    """An identity as this user may see it: a whole phone number only when she asks for it, and then it is noted."""
    return identity.value if _asks_for_phones(request) else identity.hidden


def _asks_for_phones(request: HttpRequest) -> bool:
    return "phones" in request.GET and bool(request.user.has_perm("crm.view_phone"))


class Named:
    """Subjects and origins as links with their names, all asked for in one statement."""

    def __init__(self, subjects: list[str], viewer: Any) -> None:
        self.names = subject_names(subjects, viewer=viewer)

    def link(self, subject: str) -> SubjectLink:
        link = subject_link(subject)
        name = self.names.get(subject, "")
        number = subject.partition(":")[2]
        return SubjectLink(f"{link.label.removesuffix(number)}{name}" if name else link.label, link.address)

    def origin(self, origin: str) -> SubjectLink:
        """Who put a tag, in words: "rule:3" → "by the rule 高消费"."""
        kind, _colon, number = origin.partition(":")
        name = self.names.get(origin, f"#{number}")
        words = {
            "rule": _("by the rule “%(name)s”"),
            "code": _("by scanning the code “%(name)s”"),
            "staff": _("by %(name)s"),
            "guide": _("by the guide %(name)s"),
            "import": _("with the import “%(name)s”"),
            "wecom": _("in WeCom by %(name)s"),
            "official": _("in the official account %(name)s"),
        }
        if kind in ("import", "wecom"):
            name = number
        text = words[kind] % {"name": name} if kind in words else origin
        return SubjectLink(text, subject_link(origin).address if kind in ("rule", "code") else "")


def asked_day(text: str | None) -> dt.date | None:
    """A day of the address line; none for what is none."""
    try:
        return dt.date.fromisoformat(text or "")
    except ValueError:
        return None


def _note_look(request: HttpRequest, member: Member, identities: Sequence[Identity]) -> None:
    """Whole phone numbers are shown to this user: who saw them is kept."""
    phones = sum(one.hidden != one.value for one in identities)
    if phones and _asks_for_phones(request):
        services.record_phone_look(
            user=request.user,
            subject=f"member:{member.pk}",
            page=request.path,
            member_id=member.pk,
            count=phones,
        )


def picture_page(admin: Any, request: HttpRequest, member: Member) -> HttpResponse:
    """The whole page. At most fifteen statements, whoever looks."""
    user: Any = request.user
    identities = identities_with_guides(member.pk)
    _note_look(request, member, identities)
    tags = tags_of(member.pk)
    consents, latest = consents_of(member.pk)
    touches = list(Touch.objects.filter(member=member).order_by("-at", "-pk")[:TOUCHES_SHOWN])
    asked = _asked(request)
    timeline = queries.timeline_of(
        member.pk,
        kinds=[asked["kind"]],
        before=request.GET.get("before", ""),
        limit=FACTS_SHOWN,
        since=asked_day(asked["since"]),
        until=asked_day(asked["until"]),
    )
    panels = picture.panels_of(member.pk, viewer=user)
    named = Named(
        [
            *(tag.origin for tag in tags.carried),
            *(touch.origin for touch in touches),
            *(fact.subject for fact in timeline.rows),
            *(str(fact.data.get("origin", "")) for fact in timeline.rows if fact.kind == Activity.TAGGED),
        ],
        user,
    )
    stats, standing = member.stats, queries.standing_of(member.pk)
    here = reverse("admin:crm_member_change", args=[member.pk])
    narrowed = {name: value for name, value in asked.items() if value}
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "media": admin.media,
        "member": member,
        "original": member,
        "title": member.name or str(member),
        "subtitle": None,
        "cards": [
            (_("orders"), stats.orders_count),
            (_("paid in all"), money(stats.paid_fen)),
            (_("refunded"), money(stats.refunded_fen)),
            (_("last order"), ago(stats.last_paid_at)),
            (_("last active"), ago(stats.last_active_at)),
            (_("visits"), stats.visits_count),
            *life_cards(standing),
        ],
        "days": [told(*day) for day in standing.days],
        "traits": standing.traits,
        "panels": panels,
        "identities": [
            {
                "one": one,
                "kind": one.get_kind_display(),
                "account": str(one.account) if one.account else "",
                "value": shown_value(one, request),
                "is_channel": one.kind in (Identity.OPENID, Identity.EXTERNAL_USERID),
            }
            for one in identities
        ],
        "hides_phones": request.user.has_perm("crm.view_phone")
        and "phones" not in request.GET
        and any(one.kind == Identity.PHONE for one in identities),
        "contacts": [contact for one in identities for contact in one.guides],
        "carried": [{"tag": tag, "origin": named.origin(tag.origin)} for tag in tags.carried],
        "tags_left": tags.others,
        "fields": fields_of(member.pk),
        "consents": consents,
        "answers": [(label, latest.get(purpose)) for purpose, label in Consent.PURPOSES],
        "asks_consent": asks_consent(user, identities),
        "touches": [
            {
                "touch": touch,
                "link": named.link(touch.origin),
                "channel": wechat_queries.channel_label(touch.channel) if touch.channel else "",
                "reason": reason_label(touch.reason) if touch.reason else "",
            }
            for touch in touches
        ],
        "timeline": [told_fact(fact, named) for fact in timeline.rows],
        "kinds": Activity.KINDS,
        "asked": asked,
        "periods": _periods(here, asked),
        "older": f"{here}?{urlencode({**narrowed, 'before': timeline.next_key})}"
        if timeline.next_key
        else "",
        "newest": f"{here}?{urlencode(narrowed)}" if request.GET.get("before") else "",
        "may_change": admin.has_change_permission(request, member),
        "undo": _undo(request),
        "here": here,
    }
    return TemplateResponse(request, "crm/picture.html", context)


def _asked(request: HttpRequest) -> dict[str, str]:
    kind = request.GET.get("kind", "")
    since, until = request.GET.get("since", ""), request.GET.get("until", "")
    return {
        "kind": kind if kind in dict(Activity.KINDS) else "",
        "since": since if asked_day(since) else "",
        "until": until if asked_day(until) else "",
    }


def _periods(here: str, asked: dict[str, str]) -> list[dict[str, Any]]:
    """Links to the last so many days, and to everything."""
    today = clock.today()
    kind = {"kind": asked["kind"]} if asked["kind"] else {}
    links: list[dict[str, Any]] = [
        {
            "label": _("All"),
            "address": f"{here}?{urlencode(kind)}",
            "on": not (asked["since"] or asked["until"]),
        }
    ]
    for days in PERIODS:
        since = (today - dt.timedelta(days=days - 1)).isoformat()
        links.append(
            {
                "label": _("%(days)d days") % {"days": days},
                "address": f"{here}?{urlencode({**kind, 'since': since})}",
                "on": asked["since"] == since and not asked["until"],
            }
        )
    return links


def told_fact(fact: Any, named: Named) -> dict[str, Any]:
    shown: dict[str, Any] = {"fact": fact, "label": fact.label, "link": named.link(fact.subject), "by": None}
    shown["note"] = fact.note
    if fact.kind == Activity.TAGGED:
        origin, shown["note"] = str(fact.data.get("origin", "")), ""  # its name stands in the link
        shown["by"] = named.origin(origin) if origin else None
        if fact.data.get("change") == "removed":
            shown["label"], shown["by"] = _("tag taken off"), SubjectLink(named.names.get(origin, ""), "")
    elif fact.kind == Activity.NOTED:
        shown["link"], shown["by"] = SubjectLink("", ""), SubjectLink(named.names.get(fact.subject, ""), "")
    return shown


def _undo(request: HttpRequest) -> dict[str, str] | None:
    """The bar that offers to take the last change back, from the address that the change led to."""
    change, tag_id = request.GET.get("did", ""), request.GET.get("tag", "")
    if change not in ("added", "removed") or not _is_id(tag_id):
        return None
    tag = Tag.objects.filter(pk=tag_id).values_list("name", flat=True).first()
    return {"change": change, "tag_id": tag_id, "name": tag} if tag else None


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def change_her_tags(admin: Any, request: HttpRequest, member_id: int) -> HttpResponse:
    """POST add=ID or remove=ID, or undo=ID with did=added|removed; back to the member's page."""
    if not admin.has_change_permission(request):
        raise PermissionDenied
    here, origin = reverse("admin:crm_member_change", args=[member_id]), f"staff:{request.user.pk}"
    if request.method != "POST":
        return HttpResponseRedirect(here)
    undo = request.POST.get("undo", "")
    if _is_id(undo):
        done = services.undo_tag_change(
            member_id=member_id, tag_id=int(undo), change=request.POST.get("did", ""), origin=origin
        )
        said = _("The change was taken back.") if done else _("There is nothing to take back any more.")
        admin.message_user(request, said, messages.SUCCESS if done else messages.WARNING)
        return HttpResponseRedirect(here)
    for word, change, did in (
        ("add", services.add_tags, "added"),
        ("remove", services.remove_tags, "removed"),
    ):
        tag_id = request.POST.get(word, "")
        if _is_id(tag_id) and change(member_ids=[member_id], tag_ids=[int(tag_id)], origin=origin):
            here = f"{here}?did={did}&tag={tag_id}"
    return HttpResponseRedirect(here)


def asks_consent(user: Any, identities: Sequence[Identity]) -> dict[str, Any] | None:
    """What the form offers that writes down an answer of hers; None for whom it is not."""
    if not user.has_perm("crm.add_consent"):
        return None
    reached = {
        one.account_id: str(one.account)
        for one in identities
        if one.account_id is not None and one.kind in CHANNELS and one.is_following
    }
    return {"purposes": Consent.PURPOSES, "places": list(SAID.items()), "accounts": list(reached.items())}


def given_answer(request: HttpRequest, member_id: int) -> None:
    """POST purpose, answer (yes|no), where, proof and, of marketing, account ("" for all). Raises Refusal."""
    account = request.POST.get("account", "")
    if request.POST.get("answer") not in ("yes", "no") or (account and not _is_id(account)):
        raise WrongConsent(_("Choose what it is about and where she said it."))
    services.note_answer(
        member_id=member_id,
        purpose=request.POST.get("purpose", ""),
        is_given=request.POST["answer"] == "yes",
        where=request.POST.get("where", ""),
        proof=request.POST.get("proof", ""),
        by_id=request.user.pk,
        account_id=int(account) if account else None,
    )


def answer_of_hers(admin: Any, request: HttpRequest, member_id: int) -> HttpResponse:
    """POST as `given_answer`: what she told a colleague about her consent."""
    if not (admin.has_view_permission(request) and request.user.has_perm("crm.add_consent")):
        raise PermissionDenied
    if request.method == "POST":
        try:
            given_answer(request, member_id)
        except Refusal as refusal:
            admin.message_user(request, refusal.message, messages.ERROR)
        else:
            admin.message_user(request, _("Her answer is kept."), messages.SUCCESS)
    return HttpResponseRedirect(reverse("admin:crm_member_change", args=[member_id]) + "#consents")


def note_on_her(admin: Any, request: HttpRequest, member_id: int) -> HttpResponse:
    """POST text: a dated note on her timeline."""
    if not admin.has_change_permission(request):
        raise PermissionDenied
    if request.method == "POST":
        try:
            services.note_member(
                member_id=member_id, text=request.POST.get("text", ""), by=f"staff:{request.user.pk}"
            )
        except Refusal as refusal:
            admin.message_user(request, refusal.message, messages.ERROR)
        else:
            admin.message_user(request, _("The note is on her timeline."), messages.SUCCESS)
    return HttpResponseRedirect(reverse("admin:crm_member_change", args=[member_id]) + "#timeline")
