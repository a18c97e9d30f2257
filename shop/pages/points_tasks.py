"""Her tasks: what there is to do for points, how far she is; and the link that she sends to a friend."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from core.errors import Refusal
from crm import queries as crm_queries
from crm import services as crm_services
from shop.pages.frame import greeted, member_id_of, members_only, official_account, own_address, sdk_for, show

WAYS = {
    "phone": "crm:phone",
    "birthday": "crm:my_data",
    "review": "shop:orders",
    "order": "shop:categories",
}
"""Where the button of a kind leads that the operator gave no link."""


@require_GET
@members_only
def points_tasks(request: HttpRequest) -> HttpResponse:
    return _shown(request)


def _shown(request: HttpRequest, *, refusal: str = "", status: int = 200) -> HttpResponse:
    member_id = request.member.pk  # type: ignore[attr-defined]
    tasks = crm_queries.tasks_of(member_id)
    shares = any(task.kind == "share" and not task.is_done for task in tasks)
    code = crm_services.share_code(member_id) if shares else ""
    account = official_account()
    return show(
        request,
        "shop/points_tasks.html",
        tab="me",
        status=status,
        refusal=refusal,
        notice=_("The points are yours.") if request.GET.get("done") else "",
        tasks=tasks,
        points=crm_queries.points_of(member_id).spendable,
        links={
            task.pk: task.link or (reverse(WAYS[task.kind]) if task.kind in WAYS else "") for task in tasks
        },
        account_name=account.name if account else "",
        share=request.build_absolute_uri(reverse("shop:points_shared", args=[code])) if code else "",
        sdk=sdk_for(request) if shares else None,
    )


@require_POST
@members_only
def points_tasks_claim(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        crm_services.claim_task(member_id=request.member.pk, task_id=pk)  # type: ignore[attr-defined]
    except Refusal as refusal:
        return _shown(request, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(f"{reverse('shop:points_tasks')}?done=1")


@require_GET
@greeted
def points_shared(request: HttpRequest, code: str) -> HttpResponse:
    """The link that a member sent: counted for her when WeChat names who opened it; then the shop, or `to`."""
    friend_id = member_id_of(request)
    if friend_id is not None:
        crm_services.follow_share(code=code[:80], friend_id=friend_id)
    return HttpResponseRedirect(own_address(request, request.GET.get("to", ""), reverse("shop:home")))
