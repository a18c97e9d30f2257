"""Two people edit one record at once: the second to save is told so and changes nothing."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files import File
from django.db import connection
from django.test import Client
from django.urls import reverse

from crm.models import Tag, TagGroup
from shop.models import Brand, Product
from tests.shop import builders

pytestmark = pytest.mark.django_db

REFUSED = "您填写的内容没有保存"


@pytest.fixture
def two() -> list[Client]:
    """小明 and 小红, each at her own desk."""
    desks = []
    for name in ("小明", "小红"):
        desks.append(Client())
        desks[-1].force_login(User.objects.create_superuser(f"u{len(desks)}", first_name=name))
    return desks


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def inputs(form: Any) -> Iterator[tuple[str, Any]]:
    for one in form:
        value = one.value()
        if value is not None and value is not False and not isinstance(value, File):
            prepared = one.field.prepare_value(value)
            yield one.html_name, "on" if value is True else prepared


def opened(client: Client, address: str) -> dict[str, Any]:
    """What a browser would send if nothing were touched on the page."""
    answer = client.get(address)
    assert answer.status_code == 200
    html = answer.content.decode()
    seen = re.findall(r'name="_seen" value="([^"]+)"', html)
    assert len(seen) == 1
    assert html.index("<form") < html.index('name="_seen"') < html.rindex("</form>")
    data = dict(inputs(answer.context["adminform"].form))
    for one in answer.context["inline_admin_formsets"]:
        data |= dict(inputs(one.formset.management_form))
        for form in one.formset.forms:
            data |= dict(inputs(form))
    return data | {"_seen": seen[0], "_continue": "1"}


def saved(client: Client, address: str, data: dict[str, Any]) -> bool:
    answer = client.post(address, data)
    if answer.status_code == 302:
        return True
    assert (answer.status_code, REFUSED in answer.content.decode()) == (200, True)
    return False


def test_the_second_is_refused_until_she_reads_the_page_anew(two: list[Client]) -> None:
    brand = Brand.objects.create(name="山水", position=1)
    first, second = (opened(client, page_of(brand)) for client in two)
    assert saved(two[0], page_of(brand), first | {"name": "山水间"})
    answer = two[1].post(page_of(brand), second | {"position": "7"})
    html = answer.content.decode()
    assert (answer.status_code, "被 小明 于" in html) == (200, True), html
    assert 'value="7"' in html  # what she typed is kept
    assert not saved(two[1], page_of(brand), second | {"position": "8"})  # and stays refused
    brand.refresh_from_db()
    assert (brand.name, brand.position) == ("山水间", 1)
    assert saved(two[1], page_of(brand), opened(two[1], page_of(brand)) | {"position": "7"})
    assert saved(two[1], page_of(brand), opened(two[1], page_of(brand)) | {"position": "9"})
    brand.refresh_from_db()
    assert (brand.name, brand.position) == ("山水间", 9)


def test_pressing_twice_is_no_conflict_and_a_form_without_the_digest_is_taken(two: list[Client]) -> None:
    brand = Brand.objects.create(name="山水")
    data = opened(two[0], page_of(brand)) | {"name": "山水间"}
    assert [saved(two[0], page_of(brand), data) for _ in range(2)] == [True, True]
    del data["_seen"]
    assert saved(two[0], page_of(brand), data | {"name": "山"})
    for forged in ("", "x", f"{'9' * 400}.x", "1.", "²"):
        assert not saved(two[0], page_of(brand), data | {"name": "水", "_seen": forged})
    assert Brand.objects.get().name == "山"


def test_rows_below_count(two: list[Client]) -> None:
    group = TagGroup.objects.create(name="爱好")
    tag, other = (Tag.objects.create(group=group, name=name) for name in ("茶", "花"))
    address = page_of(group)
    first, second = (opened(client, address) for client in two)
    assert saved(two[0], address, first | {"tags-0-name": "绿茶"})
    assert not saved(two[1], address, second | {"tags-1-name": "鲜花", "name": "喜好"})
    assert set(Tag.objects.values_list("name", flat=True)) == {"绿茶", "花"}
    assert TagGroup.objects.get().name == "爱好"

    late = opened(two[1], address)
    Tag.objects.filter(pk=other.pk).delete()
    assert not saved(two[1], address, late | {"tags-0-name": "红茶"})
    tag.refresh_from_db()
    assert tag.name == "绿茶"


def test_what_changes_by_itself_does_not_count(two: list[Client]) -> None:
    sku = builders.sku(stock=5)
    address = page_of(sku.product)
    data = opened(two[0], address)
    Product.objects.update(sold_count=9)
    builders.order(builders.member(), (sku, 2))
    assert saved(two[0], address, data | {"subtitle": "新到"})
    assert Product.objects.get().subtitle == "新到"
    clerk = User.objects.create_user("clerk")
    data = opened(two[0], page_of(clerk)) | {"date_joined_0": "2026-01-05", "date_joined_1": "10:00"}
    two[1].force_login(clerk)
    assert saved(two[0], page_of(clerk), data | {"first_name": "小李"})


def test_a_list_that_is_edited_in_the_list(two: list[Client]) -> None:
    brands = [Brand.objects.create(name=name, position=place) for place, name in enumerate("山水")]
    address = reverse("admin:shop_brand_changelist")

    def listed(client: Client) -> dict[str, Any]:
        answer = client.get(address)
        html = answer.content.decode()
        carried = dict(re.findall(r'name="(initial-form-\d-\w+)" value="([^"]*)"', html))
        assert len(carried) == 4
        formset = answer.context["cl"].formset
        data = dict(inputs(formset.management_form)) | carried | {"_save": "1"}
        for form in formset.forms:
            data |= dict(inputs(form))
        return data

    first, second = (listed(client) for client in two)
    assert saved(two[0], address, first | {"form-0-position": "5"})
    assert not saved(two[1], address, second | {"form-0-position": "6"})
    unticked = {name: value for name, value in second.items() if name != "form-0-is_active"}
    assert not saved(two[1], address, unticked)  # would write the old position too
    assert saved(two[0], address, first | {"form-0-position": "5"})  # pressed twice
    assert saved(two[1], address, second | {"form-1-position": "8"})  # another row
    assert list(Brand.objects.order_by("pk").values_list("position", "is_active")) == [(5, True), (8, True)]
    plain = {name: value for name, value in second.items() if not name.startswith("initial-")}
    assert saved(two[1], address, plain | {"form-0-position": "4"})
    brands[0].refresh_from_db()
    assert brands[0].position == 4


@pytest.mark.django_db(transaction=True)
def test_at_the_same_moment_one_wins(two: list[Client]) -> None:
    brand = Brand.objects.create(name="山水")
    pages = [opened(client, page_of(brand)) | {"name": f"山水{n}"} for n, client in enumerate(two)]

    def save(place: int) -> bool:
        try:
            return saved(two[place], page_of(brand), pages[place])
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(save, range(2)))
    assert sorted(results) == [False, True]
    assert Brand.objects.get().name == f"山水{results.index(True)}"
