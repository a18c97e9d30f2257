"""What the proofs with real processes sell."""

SHOP = """
import datetime
from crm.models import Store, TouchPolicy
from shop.models import Category, Product, Sku
from shop.services import refresh_products, set_stock
from core import clock

warehouse, _ = Store.objects.get_or_create(code="warehouse", defaults={"name": "总仓"})
moment = clock.now()
product = Product.objects.create(name="白茶与雪松淡香水", category=Category.objects.create(name="香水"),
    status="on_sale", min_price_fen=1, max_price_fen=1, created_at=moment, updated_at=moment)
for name, price in (("30ml", 19900), ("50ml", 29900)):
    sku = Sku.objects.create(product=product, code=f"WT-{name}", name=name, spec={"容量": name}, price_fen=price)
    set_stock(sku_id=sku.pk, store_id=warehouse.pk, on_hand=5000, by="seed", cause=f"seed:{sku.pk}")
refresh_products()
policy = TouchPolicy.objects.first() or TouchPolicy()
policy.quiet_from = policy.quiet_until = datetime.time(3)
policy.max_per_day = policy.max_per_week = policy.max_per_month = 20
policy.save()
"""
