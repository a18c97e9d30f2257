"""What no page of the admin sends, a hand-made address or form does: every page refuses it, none breaks."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import User
from django.contrib.messages.storage.cookie import CookieStorage
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver

from core.admin import forged

pytestmark = pytest.mark.django_db

NONE = ("²", "9" * 5_000)


def asked(user: User, method: str = "get", /, **values: Any) -> Any:
    request = getattr(RequestFactory(), method)("/admin/", values)
    request.user, request.resolver_match = user, None
    request._dont_enforce_csrf_checks = True
    request._messages = CookieStorage(request)
    return request


def said(request: Any) -> str:
    return "".join(str(message) for message in request._messages)


def addresses() -> Iterator[tuple[Any, URLPattern]]:
    """Of every page of the admin that is about one row: the row's model, and the address as the house has it."""
    (office,) = (one for one in get_resolver().url_patterns if getattr(one, "app_name", "") == "admin")
    for part in office.url_patterns:
        if not isinstance(part, URLResolver):
            continue
        model = apps.get_model(*str(part.pattern).split("/")[:2])
        for one in part.url_patterns:
            if isinstance(one, URLPattern) and "object_id" in one.pattern.converters:
                yield model, one


def test_no_page_breaks_at_a_row_that_cannot_be(admin_user: User) -> None:
    missed = set()
    for model, address in addresses():
        for value in NONE:
            if forged.may_name(model._meta.pk, value):
                continue  # a row named by words
            request = asked(admin_user)
            answer = address.callback(request, object_id=value)
            assert (answer.status_code, answer.url) == (302, "/admin/"), (address, value)
            assert "内容不存在" in said(request)
            missed.add(model)
    assert len(missed) > 100


def test_no_list_breaks_at_a_choice_that_cannot_be(admin_user: User) -> None:
    for page in admin.site._registry.values():
        if forged.may_name(page.opts.pk, "²"):
            continue
        request = asked(admin_user, "post", action="delete_selected", _selected_action=["1", "²"])
        assert page.response_action(request, page.model._default_manager.all()) is None, page
        assert "没有做任何修改" in said(request)


def test_no_list_breaks_at_a_filter_that_is_none(admin_user: User) -> None:
    for page in admin.site._registry.values():
        names = [one[0] if isinstance(one, tuple) else one for one in page.list_filter]
        fields = {f"{name}__exact": "²" for name in names if isinstance(name, str)}
        own = {name.parameter_name: "²" for name in names if not isinstance(name, str)}
        try:
            found = page.get_changelist_instance(
                asked(admin_user, **fields, **own, o="zzz.-9.²", p="-1", _changelist_filters="\x00=%FF")
            )
        except IncorrectLookupParameters:
            continue  # Django shows the whole list then
        assert all(list(one.choices(found)) is not None for one in found.filter_specs)


def test_no_related_field_breaks_when_its_form_is_drawn_again(admin_user: User) -> None:
    request, seen = asked(admin_user), set()
    for page in admin.site._registry.values():
        for part in (page, *(inline(page.model, admin.site) for inline in page.inlines)):
            for name in {*part.autocomplete_fields, *part.raw_id_fields}:
                field = part.formfield_for_dbfield(part.model._meta.get_field(name), request)
                for value in NONE:
                    assert field.widget.render(name, [value] if "ultiple" in type(field).__name__ else value)
                seen.add(f"{part.model._meta.model_name}.{name}")
    assert {"mallitem.sku", "mallitem.coupon", "bundleitem.sku", "promotion.products"} <= seen


def test_a_forged_form_is_refused_on_its_field(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)
    for sku in ("²", "很" * 10_000):
        answer = client.post("/admin/shop/mallitem/add/", {"sku": sku, "coupon": "9" * 30, "kind": "goods"})
        form = answer.context_data["adminform"].form  # type: ignore[attr-defined]
        assert answer.status_code == 200
        assert "该选择不在可用的选项中" in str(form.errors["sku"])
        assert "该选择不在可用的选项中" in str(form.errors["coupon"])


def test_a_refusal_that_a_page_does_not_expect_is_said(
    client: Client, admin_user: User, caplog: pytest.LogCaptureFixture
) -> None:
    client.force_login(admin_user)
    answer = client.get("/admin/wechat/account/987654321/test-connection/", follow=True)
    lines = [record.msg for record in caplog.records if record.name == "request"]
    (line,) = [line for line in lines if line["event"] == "refused" or line["status"] == 302]
    assert (line["level"], line["status"], line["codes"]) == ("warning", 302, ["no_such_account"])
    assert len(line["request_id"]) == 32
    assert answer.redirect_chain == [("/admin/wechat/account/", 302)]
    assert "内容不存在" in answer.content.decode()
    assert client.get("/admin/search/?s=a&page=zzz").status_code == 404


def test_choices_that_nobody_offers_are_refused(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)
    asked_for = {"app_label": "crm", "model_name": "staff", "term": "²\x00" + "9" * 5_000}
    answers = [
        client.get("/admin/autocomplete/", {**asked_for, **more}).status_code
        for more in (
            {"field_name": "codes"},
            {"field_name": "store"},
            {"field_name": "store", "page": "²"},
            {},
        )
    ]
    assert answers == [403, 200, 404, 403]
