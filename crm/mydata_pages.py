"""The member's page "my data": see, correct, take along, withdraw, erase. The rules are in services."""

import json
from datetime import date
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from core import clock
from core.errors import Refusal
from crm.days import LUNAR, MONTHS, YearDay
from crm.models import Consent, DataRequest
from crm.pages import login_required_member
from crm.queries import mydata as queries
from crm.queries.consent import consent_answers
from crm.services import CONSENT_TEXT
from crm.services import mydata as services


@never_cache
@require_GET
@login_required_member
def my_data(request: HttpRequest) -> HttpResponse:
    """Everything that is kept about her on one page, with what she can do about it."""
    return _show(request)


def _show(request: HttpRequest, *, error: str = "", status: int = 200, **typed: str) -> HttpResponse:
    member = request.member  # type: ignore[attr-defined]
    answers = consent_answers(member.pk)
    context: dict[str, Any] = {
        "member": member,
        "name": typed.get("name", member.name),
        "birthday": typed.get("birthday", member.birthday.isoformat() if member.birthday else ""),
        "lunar": typed["lunar"].split("-") if "lunar" in typed else queries.lunar_birthday(member.pk),
        "months": list(enumerate(MONTHS, 1)),
        "days": [(number, str(YearDay(LUNAR, 1, number))[4:]) for number in range(1, 31)],
        "today": clock.today().isoformat(),
        "error": error,
        "saved": request.GET.get("saved") == "1",
        "identities": queries.own_identities(member.pk),
        "tags": queries.shown_tags(member.pk),
        "kept": [(holding.label, holding.count(member.pk)) for holding in services.holdings()],
        "given": [(purpose, label) for purpose, label in Consent.PURPOSES if answers.get(purpose)],
        "history": queries.consent_history(member.pk),
        "erasure": queries.open_erasure(member.pk),
    }
    return render(request, "crm/mydata.html", context, status=status, using="jinja2")


@never_cache
@require_POST
@login_required_member
def my_data_correct(request: HttpRequest) -> HttpResponse:
    """POST name, birthday (empty or YYYY-MM-DD), and the lunar one: lunar_month, lunar_day, lunar_leap."""
    name, typed = request.POST.get("name", ""), request.POST.get("birthday", "").strip()
    parts = [request.POST.get(field, "").strip()[:4] for field in ("lunar_month", "lunar_day", "lunar_leap")]
    lunar = "-".join(parts)
    try:
        birthday = date.fromisoformat(typed) if typed else None
    except ValueError:
        return _show(
            request,
            error=_("This birthday is not possible. Please check the year."),
            status=400,
            name=name[:80],
            lunar=lunar,
        )
    month, day = (int(part) if part.isascii() and part.isdigit() else 0 for part in parts[:2])
    try:
        services.correct_profile(
            member_id=request.member.pk,  # type: ignore[attr-defined]
            name=name,
            birthday=birthday,
            lunar=(YearDay(LUNAR, month, day, bool(parts[2])) if any(parts[:2]) else None)
            if "lunar_month" in request.POST
            else ...,
        )
    except Refusal as refusal:
        return _show(
            request, error=refusal.message, status=refusal.status, name=name[:80], birthday=typed, lunar=lunar
        )
    return HttpResponseRedirect(reverse("crm:my_data") + "?saved=1")


@never_cache
@require_POST
@login_required_member
def my_data_export(request: HttpRequest) -> HttpResponse:
    """Her data as a file; a POST, so that no link or picture makes one."""
    member = request.member  # type: ignore[attr-defined]
    text = json.dumps(services.personal_data(member.pk), ensure_ascii=False, indent=1)
    services.note_request(member_id=member.pk, kind=DataRequest.EXPORT)
    response = HttpResponse(text, content_type="application/json; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="my-data-{clock.today()}.json"'
    return response


@never_cache
@require_POST
@login_required_member
def my_data_withdraw(request: HttpRequest) -> HttpResponse:
    """POST purpose. What is no purpose withdraws nothing, and does not say that it did."""
    purpose = request.POST.get("purpose", "")
    if purpose not in dict(Consent.PURPOSES):
        return HttpResponseRedirect(reverse("crm:my_data"))
    services.withdraw_by_herself(
        member_id=request.member.pk,  # type: ignore[attr-defined]
        purpose=purpose,
        text_version=CONSENT_TEXT,
        proof=request.headers.get("User-Agent", "")[:200],
    )
    return HttpResponseRedirect(reverse("crm:my_data") + "?saved=1")


@never_cache
@require_http_methods(["GET", "POST"])
@login_required_member
def my_data_erase(request: HttpRequest) -> HttpResponse:
    """GET says what cannot be undone, POST with `understood` asks for it, POST with `stay` takes it back."""
    member = request.member  # type: ignore[attr-defined]
    error, status = "", 200
    if request.method == "POST":
        if request.POST.get("stay"):
            services.take_erasure_back(member_id=member.pk)
            return HttpResponseRedirect(reverse("crm:my_data"))
        if request.POST.get("understood") != "yes":
            error, status = _("Please tick that you have read what cannot be undone."), 400
        else:
            try:
                services.ask_to_erase(member_id=member.pk)
            except Refusal as refusal:
                error, status = refusal.message, refusal.status
            else:
                return HttpResponseRedirect(reverse("crm:my_data_erase"))
    context = {
        "error": error,
        "erasure": queries.open_erasure(member.pk),
        "obstacles": services.obstacles_for(member.pk),
        "consequences": services.consequences_for(member.pk),
        "days": services.GRACE.days,
    }
    return render(request, "crm/mydata_erase.html", context, status=status, using="jinja2")
