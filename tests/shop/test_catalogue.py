"""Shelves, search, prices, pictures, the cart."""

import io

import pytest
from PIL import Image

from core.errors import Refusal
from shop import queries, services
from shop.errors import BadQuantity, NoSuchProduct, NotForSale
from shop.models import Category, Product, ProductImage, Sku
from shop.services import AddressInput
from tests.shop import builders

pytestmark = pytest.mark.django_db


def picture(width: int = 900, height: int = 1200, mode: str = "RGB") -> io.BytesIO:
    out = io.BytesIO()
    Image.new(mode, (width, height), "red").save(out, "PNG")
    out.seek(0)
    return out


def names(page):
    return [row.name for row in page.rows]


def test_the_list_is_one_statement_whatever_is_on_it(django_assert_num_queries, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    for number in range(3):
        sku = builders.sku(product_name=f"商品 {number}", price_fen=1000 * (number + 1), list_price_fen=9_999)
        services.save_product_image(product_id=sku.product_id, file=picture(), name="a.png")
    with django_assert_num_queries(1):
        page = queries.product_list(page_size=2)
    assert (names(page), page.has_next) == (["商品 2", "商品 1"], True)
    row = page.rows[0]
    assert (row.min_price_fen, row.list_price_fen, row.is_sold_out) == (3000, 9_999, False)
    assert (row.image_width, row.image_height) == (900, 1200)
    assert row.image_url.startswith("/media/products/")
    assert names(queries.product_list(after=page.after, page_size=2)) == ["商品 0"]
    assert names(queries.product_list(sort="price")) == ["商品 0", "商品 1", "商品 2"]
    assert names(queries.product_list(sort="no such word")) == ["商品 2", "商品 1", "商品 0"]


def test_a_category_shows_what_is_below_it():
    clothes = Category.objects.create(name="女装")
    dresses = Category.objects.create(name="连衣裙", parent=clothes)
    builders.sku(product_name="真丝裙", category=dresses)
    builders.sku(product_name="香水", category=Category.objects.create(name="香氛"))
    assert names(queries.product_list(category=clothes.pk)) == ["真丝裙"]
    assert [(row.name, row.depth) for row in queries.categories()] == [
        ("女装", 0),
        ("连衣裙", 1),
        ("香氛", 0),
    ]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("连衣裙", {"法式雾蓝连衣裙"}),
        ("衣裙", {"法式雾蓝连衣裙"}),
        ("裙", {"法式雾蓝连衣裙", "百褶半裙"}),
        ("雾蓝 连衣裙", {"法式雾蓝连衣裙"}),
        ("真丝 半裙", set()),
        ("silk", {"Silk 真丝方巾"}),
        ("SIL", {"Silk 真丝方巾"}),
        ("ＳＩＬＫ", {"Silk 真丝方巾"}),
        ("香氛", {"白茶淡香水"}),  # by its category
        ("白茶'x 香水", set()),
        ("'; DROP TABLE shop_product; --", set()),
        ("！！", set()),
        ("   ", {"法式雾蓝连衣裙", "百褶半裙", "Silk 真丝方巾", "白茶淡香水"}),
    ],
)
def test_search_finds_chinese_words_of_any_length(typed, found):
    for name in ("法式雾蓝连衣裙", "百褶半裙", "Silk 真丝方巾"):
        builders.sku(product_name=name)
    builders.sku(product_name="白茶淡香水", category=Category.objects.create(name="香氛"))
    assert set(names(queries.product_list(search=typed))) == found


def test_search_can_use_its_index():
    from django.db import connection

    Product.objects.bulk_create(
        Product(
            name=f"商品{number}",
            status="on_sale",
            created_at="2026-01-01T00:00Z",
            updated_at="2026-01-01T00:00Z",
        )
        for number in range(2000)
    )
    builders.sku(product_name="法式雾蓝连衣裙")
    services.refresh_products()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE shop_product")
        # So few rows may be read as fast without; what must not be is an index that does not fit the condition.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN SELECT id FROM shop_product WHERE search @@ '''连衣'' & ''衣裙'''::tsquery")
        assert "product_search" in "".join(row[0] for row in cursor.fetchall())


def test_drafts_are_hidden_and_what_was_taken_off_is_shown_without_offers():
    sku = builders.sku()
    assert queries.product_page(sku.product_id).available == 10
    services.set_products_status(product_ids=[sku.product_id], status="off")
    page = queries.product_page(sku.product_id)
    assert (page.skus, page.available) == ([], 0)
    Product.objects.update(status="draft")
    with pytest.raises(NoSuchProduct):
        queries.product_page(sku.product_id)


def test_a_product_page_costs_three_statements_and_knows_its_choices(django_assert_max_num_queries):
    first = builders.sku(name="雾蓝 S", spec={"颜色": "雾蓝", "尺码": "S"}, price_fen=29_900)
    for number, (colour, size) in enumerate((("雾蓝", "M"), ("米白", "S")), start=1):
        builders.sku(
            product=first.product,
            spec={"颜色": colour, "尺码": size},
            price_fen=19_900,
            position=number,
            stock=0,
        )
    with django_assert_max_num_queries(3):
        page = queries.product_page(first.product_id)
    assert page.specs == {"颜色": ["雾蓝", "米白"], "尺码": ["S", "M"]}
    assert [sku.available for sku in page.skus] == [10, 0, 0]
    assert (page.min_price_fen, page.max_price_fen) == (19_900, 29_900)


def test_a_picture_keeps_its_size_and_gets_a_light_thumbnail(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    sku = builders.sku()
    for mode in ("RGB", "RGBA", "P"):
        services.save_product_image(product_id=sku.product_id, file=picture(mode=mode), name="x.png")
    image = ProductImage.objects.order_by("position").first()
    assert (image.width, image.height) == (900, 1200)
    with Image.open(image.thumbnail) as thumbnail:
        assert thumbnail.size == (480, 640)
    with pytest.raises(Refusal):
        services.save_product_image(product_id=sku.product_id, file=io.BytesIO(b"no picture"))
    assert ProductImage.objects.count() == 3


def test_detail_keeps_what_is_harmless_only():
    dirty = (
        '<p onclick="x()">好<script>alert(1)</script><a href="https://evil.example">链接</a></p>'
        '<img src="https://cdn.example/a.jpg" style="x"><img src="javascript:alert(1)"><img src="//evil.example/a">'
        '<img src="/media/a.jpg"><iframe src="https://evil.example"></iframe>'
    )
    clean = services.clean_detail(dirty)
    assert clean == ('<p>好链接</p><img src="https://cdn.example/a.jpg"><img><img><img src="/media/a.jpg">')


def test_a_copy_is_a_draft_without_stock():
    sku = builders.sku()
    copy = services.duplicate_product(product_id=sku.product_id)
    made = copy.skus.get()
    assert (copy.status, made.price_fen, made.stocks.count()) == ("draft", sku.price_fen, 0)
    assert made.code != sku.code


def test_only_what_has_a_sku_goes_on_sale():
    good, empty = builders.sku().product, builders.sku()
    Product.objects.update(status="draft")
    Sku.objects.filter(pk=empty.pk).update(is_active=False)
    changed, refused = services.set_products_status(product_ids=[good.pk, empty.product_id], status="on_sale")
    assert (changed, refused) == (1, [empty.product.name])


def test_sold_pieces_are_counted_from_paid_orders():
    dress, scarf = builders.sku(), builders.sku()
    builders.pay(builders.order(builders.member(), (dress, 3), (scarf, 1)))
    builders.order(builders.member(), (dress, 1))
    assert services.refresh_sold_counts() == 2
    assert services.refresh_sold_counts() == 0
    assert Product.objects.get(pk=dress.product_id).sold_count == 3


def test_the_cart_shows_prices_and_stock_of_now(django_assert_num_queries):
    buyer, dress, scarf, hat = builders.member(), *(builders.sku(stock=3, price_fen=5_000) for _ in range(3))
    for sku in (dress, scarf, hat):
        services.add_to_cart(member_id=buyer.pk, sku_id=sku.pk, quantity=2)
    services.add_to_cart(member_id=buyer.pk, sku_id=dress.pk, quantity=2)
    Sku.objects.filter(pk=scarf.pk).update(price_fen=4_000)
    services.adjust_stock(sku_id=hat.pk, change=-3, cause="broken")
    with django_assert_num_queries(1):
        cart = queries.cart_of(buyer.pk)
    rows = {row.sku_id: row for row in cart.lines}
    assert (rows[dress.pk].problem, rows[dress.pk].quantity) == ("short", 4)
    assert (rows[scarf.pk].problem, rows[scarf.pk].price_changed_fen) == ("", -1_000)
    assert rows[hat.pk].problem == "sold_out"
    assert (cart.total_fen, cart.count, queries.cart_count(buyer.pk)) == (8_000, 8, 8)
    checkout = queries.checkout_of(buyer.pk, [(scarf.pk, 2)])
    assert (checkout.total_fen, checkout.problems) == (8_000, [])
    assert len(queries.checkout_of(buyer.pk).problems) == 2


def test_cart_quantities_are_kept_within_reason():
    buyer, dress = builders.member(), builders.sku()
    services.add_to_cart(member_id=buyer.pk, sku_id=dress.pk, quantity=999)
    assert services.add_to_cart(member_id=buyer.pk, sku_id=dress.pk, quantity=5).quantity == 999
    with pytest.raises(BadQuantity):
        services.set_cart_line(member_id=buyer.pk, sku_id=dress.pk, quantity=1000)
    assert services.set_cart_line(member_id=buyer.pk, sku_id=dress.pk, quantity=2).quantity == 2
    assert services.set_cart_line(member_id=buyer.pk, sku_id=dress.pk, quantity=0) is None
    Sku.objects.update(is_active=False)
    with pytest.raises(NotForSale):
        services.add_to_cart(member_id=buyer.pk, sku_id=dress.pk)
    assert queries.cart_count(buyer.pk) == 0


def test_wechats_own_address_is_saved_like_a_typed_one():
    buyer = builders.member()
    picked = AddressInput.from_wechat(
        {
            "userName": "王小池",
            "telNumber": "138 0000 0001",
            "provinceName": "上海市",
            "cityName": "上海市",
            "countryName": "静安区",
            "detailInfo": "延平路 1 号 2 室",
            "postalCode": "200042",
        }
    )
    first = services.save_address(member_id=buyer.pk, address=picked)
    again = services.save_address(member_id=buyer.pk, address=picked)
    assert first.pk == again.pk
    second = services.save_address(member_id=buyer.pk, address=builders.ADDRESS, is_default=True)
    assert [row.pk for row in queries.addresses_of(buyer.pk)] == [second.pk, first.pk]
    services.delete_address(member_id=buyer.pk, address_id=second.pk)
    assert queries.default_address(buyer.pk).is_default
