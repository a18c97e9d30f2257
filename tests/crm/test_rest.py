"""REST of members: scopes, masked phones, filters, tags written once."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from core.tokens import issue_token
from crm import services
from crm.models import Identity, Member, MemberTag
from crm.queries.merging import account_matrix
from tests.conftest_sandbox import Sandbox
from wechat import services as wechat
from wechat.models import Account


def key(*scopes: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {issue_token(name='erp', scopes=list(scopes))[1]}"}


@pytest.mark.django_db
def test_members_are_read_with_the_scope_and_phones_only_with_theirs(
    client: Client,
    follower: Callable[..., Member],
    tag: Callable[[str], Any],
    django_assert_max_num_queries: Any,
) -> None:
    members = [follower(f"o-{number}", name=f"客{number}") for number in range(5)]
    services.give_phone(member_id=members[0].pk, phone="13800000001", verified=False)
    services.add_tags(member_ids=[members[0].pk], tag_ids=[tag("玫瑰").pk], origin="staff:1")
    assert client.get("/api/v1/members/").status_code == 401
    assert client.get("/api/v1/members/", **key("orders:read")).status_code == 403
    with django_assert_max_num_queries(6):
        listed = client.get("/api/v1/members/?limit=3", **key("members:read")).json()
    assert [row["name"] for row in listed["results"]] == ["客0", "客1", "客2"]
    assert listed["results"][0]["tags"][0]["name"] == "玫瑰"
    assert (
        client.get("/api/v1/members/?identity=o-4", **key("members:read")).json()["results"][0]["name"]
        == "客4"
    )
    one = f"/api/v1/members/{members[0].pk}/"
    Identity.objects.create(
        member=members[0], kind="import", value="pos:13800000001", created_at=members[0].created_at
    )
    assert "13800000001" not in client.get(one, **key("members:read")).content.decode()
    whole = client.get(one, **key("members:read", "members:phone")).json()
    assert "13800000001" in [identity["value"] for identity in whole["identities"]]


@pytest.mark.django_db
def test_tags_are_changed_once_per_key(
    client: Client, follower: Callable[..., Member], tag: Callable[[str], Any]
) -> None:
    member, rose = follower(), tag("玫瑰")
    headers = {**key("members:write"), "HTTP_IDEMPOTENCY_KEY": "k-1"}
    for _ in range(2):
        answer = client.post(
            f"/api/v1/members/{member.pk}/tags/",
            {"add": [rose.pk]},
            content_type="application/json",
            **headers,
        )
        assert answer.status_code == 200
        assert [row["name"] for row in answer.json()] == ["玫瑰"]
    assert MemberTag.objects.count() == 1
    gone = client.post(
        "/api/v1/members/999999/tags/",
        {"add": [rose.pk]},
        content_type="application/json",
        **{**headers, "HTTP_IDEMPOTENCY_KEY": "k-2"},
    )
    assert gone.status_code == 404


@pytest.mark.django_db
def test_who_uses_the_mini_program_is_who_follows_the_account(client: Client, sandbox: Sandbox) -> None:
    brand, her = sandbox.account("brand"), sandbox.person("小满")
    given = sandbox.post("accounts", kind="mini", key="mini")
    fields = {name: given[name] for name in ("appid", "secret", "api_base")}
    mini = wechat.set_account(kind=Account.MINI, key="mini", fields=fields)[0]
    assert wechat.test_connection(account_id=mini.pk).ok
    follower = services.member_for_openid(
        account_id=brand.pk, openid=her["openids"][brand.appid], unionid=her["unionid"]
    )
    services.note_follow(identity_id=Identity.objects.get(account=brand).pk, at=follower.created_at)
    address, scope = "/api/v1/members/by-mini-code/", key("members:write")

    def ask(code: str, account: str = "mini", **headers: str) -> Any:
        return client.post(
            address, {"account": account, "code": code}, content_type="application/json", **headers
        )

    code = sandbox.post(f"people/{her['id']}/mini_code", account="mini")["code"]
    assert ask(code).status_code == 401
    assert ask(code, **key("members:read")).status_code == 403
    assert ask(code, "brand", **scope).status_code == 404
    answer = ask(code, **scope)
    assert answer.json()["id"] == follower.pk, "one unionid, one member"
    assert {"kind": "openid", "account": "mini"}.items() <= answer.json()["identities"][-1].items()
    for wrong in (code, "x" * 40, "😀"):
        assert ask(wrong, **scope).status_code == 400
    assert ask("", **scope).status_code == 400
    assert Member.objects.count() == 1
    matrix = account_matrix()
    assert matrix.both[brand.pk, mini.pk] == 1
    assert matrix.everybody == 1
