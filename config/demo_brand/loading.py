"""Loading the demo brand, step by step; every step may run again."""

import time
from collections.abc import Callable

import pgtrigger
from django.db import connection, transaction

from analytics import lifetimes
from analytics import services as analytics
from config.demo_brand import (
    accounts,
    goods,
    logins,
    marketing,
    phones,
    prices,
    shelves,
    value,
    visits,
    voices,
)
from config.demo_brand.errands import Errands
from config.demo_brand.people import Year
from crm import services as crm
from crm.models import Identity
from shop import services as shop


def load(say: Callable[[str], None] = lambda line: None) -> None:
    """Make what is missing: accounts, goods, logins, people with their year, prices, what goes on today, marketing."""
    started = time.monotonic()

    def told(what: str) -> None:
        say(f"{what} ({time.monotonic() - started:.1f} s)")

    with transaction.atomic():
        wired = accounts.wire_accounts()
    told("accounts")
    with pgtrigger.ignore(), transaction.atomic():  # nobody edited these by hand
        stores = shelves.put_stores()
        shelves.put_categories()
        goods.put_goods(stores)
        skus = shelves.put_products()
        goods.put_bundle()
        logins.put_logins()
    told("products, stores, logins")
    with pgtrigger.ignore(), transaction.atomic():
        marketing.put_tags()
        marketing.put_codes(wired["brand"], stores)
        is_new = not Identity.objects.filter(value__startswith="demo-o-").exists()
        if is_new:
            Year(accounts=wired, stores=stores, skus=skus).make()
    if is_new:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    told("members and their year")
    with pgtrigger.ignore(), transaction.atomic():
        prices.put_prices()
        prices.put_offers()
        voices.put_voices()
    told("prices and voices")
    if not Errands.are_made():
        with transaction.atomic():
            errands = Errands(accounts=wired, stores=stores)
            errands.make()
            visits.put_visits(stores, visitors=errands.others[:18], star=errands.star)
            visits.put_goods_on_the_move(stores)
        shop.refresh_sold_counts()
        shop.refresh_stock_marks()
    told("today's errands and visits")
    with pgtrigger.ignore(), transaction.atomic():
        marketing.put_rules(wired["brand"])
        marketing.put_knowledge()
        marketing.put_order_messages()
        marketing.put_broadcasts(wired["brand"])
        marketing.put_groups(wired["corp"])
    with transaction.atomic():
        value.put_value()
    if is_new:
        analytics.rebuild_figures()
        crm.refresh_aipl()
        crm.refresh_due()
        crm.count_rfm_months()
        lifetimes.count_lifetimes()
    told("marketing and figures")
    if accounts.put_menu(wired["brand"]):
        told("menu")
    if phones.introduce_members(wired["brand"]):
        told("members on the phone")
    if phones.introduce_payments(wired["pay"], wired["brand"]):
        told("their payments at WeChat Pay")
    if phones.print_codes():
        told("codes to scan")
