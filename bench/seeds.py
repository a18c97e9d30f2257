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
