"""What shoppers find is what there is: a corruption of any of it is found."""

import pytest
from django.db import connection

from core.audits import check_names
from shop import finding_audits, services
from shop.models import Attribute, AttributeValue, Brand, CatalogueFile, Category, Product
from tests.shop import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop():
    """One dress with everything that its document is made of, and an applied file."""
    clothes = Category.objects.create(name="女装")
    dresses = Category.objects.create(name="连衣裙", parent=clothes)
    sku = builders.sku(product_name="法式雾蓝连衣裙", category=dresses, spec={"颜色": "雾蓝"})
    colour = AttributeValue.objects.create(attribute=Attribute.objects.create(name="颜色"), name="雾蓝")
    Product.objects.update(brand=Brand.objects.create(name="池塘"))
    services.refresh_products()
    file = CatalogueFile.objects.create(file_name="a.csv", created_at=sku.product.created_at)
    return {"product": sku.product_id, "sku": sku.pk, "clothes": clothes.pk, "dresses": dresses.pk,
            "value": colour.pk, "file": file.pk}  # fmt: skip


def found():
    checks = (
        finding_audits.search_documents_are_those_of_the_products,
        finding_audits.categories_form_a_tree,
        finding_audits.shelf_schedules_are_kept,
        finding_audits.catalogue_files_moved_what_they_said,
    )
    return {(one.check, one.subject) for check in checks for one in check()}


DOCUMENTS = "shop.search_documents_are_those_of_the_products"


@pytest.mark.parametrize(
    ("corruption", "check", "subject"),
    [
        ("UPDATE shop_product SET search = NULL", DOCUMENTS, "product {product}"),
        ("UPDATE shop_product SET name = '白茶淡香水'", DOCUMENTS, "product {product}"),
        ("UPDATE shop_product SET brand_id = NULL", DOCUMENTS, "product {product}"),
        ("UPDATE shop_product SET category_id = {clothes}", DOCUMENTS, "product {product}"),
        ("UPDATE shop_product SET value_ids = '{{}}'", DOCUMENTS, "product {product}"),
        ("UPDATE shop_product SET sound = 'x'", DOCUMENTS, "product {product}"),
        ("UPDATE shop_brand SET name = '荷'", DOCUMENTS, "product {product}"),
        ("UPDATE shop_sku SET code = 'OTHER'", DOCUMENTS, "product {product}"),
        (
            "UPDATE shop_category SET parent_id = {dresses} WHERE id = {clothes}",
            "shop.categories_form_a_tree",
            "category {clothes}",
        ),
        (
            "UPDATE shop_product SET status = 'draft', on_shelf_at = now() - interval '1 hour'",
            "shop.shelf_schedules_are_kept",
            "product {product}",
        ),
        (
            "UPDATE shop_product SET off_shelf_at = now() - interval '1 hour'",
            "shop.shelf_schedules_are_kept",
            "product {product}",
        ),
        (
            "UPDATE shop_cataloguefile SET applied_at = now()",
            "shop.catalogue_files_moved_what_they_said",
            "catalogue file {file}",
        ),
        (
            "UPDATE shop_stockmovement SET cause = 'catalogue_file:{file}'",
            "shop.catalogue_files_moved_what_they_said",
            "stock movement",
        ),
    ],
)
def test_a_corruption_is_found(shop, corruption, check, subject):
    assert found() == set()
    with connection.cursor() as cursor:
        cursor.execute(corruption.format(**shop))
    assert any(one[0] == check and one[1].startswith(subject.format(**shop)) for one in found())
    assert check in dict(check_names())
