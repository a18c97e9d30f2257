"""Rows that several benches need: SKUs with endless stock, members who can order."""

from typing import Any

from bench import lab

MEMBERS = 2000


def shop(*, skus: int = 1000) -> list[int]:
    """`skus` products of one SKU each on sale, a billion in the warehouse; answers the SKU ids. Repeatable."""
    lab.execute(
        """
        INSERT INTO crm_store (code, name, address, is_active) SELECT 'warehouse', '仓库', '', true
        WHERE NOT EXISTS (SELECT 1 FROM crm_store WHERE code = 'warehouse')
        """
    )
    from core import clock
    from crm.models import Store
    from shop.models import Category, Product, Sku, Stock
    from shop.services import refresh_products

    if not Sku.objects.filter(code="BENCH-1").exists():
        category = Category.objects.create(name="bench")
        moment = clock.now()
        products = Product.objects.bulk_create(
            Product(
                name=f"木质香调淡香水 {number}",
                subtitle="雪松与琥珀",
                category=category,
                status="on_sale",
                min_price_fen=9900,
                max_price_fen=9900,
                created_at=moment,
                updated_at=moment,
            )
            for number in range(1, skus + 1)
        )
        rows = Sku.objects.bulk_create(
            Sku(product=product, code=f"BENCH-{number}", name="50ml", price_fen=9900)
            for number, product in enumerate(products, 1)
        )
        warehouse = Store.objects.get(code="warehouse")
        Stock.objects.bulk_create(Stock(sku=sku, store=warehouse, on_hand=1_000_000_000) for sku in rows)
        lab.execute(
            """
            INSERT INTO shop_stockmovement (stock_id, reason, on_hand_change, reserved_change, on_hand_after,
                                            reserved_after, cause, actor, note, moved_at)
            SELECT id, 'receive', on_hand, 0, on_hand, 0, 'bench', '', '', now() FROM shop_stock
            """
        )
        refresh_products()
        lab.execute("ANALYZE")
    return list(Sku.objects.filter(code__startswith="BENCH-").order_by("pk").values_list("pk", flat=True))


def full_product() -> int:
    """One product with all that its page can show: pictures, six variants, stars, reviews, questions. Repeatable."""
    from core import clock
    from shop.models import Order, OrderLine, Product, Question, Sku
    from shop.services import place_order, refresh_products
    from shop.services.addresses import AddressInput

    first = shop()[0]
    product = Product.objects.get(skus=first)
    if product.detail:
        return product.pk
    product.detail = "".join(
        f"<p>第 {number} 段：雪松、琥珀与一点点烟熏，留香六小时。</p>" for number in range(1, 9)
    )
    product.save(update_fields=["detail"])
    lab.execute(
        """
        INSERT INTO shop_productimage (product_id, image, thumbnail, width, height, alt, position)
        SELECT %s, format('products/%%s.jpg', n), format('products/%%s-small.jpg', n), 1600, 2000, '', n
        FROM generate_series(1, 4) n
        """,
        [product.pk],
    )
    for number, size in enumerate(("10ml", "30ml", "75ml", "100ml", "礼盒"), 2):
        made = Sku.objects.create(
            product=product,
            code=f"FULL-{number}",
            name=size,
            spec={"容量": size},
            price_fen=9_900 + 3_000 * number,
            list_price_fen=12_900 + 3_000 * number,
            position=number,
        )
        lab.execute(
            "INSERT INTO shop_stock (sku_id, store_id, on_hand, reserved) SELECT %s, id, 1000, 0 FROM crm_store"
            " WHERE code = 'warehouse'",
            [made.pk],
        )
    refresh_products(product_ids=[product.pk])
    address = AddressInput("陈晓", "13800000001", "上海市", "上海市", "静安区", "南京西路 1 号")
    for number, buyer in enumerate(members()[:12]):
        order = place_order(
            member_id=buyer, lines=[(first, 1)], address=address, idempotency_key=f"bench-review-{number}"
        )
        line = OrderLine.objects.get(order=order)
        lab.execute(
            """
            INSERT INTO shop_review (line_id, product_id, member_id, stars, text, is_anonymous, state, written_at,
                                     decided_by, reason, answer, answered_by)
            VALUES (%s, %s, %s, 5, '味道很干净，回购第三次了，包装也用心。', false, 'shown', now(), '', '',
                    '谢谢喜欢。', '')
            """,
            [line.pk, product.pk, buyer],
        )
        Question.objects.create(
            product=product,
            member_id=buyer,
            text=f"适合秋天吗？{number}",
            answer="适合，木质调秋冬更暖。",
            state=Question.SHOWN,
            asked_at=clock.now(),
            answered_at=clock.now(),
        )
    lab.execute(
        "INSERT INTO shop_productrating (product_id, reviews_count, stars_sum, good_count, photos_count)"
        " VALUES (%s, 12, 60, 12, 0) ON CONFLICT DO NOTHING",
        [product.pk],
    )
    Order.objects.filter(idempotency_key__startswith="bench-review-").update(paid_at=clock.now(), paid_fen=1)
    lab.execute("ANALYZE")
    return product.pk


def members(count: int = MEMBERS) -> list[int]:
    """Members with their stats row; answers their ids. Repeatable."""
    from core import clock
    from crm.models import Member, MemberStats

    missing = count - Member.objects.count()
    if missing > 0:
        moment = clock.now()
        made = Member.objects.bulk_create(
            Member(name=f"m{number}", created_at=moment) for number in range(missing)
        )
        MemberStats.objects.bulk_create(
            (MemberStats(member=member) for member in made), ignore_conflicts=True
        )
        lab.execute("ANALYZE")
    return list(Member.objects.order_by("pk").values_list("pk", flat=True)[:count])


def member_cookie(member: Any) -> str:
    """The cookie of a logged-in member, as the browser sends it."""
    from django.http import HttpResponse

    from crm import sessions

    response = HttpResponse()
    sessions.log_in(response, member)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in response.cookies.items())
