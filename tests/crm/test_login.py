"""Login with WeChat: only for states that we gave out, once, back to our own pages; the cookie can be revoked."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from core import clock
from crm import services, sessions
from crm.middleware import MemberSession
from crm.models import Consent, Member
from crm.pages import STATE_COOKIE, local_path, login_required_member
from wechat.models import Account

WECHAT = {"HTTP_USER_AGENT": "Mozilla/5.0 MicroMessenger/8.0.50"}


def cookie_of(member: Member) -> str:
    response = HttpResponse()
    sessions.log_in(response, member)
    return response.cookies[sessions.COOKIE].value


def seen_by(client: Client) -> Member | None:
    """Who the server takes this browser for."""
    request = RequestFactory().get("/")
    request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
    return request.member  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_inside_wechat_the_login_begins_at_wechat_with_a_state_of_ours(
    client: Client, brand: Account
) -> None:
    response = client.get("/login/?next=/orders/", **WECHAT)
    assert response.status_code == 302
    asked = parse_qs(urlsplit(response["Location"]).query)
    assert asked["scope"] == ["snsapi_base"]
    assert asked["redirect_uri"] == ["http://testserver/login/callback/"]
    states = signing.loads(client.cookies[STATE_COOKIE].value, salt="crm.login")
    assert states[asked["state"][0]]["next"] == "/orders/"
    asked = parse_qs(urlsplit(client.get("/login/?scope=userinfo", **WECHAT)["Location"]).query)
    assert asked["scope"] == ["snsapi_userinfo"]


@pytest.mark.django_db
def test_an_ordinary_browser_is_asked_to_open_the_page_in_wechat(
    client: Client, brand: Account, settings: Any
) -> None:
    settings.SANDBOX_URL = ""
    response = client.get("/login/?next=/p/3/")
    assert response.status_code == 403
    assert "data:image/png" in response.content.decode()
    assert "http://testserver/p/3/" in response.content.decode()


@pytest.mark.django_db
def test_without_an_account_the_page_says_so(client: Client) -> None:
    assert client.get("/login/", **WECHAT).status_code == 503


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["", "made-up"])
def test_a_callback_with_a_foreign_state_logs_nobody_in(client: Client, brand: Account, state: str) -> None:
    client.get("/login/", **WECHAT)
    response = client.get(f"/login/callback/?code=abc&state={state}", **WECHAT)
    assert response.status_code == 403
    assert sessions.COOKIE not in client.cookies
    assert Member.objects.count() == 0


@pytest.mark.django_db
def test_who_refuses_at_wechat_comes_back_to_a_friendly_page_and_the_state_is_used_up(
    client: Client, brand: Account
) -> None:
    state = parse_qs(urlsplit(client.get("/login/?next=/me/", **WECHAT)["Location"]).query)["state"][0]
    refused = client.get(f"/login/callback/?state={state}", **WECHAT)
    assert refused.status_code == 403
    assert "/login/?next=%2Fme%2F" in refused.content.decode()
    again = client.get(f"/login/callback/?state={state}&code=x", **WECHAT)
    assert '/login/?next=%2F"' in again.content.decode(), "a state works once"


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "", None, "evil"],
)
def test_a_login_link_leads_nowhere_else(address: str | None) -> None:
    assert local_path(address) == "/"
    assert local_path("/orders/?status=paid") == "/orders/?status=paid"


@pytest.mark.django_db
def test_the_cookie_names_the_member_until_it_is_forged_old_or_revoked(
    client: Client, follower: Callable[..., Member], morning: datetime
) -> None:
    member = follower()
    assert seen_by(client) is None
    client.cookies[sessions.COOKIE] = cookie_of(member)
    assert seen_by(client) == member
    client.cookies[sessions.COOKIE] = cookie_of(member).replace(f"{member.pk}.", f"{member.pk + 1}.", 1)
    assert seen_by(client) is None
    client.cookies[sessions.COOKIE] = cookie_of(member)
    with clock.travel(morning + timedelta(days=31)):
        assert seen_by(client) is None
    services.end_sessions(member_ids=[member.pk])
    assert seen_by(client) is None


@pytest.mark.django_db
def test_a_merged_members_cookie_opens_the_living_ones_pages(
    client: Client, brand: Account, event_account: Account
) -> None:
    kept = services.member_for_openid(account_id=brand.pk, openid="o-1")
    gone = services.member_for_openid(account_id=event_account.pk, openid="o-2")
    client.cookies[sessions.COOKIE] = cookie_of(gone)
    services.merge_members(kept_id=kept.pk, merged_id=gone.pk)
    assert seen_by(client) == kept


@pytest.mark.django_db
def test_nobody_is_asked_for_unless_a_page_wants_to_know(
    follower: Callable[..., Member], django_assert_num_queries: Any, morning: datetime
) -> None:
    member = follower()
    request = RequestFactory().get("/")
    request.COOKIES[sessions.COOKIE] = cookie_of(member)
    with django_assert_num_queries(0):
        MemberSession(lambda _: HttpResponse())(request)
    with django_assert_num_queries(1):
        assert request.member == member  # type: ignore[attr-defined]
        assert request.member == member  # type: ignore[attr-defined]
    with clock.travel(morning + timedelta(days=8)):
        response = MemberSession(lambda _: HttpResponse())(request)
    assert sessions.COOKIE in response.cookies, "who comes back stays logged in"


@pytest.mark.django_db
def test_a_members_page_sends_strangers_to_the_login_in_their_own_way() -> None:
    @login_required_member
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse("hers")

    factory = RequestFactory()
    assert (
        page(factory.get("/orders/?status=paid"))["Location"] == "/login/?next=%2Forders%2F%3Fstatus%3Dpaid"
    )
    assert page(factory.get("/cart/", HTTP_HX_REQUEST="true"))["HX-Redirect"] == "/login/?next=%2Fcart%2F"
    answer = page(factory.post("/cart/", HTTP_ACCEPT="application/json"))
    assert answer.status_code == 401


@pytest.mark.django_db
def test_she_withdraws_and_gives_consent_with_one_tap_each(
    client: Client, follower: Callable[..., Member]
) -> None:
    member = follower()
    client.cookies[sessions.COOKIE] = cookie_of(member)
    for answer, given in (("no", False), ("yes", True)):
        response = client.post("/me/privacy/", {"purpose": "marketing", "answer": answer})
        assert response.status_code == 302
        member.stats.refresh_from_db()
        assert member.stats.marketing_consent is given
    assert Consent.objects.filter(channel="page").count() == 2
    assert client.post("/me/privacy/", {"purpose": "everything"}).status_code == 302
    assert Consent.objects.count() == 2
    assert client.get("/me/privacy/").status_code == 200


@pytest.mark.django_db
def test_a_link_cannot_log_anybody_out(client: Client, follower: Callable[..., Member]) -> None:
    client.cookies[sessions.COOKIE] = cookie_of(follower())
    assert client.get("/logout/").status_code == 200
    assert seen_by(client) is not None
    client.post("/logout/")
    assert seen_by(client) is None
