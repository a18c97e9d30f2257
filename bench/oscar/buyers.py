"""Buyers in a django-oscar shop, placing orders as its checkout does: basket, availability, offers, OrderCreator.

python buyers.py prepare SKUS          migrate, and put SKUS products into the shop
python buyers.py rate SKUS SECONDS     one buyer; prints orders per second
python buyers.py until-sold-out SKU    one of several buyers of the same product; prints how many orders she got
"""

import os
import sys
import time
import uuid
from decimal import Decimal
from random import Random

os.environ["DJANGO_SETTINGS_MODULE"] = "project"

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from oscar.core.loading import get_class, get_model  # noqa: E402

Basket, Product = get_model("basket", "Basket"), get_model("catalogue", "Product")
ProductClass, Partner = get_model("catalogue", "ProductClass"), get_model("partner", "Partner")
StockRecord = get_model("partner", "StockRecord")
Applicator, Selector = get_class("offer.applicator", "Applicator"), get_class("partner.strategy", "Selector")
OrderCreator = get_class("order.utils", "OrderCreator")
OrderTotalCalculator = get_class("checkout.calculators", "OrderTotalCalculator")
FreeShipping = get_class("shipping.methods", "Free")
Country, ShippingAddress = get_model("address", "Country"), get_model("order", "ShippingAddress")

SCARCE = "SCARCE"


def prepare(skus: int) -> None:
    call_command("migrate", verbosity=0)
    kind = ProductClass.objects.create(name="bench", track_stock=True)
    partner = Partner.objects.create(name="bench")
    Country.objects.create(iso_3166_1_a2="CN", printable_name="China", name="China", is_shipping_country=True)
    get_user_model().objects.create_user("buyer", "buyer@example.com", "x")
    for number in range(skus):
        product = Product.objects.create(product_class=kind, title=f"p{number}", slug=f"p{number}")
        stock(product, partner, f"BENCH-{number}", 1_000_000_000)
    stock(Product.objects.create(product_class=kind, title="scarce", slug="scarce"), partner, SCARCE, 0)


def stock(product: object, partner: object, code: str, pieces: int) -> None:
    StockRecord.objects.create(
        product=product, partner=partner, partner_sku=code, price=Decimal("99.00"), price_currency="CNY",
        num_in_stock=pieces,
    )  # fmt: skip


class SoldOut(Exception):
    """The shop says that there is no more."""


class Buyer:
    def __init__(self) -> None:
        self.user = get_user_model().objects.get(username="buyer")
        self.country = Country.objects.get()

    def order(self, product: object) -> None:
        basket = Basket.objects.create(owner=self.user)
        basket.strategy = Selector().strategy(user=self.user)
        allowed, reason = basket.strategy.fetch_for_product(product).availability.is_purchase_permitted(1)
        if not allowed:
            raise SoldOut(reason)
        basket.add_product(product, 1)
        Applicator().apply(basket, self.user)
        basket.freeze()
        method = FreeShipping()
        charge = method.calculate(basket)
        address = ShippingAddress(
            first_name="晓", last_name="陈", line1="南京西路 1 号", line4="上海市", postcode="200040",
            country=self.country,
        )  # fmt: skip
        address.save()
        OrderCreator().place_order(
            basket=basket,
            total=OrderTotalCalculator().calculate(basket, charge),
            shipping_method=method,
            shipping_charge=charge,
            user=self.user,
            shipping_address=address,
            order_number=uuid.uuid4().hex,
            status="Pending",
        )
        basket.submit()


def rate(skus: int, seconds: float) -> float:
    buyer, chance = Buyer(), Random()
    products = list(Product.objects.filter(slug__startswith="p").order_by("pk")[:skus])
    buyer.order(products[0])
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        buyer.order(chance.choice(products))
        count += 1
    return count / (time.perf_counter() - started)


def until_sold_out(tries: int) -> int:
    buyer, count = Buyer(), 0
    product = Product.objects.get(slug="scarce")
    for _ in range(tries):
        try:
            buyer.order(product)
            count += 1
        except Exception:
            continue
    return count


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(int(sys.argv[2]))
    elif sys.argv[1] == "rate":
        print(rate(int(sys.argv[2]), float(sys.argv[3])))
    else:
        print(until_sold_out(int(sys.argv[2])))
