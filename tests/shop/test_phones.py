"""Whole phone numbers on the shop's pages of facts: for whom may see them, noted, and never by another's request."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client, RequestFactory
from django.urls import reverse

from core import clock
from crm import services as crm_services
from crm.models import PhoneLook
from shop import services
from shop.models import MallExchange, Order
from tests.shop import builders
from tests.shop.test_mall import address_of, an_item, rich

pytestmark = pytest.mark.django_db
WHOLE = str(builders.ADDRESS.phone)


@pytest.fixture
def pages() -> dict[str, Any]:
    """Addresses of the pages of an order and of an exchange of goods, with what their looks are about."""
    crm_services.prepare_timeline(since=clock.today(), until=clock.today() + timedelta(days=70))
    buyer = rich()
    order = builders.order(buyer, (builders.sku(), 1))
    Order.objects.filter(pk=order.pk).update(phone=WHOLE)
    done = services.exchange_points(
        item_id=an_item(100, sku=builders.sku()).pk, member_id=buyer.pk, key="a", address_id=address_of(buyer)
    )
    return {
        f"order:{order.number}": reverse("admin:shop_order_change", args=[order.pk]),
        f"mall:{done.pk}": reverse("admin:shop_mallexchange_change", args=[done.pk]),
    }


def blind() -> User:
    user = User.objects.create_user("blind", is_staff=True)
    names = ["view_order", "view_mallexchange"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


def test_only_who_may_see_whole_numbers_does_and_is_noted(client: Client, pages: dict[str, Any]) -> None:
    client.force_login(blind())
    for page in pages.values():
        shown = client.get(page).content.decode()
        assert (WHOLE in shown, f"{WHOLE[:3]}****{WHOLE[-4:]}" in shown) == (False, True)
    assert not PhoneLook.objects.exists()
    client.force_login(User.objects.create_superuser("boss"))
    for page in pages.values():
        assert WHOLE in client.get(page).content.decode()
    assert list(PhoneLook.objects.order_by("pk").values_list("subject", "page")) == list(pages.items())
    assert "/mallexchange/" in client.get(reverse("admin:crm_phonelook_changelist")).content.decode()


@pytest.mark.parametrize("model", [Order, MallExchange])
def test_two_requests_at_once_do_not_show_each_others_numbers(
    pages: dict[str, Any], model: Any, rf: RequestFactory
) -> None:
    """Pages of the admin are one object for all threads, and rendered after all of it was decided."""
    row, page = model.objects.get(), admin.site._registry[model]

    def asked(user: User) -> Any:
        request = rf.get(reverse(f"admin:shop_{model._meta.model_name}_change", args=[row.pk]))
        request.user, request.session = user, {}  # type: ignore[assignment]
        return page.changeform_view(request, str(row.pk))

    hers, his = asked(blind()), asked(User.objects.create_superuser("boss"))
    assert WHOLE not in hers.render().content.decode()
    assert WHOLE in his.render().content.decode()
