"""The shop's words in the rules of segments."""

import pytest

from core import clock
from crm import queries
from crm.services import record_activity
from shop.models import Category, Product
from tests.shop import builders


@pytest.mark.django_db
def test_a_category_means_its_products_and_those_on_the_shelves_below() -> None:
    scents = Category.objects.create(name="香氛")
    perfume = Category.objects.create(name="香水", parent=scents)
    candles = Category.objects.create(name="蜡烛")
    sku, member = builders.sku(), builders.member()
    Product.objects.filter(pk=sku.product_id).update(category=perfume)
    for _look in range(3):
        record_activity(
            member_id=member.pk, kind="viewed_product", at=clock.now(), subject=f"product:{sku.product_id}"
        )

    def found(category: Category, times: int) -> set[int]:
        value = {
            "kind": "viewed_product",
            "subjects": [f"category:{category.pk}"],
            "times": times,
            "days": 14,
        }
        return set(queries.segment_member_ids({"field": "fact", "op": "at_least", "value": value}))

    assert found(scents, 3) == found(perfume, 3) == {member.pk}
    assert found(scents, 4) == found(candles, 1) == set()
