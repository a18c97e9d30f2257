"""What people read when something is refused or broken."""

import pytest
from django.contrib.auth.models import User
from django.template import engines
from django.test import Client
from jinja2 import StrictUndefined, UndefinedError


def test_a_page_left_open_too_long_gets_advice_in_chinese() -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "lina", "password": "x"})
    words = answer.content.decode()
    assert answer.status_code == 403
    assert "没有执行任何操作" in words
    assert "刷新后再试" in words
    assert "CSRF" not in words


def test_a_name_that_a_mobile_page_was_not_given_is_an_error() -> None:
    engine = engines["jinja2"]
    assert engine.env.undefined is StrictUndefined
    with pytest.raises(UndefinedError):
        engine.from_string("{{ forgotten }}").render({})


@pytest.mark.django_db
def test_roles_and_their_rights_are_chosen_in_chinese(client: Client) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    words = client.get("/admin/auth/group/add/").content.decode()
    assert "会员 · 会员：可查看完整手机号" in words
    assert "角色" in words
    assert "Can view" not in words


@pytest.mark.django_db
def test_the_audit_names_its_checks_in_chinese(client: Client) -> None:
    from core.audits import check_names

    client.force_login(User.objects.create_superuser("boss"))
    assert client.get("/admin/audit/").status_code == 200
    for name, label in check_names():
        assert any("一" <= letter <= "鿿" for letter in label), name
