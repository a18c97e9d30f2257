"""Finding: by Chinese words, pinyin, brand, code; filters with their counts; what was mistyped."""

import json
from urllib.parse import quote

import pytest
from django.db import connection
from django.urls import reverse
from hypothesis import example, given
from hypothesis import strategies as st

from core import clock, tokens
from shop import finding, queries, rules, services
from shop.models import Attribute, AttributeValue, Brand, Category, Product
from tests.shop import builders


def names(page):
    return {row.name for row in page.rows}


def values(attribute, *words):
    owner, _made = Attribute.objects.get_or_create(name=attribute)
    return [AttributeValue.objects.get_or_create(attribute=owner, name=word)[0] for word in words]


def put(name, *, brand=None, worth=(), **options):
    """A product on sale with brand and attribute values."""
    sku = builders.sku(product_name=name, **options)
    Product.objects.filter(pk=sku.product_id).update(brand=brand)
    sku.product.values.set(worth)
    services.refresh_products(product_ids=[sku.product_id])
    return sku.product


@pytest.fixture
def shelves(db):
    """Four products of two brands in two levels of categories."""
    clothes = Category.objects.create(name="女装")
    dresses = Category.objects.create(name="连衣裙", parent=clothes)
    scents = Category.objects.create(name="香氛")
    pond, lotus = Brand.objects.create(name="池塘", aliases="Pond"), Brand.objects.create(name="荷")
    silk, linen = values("材质", "真丝", "亚麻")
    (blue,) = values("颜色", "雾蓝")
    put(
        "法式雾蓝连衣裙", brand=pond, worth=[silk], category=dresses, price_fen=129_900, spec={"颜色": "雾蓝"}
    )
    put("森系亚麻长裙", brand=lotus, worth=[linen], category=dresses, price_fen=59_900, stock=0)
    put("百褶半裙", brand=pond, worth=[linen], category=clothes, price_fen=39_900)
    put("白茶淡香水", brand=lotus, category=scents, price_fen=26_800)
    return {"clothes": clothes, "dresses": dresses, "pond": pond, "lotus": lotus, "silk": silk, "linen": linen,
            "blue": blue}  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("裙子", {"法式雾蓝连衣裙", "森系亚麻长裙", "百褶半裙"}),
        ("衣裙", {"法式雾蓝连衣裙", "森系亚麻长裙"}),  # the second by its category
        ("lianyiqun", {"法式雾蓝连衣裙", "森系亚麻长裙"}),
        ("wulan", {"法式雾蓝连衣裙"}),
        ("wllyq", {"法式雾蓝连衣裙"}),
        ("fashiwulanlianyiqun", {"法式雾蓝连衣裙"}),  # longer than what one token keeps
        ("changqun", {"森系亚麻长裙"}),
        ("lian yi", {"法式雾蓝连衣裙", "森系亚麻长裙"}),
        ("pond", {"法式雾蓝连衣裙", "百褶半裙"}),
        ("池塘 裙", {"法式雾蓝连衣裙", "百褶半裙"}),
        ("真丝", {"法式雾蓝连衣裙"}),  # by its attribute
        ("=c1", set()),
        ("xyz", set()),
    ],
)
def test_it_is_found_by_words_sound_brand_and_attribute(shelves, typed, found):
    assert names(queries.product_list(search=typed)) == found


def test_a_homophone_is_heard_and_a_slip_is_guessed(shelves):
    assert names(queries.product_list(search="莲衣群")) == set()
    assert names(queries.product_list(search="莲衣群", by_sound=True)) == {"法式雾蓝连衣裙", "森系亚麻长裙"}
    assert queries.meant("wulanlianyqun")[0] == "法式雾蓝连衣裙"
    Category.objects.create(name="羊绒围巾")  # of goods whose names say something else
    assert queries.meant("yanrongweijin")[0] == "羊绒围巾"
    assert queries.meant("百摺半群")[0] == "百褶半裙"
    assert queries.meant("q") == queries.meant("！！") == []


def test_filters_hold_together_and_alternatives_widen(shelves, django_assert_num_queries):
    material = shelves["silk"].attribute_id

    def found(**chosen):
        return names(queries.product_list(filters=finding.Filters(**chosen)))

    with django_assert_num_queries(1):
        both = found(
            category_id=shelves["clothes"].pk, values={material: (shelves["silk"].pk, shelves["linen"].pk)}
        )
    assert both == {"法式雾蓝连衣裙", "森系亚麻长裙", "百褶半裙"}
    assert found(brand_ids=(shelves["pond"].pk,), values={material: (shelves["linen"].pk,)}) == {"百褶半裙"}
    assert found(values={shelves["blue"].attribute_id: (shelves["blue"].pk,)}) == {
        "法式雾蓝连衣裙"
    }  # from its SKU
    assert found(low_fen=30_000, high_fen=60_000) == {"森系亚麻长裙", "百褶半裙"}
    assert found(low_fen=30_000, high_fen=60_000, in_stock=True) == {"百褶半裙"}
    assert found(brand_ids=(10**17,)) == set()


def test_counts_leave_their_own_filter_out(shelves, django_assert_num_queries):
    chosen = finding.Filters(brand_ids=(shelves["pond"].pk,))
    with django_assert_num_queries(1):
        counts = queries.facets(search="裙", filters=chosen)
    assert (counts.total, counts.is_estimated, counts.in_stock) == (2, False, 2)
    assert (counts.least_fen, counts.most_fen) == (39_900, 129_900)
    shown = {group.key: {value.name: value.count for value in group.values} for group in counts.groups}
    material, colour = f"a{shelves['silk'].attribute_id}", f"a{shelves['blue'].attribute_id}"
    assert shown == {"brand": {"池塘": 2, "荷": 1}, material: {"真丝": 1, "亚麻": 1}, colour: {"雾蓝": 1}}
    assert queries.facets(search="！！").total == 0


def test_what_is_left_is_counted_again(shelves):
    dress = Product.objects.get(name="法式雾蓝连衣裙")
    services.adjust_stock(sku_id=dress.skus.get().pk, change=-10, cause="gone")
    assert services.refresh_stock_marks() == 1
    assert services.refresh_stock_marks() == 0
    assert "法式雾蓝连衣裙" not in names(queries.product_list(filters=finding.Filters(in_stock=True)))


def test_renaming_a_brand_or_moving_a_category_is_found_at_once(shelves, admin_client):
    brand = shelves["pond"]
    form = {"name": "涟漪", "aliases": "", "position": 0, "is_active": "on", "story": ""}
    assert admin_client.post(reverse("admin:shop_brand_change", args=[brand.pk]), form).status_code == 302
    assert names(queries.product_list(search="lianyi 半裙")) == {"百褶半裙"}
    moved = {"name": "连衣裙", "parent": "", "position": 0, "is_active": "on"}
    address = reverse("admin:shop_category_change", args=[shelves["dresses"].pk])
    assert admin_client.post(address, moved).status_code == 302
    assert names(queries.product_list(category=shelves["clothes"].pk)) == {"百褶半裙"}


def test_suggestions_name_brands_shelves_and_goods(shelves, client, django_assert_num_queries):
    with django_assert_num_queries(1):
        found = queries.suggestions("连衣")
    assert [(one.kind, one.name) for one in found[:2]] == [
        ("category", "连衣裙"),
        ("product", "法式雾蓝连衣裙"),
    ]
    assert [(one.kind, one.name) for one in queries.suggestions("po")][:1] == [("brand", "池塘")]
    assert queries.suggestions("%") == []
    page = client.get(reverse("shop:suggest"), {"q": "wulan"})
    assert "法式雾蓝连衣裙" in page.content.decode()


def test_the_filters_stay_in_the_address(shelves, client):
    material = shelves["silk"].attribute_id
    chosen = {
        "q": "裙",
        f"a{material}": shelves["linen"].pk,
        "brand": shelves["pond"].pk,
        "low": "100",
        "stock": "1",
    }
    page = client.get(reverse("shop:search"), chosen).content.decode()
    assert "百褶半裙" in page
    assert "法式雾蓝连衣裙" not in page
    assert page.count('data-test="filter-on"') == 4
    assert f"brand={shelves['pond'].pk}&amp;a{material}={shelves['linen'].pk}&amp;low=100&amp;stock=1" in page
    drawer = client.get(reverse("shop:filters"), chosen, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in drawer
    assert drawer.count(" checked") == 3
    assert 'value="100"' in drawer
    alone = client.get(
        reverse("shop:filters"), {"category": shelves["dresses"].pk, "high": "700"}
    ).content.decode()
    assert "<html" in alone
    assert f'action="/category/{shelves["dresses"].pk}/"' in alone
    shelf = client.get(
        reverse("shop:category", args=[shelves["dresses"].pk]), {"high": "700"}
    ).content.decode()
    assert "森系亚麻长裙" in shelf
    assert "法式雾蓝连衣裙" not in shelf
    empty = client.get(reverse("shop:search"), {"q": "裙", "low": "9999"}).content.decode()
    assert "没有同时符合" in empty


def test_nonsense_in_the_address_is_left_out(shelves, client):
    nonsense = {"q": "裙", "brand": ["-1", "x", "9" * 18, "😀"], "a99999999999": "1", "a1": "'; DROP", "low": "-5",
                "high": "1e9", "stock": "yes", "page": "-1", "sort": "evil"}  # fmt: skip
    page = client.get(reverse("shop:search"), nonsense)
    assert page.status_code == 200
    assert client.get(reverse("shop:filters"), nonsense).status_code == 200
    assert (
        client.get(reverse("shop:search"), {"q": "长" * 10_000, "low": "8", "high": "3"}).status_code == 200
    )
    assert client.get(reverse("shop:filters"), {"category": "9" * 30}).status_code == 200


def test_a_wrong_word_leads_on(shelves, client):
    heard = client.get(reverse("shop:search"), {"q": "莲衣群"}).content.decode()
    assert "法式雾蓝连衣裙" in heard
    assert "读音" in heard
    guessed = client.get(reverse("shop:search"), {"q": "wulanlianyqun"}).content.decode()
    assert 'data-test="meant"' in guessed
    assert "法式雾蓝连衣裙" in guessed


def test_the_shelf_opens_and_closes_when_its_time_has_come(shelves):
    dress, skirt = Product.objects.get(name="法式雾蓝连衣裙"), Product.objects.get(name="百褶半裙")
    moment = clock.now()
    Product.objects.filter(pk=dress.pk).update(status="draft", on_shelf_at=moment)
    Product.objects.filter(pk=skirt.pk).update(off_shelf_at=moment)
    empty = Product.objects.create(
        name="没有规格", status="draft", on_shelf_at=moment, created_at=moment, updated_at=moment
    )
    assert services.shelve_due_products() == 2
    assert services.shelve_due_products() == 0
    dress.refresh_from_db(), skirt.refresh_from_db(), empty.refresh_from_db()
    assert (dress.status, dress.on_shelf_at, skirt.status) == ("on_sale", None, "off")
    assert (empty.status, empty.on_shelf_at) == ("draft", moment)  # waits for a SKU


def test_what_goes_with_a_product_is_chosen_or_from_its_shelf(shelves):
    dress, skirt = Product.objects.get(name="法式雾蓝连衣裙"), Product.objects.get(name="百褶半裙")
    assert [row.name for row in queries.goes_with(dress.pk)] == ["森系亚麻长裙"]
    dress.related.set([skirt])
    assert [row.name for row in queries.goes_with(dress.pk)] == ["百褶半裙"]
    assert queries.goes_with(0) == []


def test_properties_stand_in_the_order_of_the_name():
    kept = {"尺码": "S", "颜色": "雾蓝", "材质": "真丝"}  # as the database hands them out
    assert list(finding.in_order(kept, "雾蓝 S").items()) == [
        ("颜色", "雾蓝"),
        ("尺码", "S"),
        ("材质", "真丝"),
    ]
    assert list(finding.in_order(kept, "")) == ["尺码", "颜色", "材质"]


def test_brand_video_and_company_stand_beside_a_product(shelves, client, django_assert_max_num_queries):
    dress = Product.objects.get(name="法式雾蓝连衣裙")
    Product.objects.filter(pk=dress.pk).update(video_url="https://cdn.example/a.mp4")
    address = reverse("shop:beside", args=[dress.pk])
    assert address in client.get(reverse("shop:product", args=[dress.pk])).content.decode()
    with django_assert_max_num_queries(3):
        page = client.get(address).content.decode()
    assert "池塘" in page
    assert 'src="https://cdn.example/a.mp4"' in page
    assert "森系亚麻长裙" in page
    Product.objects.filter(pk=dress.pk).update(status="draft")
    assert "池塘" not in client.get(address).content.decode()


@given(st.text(max_size=60), st.text(max_size=8))
def test_what_contains_the_typed_text_has_all_its_words(name, typed):
    name, typed = (
        text.replace("子", "").replace("儿", "") for text in (name, typed)
    )  # 裙子 also asks for 裙
    tokens = set(rules.search_tokens([f"{name} {typed}"]))
    wanted = [
        part.strip("'")
        for part in finding.all_of(finding.words_query(typed)).replace(":*", "").split(" & ")
        if part
    ]
    if len(wanted) < 8:
        assert set(wanted) <= tokens


@example("䥿")  # nobody reads it aloud
@given(st.text())
def test_a_query_is_made_of_harmless_words_only(typed):
    for query in (finding.words_query(typed), finding.sounds_query(typed)):
        bare = finding.all_of(query).replace("(", "").replace(")", "").replace(" | ", " & ")
        for part in bare.split(" & "):
            word = part.removesuffix(":*")
            assert word == "" or (word[0] == word[-1] == "'" and len(word) > 2)
            assert not set(word[1:-1]) & set("'\\&|!():* ")


ODD = [
    "\x00裙\x00", "' '\\' \\", "裙:* !裙 a & b | c ((( <-> <2>", "% _ =c1 =", "䥿䥿", "\ufeff\u202e裙\x1f\x85\u2028",
    "👩‍👩‍👧 裙 👗",
    "ﬁ ½ Ⅷ ㍿ ｌｙｑ ß", "\u0300" * 60, "İ" * 50,
    "长" * 10_000, "s" * 10_000, "sh zh xi lu an yi ba do qi", "子儿", "𠀀𪛖\U0010ffff",
    "٣٤٥ 1e9 -1 NaN", "<script>{{ 7*7 }}%00 %s %(a)s",
]  # fmt: skip
PLANES = ["".join(map(chr, range(start, start + 50))) for start in range(0x20, 0x11_0000, 0x4_E11)]


def test_whatever_is_typed_gets_an_answer(shelves, client, admin_client):
    for typed in ODD:
        for name in ("search", "suggest", "filters"):
            assert client.get(reverse(f"shop:{name}"), {"q": typed}).status_code == 200, (name, typed)
    for typed in ODD[:6]:
        assert admin_client.get(reverse("admin:shop_product_changelist"), {"q": typed}).status_code == 200
    for typed in ODD + PLANES:
        for by_sound in (False, True):
            queries.product_list(search=typed, by_sound=by_sound)
        queries.facets(search=typed), queries.suggestions(typed), queries.meant(typed)
    for after in ("-1", "9" * 18, "9" * 18 + "_" + "9" * 18, "-" + "9" * 18 + "_1", "1_1_1", "1_2_3_4", "²"):
        for sort in ORDERS:
            queries.product_list(search="裙", sort=sort, after=after)
        asked = {"q": "裙", "after": after}
        assert client.get(reverse("shop:search"), asked, headers={"HX-Request": "true"}).status_code == 200
    client.cookies["pond_words"] = quote(json.dumps(["\ud83d裙", "\x00", "<b>", 7, ["x"], "长" * 900]))
    assert "裙" in client.get(reverse("shop:search")).content.decode()


def test_the_interface_refuses_odd_filters_by_name(shelves, client):
    _token, secret = tokens.issue_token(name="ERP", scopes=["products:read", "stock:read"])
    for typed in [ODD[0], ODD[1], ODD[5], "9" * 30]:
        for path in ("products/", "stock/"):
            asked = dict.fromkeys(
                ("category", "code", "sku", "store", "updated_since", "cursor", "limit"), typed[:900]
            )
            for name, word in [*asked.items(), ("status", "on_sale")]:
                answer = client.get(
                    f"/api/v1/{path}", {name: word}, headers={"Authorization": f"Bearer {secret}"}
                )
                assert answer.status_code in (200, 400, 404), (path, name, word)


@pytest.fixture
def large_shop(db):
    """18,000 products as the database makes them: `even` and `odd` never meet, `some` is in every 50th, `seldom` in 41,
    `late` and `early` are thousands beyond what a walk looks at, `later` and `earlier` thousands at its end."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SET LOCAL session_replication_role = replica;  -- without a history of each
            INSERT INTO shop_brand (name, aliases, logo, story, position, is_active)
                SELECT 'B' || n, '', '', '', n, true FROM generate_series(1, 3) n;
            INSERT INTO shop_product (name, subtitle, status, detail, sort, min_price_fen, max_price_fen, sold_count,
                                      search, brand_id, is_in_stock, created_at, updated_at)
            SELECT 'N' || n, '', 'on_sale', '', -(n / 7), n / 5, n / 5, 20000 - n / 3,
                   array_to_tsvector(array_remove(ARRAY[
                       '=', '=b' || b.ids[1 + n % 3],
                       CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END,
                       CASE WHEN n % 449 = 7 THEN 'seldom' END, CASE WHEN n % 50 = 3 THEN 'some' END,
                       CASE WHEN n > 12500 THEN 'late' WHEN n <= 5500 THEN 'early' END,
                       CASE WHEN n > 9000 THEN 'later' ELSE 'earlier' END
                   ], NULL)), b.ids[1 + n % 3], n % 4 > 0, now(), now()
            FROM generate_series(1, 18000) n, (SELECT array_agg(id ORDER BY id) AS ids FROM shop_brand) b;
            SET LOCAL session_replication_role = origin; ANALYZE shop_product
            """
        )


ORDERS = {
    "default": "sort DESC, id DESC",
    "new": "id DESC",
    "price": "min_price_fen, id DESC",
    "-price": "min_price_fen DESC, id",
    "sold": "sold_count DESC, id DESC",
}


def test_a_large_shop_is_listed_in_order_and_counted(large_shop, client, django_assert_num_queries):
    cheap = finding.Filters(low_fen=2_600, high_fen=2_700, in_stock=True)
    for typed, filters, conditions in [
        ("even", finding.ALL, "search @@ 'even'"),
        ("seldom", finding.ALL, "search @@ 'seldom'"),
        ("some", finding.ALL, "search @@ 'some'"),
        ("late", finding.ALL, "search @@ 'late:*'"),
        ("latex", finding.ALL, "false"),
        ("later", finding.ALL, "search @@ 'later'"),
        ("early", finding.ALL, "search @@ 'early'"),
        ("earlier", finding.ALL, "search @@ 'earlier'"),
        ("even odd", finding.ALL, "false"),
        ("od so se", finding.ALL, "search @@ 'odd & some & seldom'"),
        ("even", cheap, "search @@ 'even' AND min_price_fen BETWEEN 2600 AND 2700 AND is_in_stock"),
    ]:
        for sort, order in ORDERS.items():
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT id FROM shop_product WHERE {conditions} ORDER BY {order} LIMIT 60")
                wanted = [row[0] for row in cursor.fetchall()]
            shown, after = [], ""
            for _page in range(3):
                with django_assert_num_queries(1):
                    page = queries.product_list(search=typed, sort=sort, filters=filters, after=after)
                shown += [row.pk for row in page.rows]
                after = page.after
                if not after:
                    break
            assert shown == wanted, (typed, sort)

    with django_assert_num_queries(1):
        counts = queries.facets(search="even")
    assert counts.is_estimated
    assert 8_000 <= counts.total <= 10_000
    assert [len(group.values) for group in counts.groups] == [3]
    assert all(2_400 <= value.count <= 3_600 for group in counts.groups for value in group.values)
    drawer = client.get(reverse("shop:filters"), {"q": "even"}).content.decode()
    assert drawer.count("约") == 6  # three brands, the stock, the prices, the button
    first = Brand.objects.order_by("pk")[0].pk
    counts = queries.facets(search="seldom", filters=finding.Filters(brand_ids=(first,)))
    by_brand = [value.count for value in counts.groups[0].values]
    assert (counts.is_estimated, counts.total, sum(by_brand)) == (False, by_brand[0], 41)
    mixed = queries.facets(search="even some", filters=cheap)
    assert (mixed.total, mixed.is_estimated) == (0, False)
    assert queries.facets(filters=finding.Filters(low_fen=10**9)).total == 0
    assert [one.name for one in queries.suggestions("seldom")][:3] == ["N7", "N456", "N905"]
