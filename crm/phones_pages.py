"""The member's page "my phone": write a number, type the code that came, take a number back. Rules are in services."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import Refusal
from crm import sms
from crm.pages import login_required_member
from crm.queries import phones as queries
from crm.services import phones as services


@never_cache
@require_http_methods(["GET", "POST"])
@login_required_member
def phone(request: HttpRequest) -> HttpResponse:
    """GET shows her numbers and the form; POST phone asks for a code, or keeps the number where nobody sends codes."""
    if request.method != "POST":
        return _show(request)
    typed = request.POST.get("phone", "")
    member_id = request.member.pk  # type: ignore[attr-defined]
    try:
        if sms.sends_codes():
            services.ask_for_code(member_id=member_id, phone=typed)
            return HttpResponseRedirect(reverse("crm:phone"))
        services.write_phone(member_id=member_id, phone=typed)
    except Refusal as refusal:
        return _show(request, error=refusal.message, status=refusal.status, typed=typed[:20])
    return HttpResponseRedirect(reverse("crm:phone") + "?done=noted")


@never_cache
@require_POST
@login_required_member
def phone_confirm(request: HttpRequest) -> HttpResponse:
    """POST code."""
    try:
        services.confirm_phone(
            member_id=request.member.pk,  # type: ignore[attr-defined]
            code=request.POST.get("code", ""),
        )
    except Refusal as refusal:
        return _show(request, error=refusal.message, status=refusal.status)
    return HttpResponseRedirect(reverse("crm:phone") + "?done=confirmed")


@never_cache
@require_POST
@login_required_member
def phone_drop(request: HttpRequest) -> HttpResponse:
    """POST identity: the key of one of her numbers."""
    key = request.POST.get("identity", "")
    if key.isascii() and key.isdigit() and len(key) < 19:
        services.drop_phone(
            member_id=request.member.pk,  # type: ignore[attr-defined]
            identity_id=int(key),
        )
    return HttpResponseRedirect(reverse("crm:phone") + "?done=removed")


def _show(request: HttpRequest, *, error: str = "", status: int = 200, typed: str = "") -> HttpResponse:
    member = request.member  # type: ignore[attr-defined]
    notices = {
        "noted": _("Your number is noted."),
        "confirmed": _("Your number is confirmed."),
        "removed": _("The number is removed."),
    }
    context = {
        "phones": queries.own_phones(member.pk),
        "waiting": queries.waiting_code(member.pk),
        "sends_codes": sms.sends_codes(),
        "is_other": request.GET.get("other") == "1" or (bool(typed) and status == 400),
        "error": error,
        "typed": typed,
        "notice": "" if error else notices.get(request.GET.get("done", ""), ""),
        "minutes": services.CODE_LIVES.seconds // 60,
    }
    return render(request, "crm/phones.html", context, status=status, using="jinja2")
