"""Small shops for tests, made through the services where they exist."""

import itertools
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType

from core import clock
from crm import services as crm_services
from shop import services
from shop.models import Order, Payment, Product, Sku
from shop.services import AddressInput
from shop.services.payments import Payer, open_payment

_numbers = itertools.count(1)

ADDRESS = AddressInput(
    receiver="王小池",
    phone="13800000001",
    province="上海市",
    city="上海市",
    district="静安区",
    street="延平路 1 号 2 室",
)


def know_content_types() -> None:
    """Later pages of this process need not ask for them: who counts queries counts the page's own."""
    ContentType.objects.get_for_models(*apps.get_models())


def official_account() -> Any:
    account, _created = apps.get_model("wechat", "Account").objects.get_or_create(
        kind="service", key="brand", defaults={"appid": "wx-test", "name": "池塘香氛"}
    )
    return account


def member(name: str = "小池", openid: str = "") -> Any:
    """A member as if she had come by herself through the brand's account."""
    return crm_services.member_for_openid(
        account_id=official_account().pk, openid=openid or f"o-test-{next(_numbers)}", name=name, via="login"
    )


def sku(
    *,
    stock: int = 10,
    price_fen: int = 9_900,
    name: str = "雾蓝 M",
    product: Product | None = None,
    **extra: Any,
) -> Sku:
    """One SKU on sale with some stock in the warehouse."""
    number = next(_numbers)
    moment = clock.now()
    if product is None:
        product = Product.objects.create(
            name=extra.pop("product_name", f"真丝连衣裙 {number}"),
            status=Product.ON_SALE,
            created_at=moment,
            updated_at=moment,
            **{key: extra.pop(key) for key in ("category", "subtitle", "sort") if key in extra},
        )
    made = Sku.objects.create(product=product, code=f"SKU-{number}", name=name, price_fen=price_fen, **extra)
    services.refresh_products(product_ids=[product.pk])
    if stock:
        services.adjust_stock(sku_id=made.pk, change=stock, cause=f"test:{made.pk}", reason="receive")
    return made


def order(buyer: Any, *lines: tuple[Sku, int], key: str = "") -> Order:
    return services.place_order(
        member_id=buyer.pk,
        lines=[(line.pk, quantity) for line, quantity in lines],
        address=ADDRESS,
        idempotency_key=key or f"test-key-{next(_numbers)}",
    )


def pay_account() -> Any:
    account, _created = apps.get_model("wechat", "Account").objects.get_or_create(
        kind="pay", key="brand", defaults={"appid": "wx-test", "mchid": "1900000001", "name": "支付"}
    )
    return account


def payment(of: Order) -> Payment:
    """A payment as `start_payment` commits it before WeChat is called."""
    account = pay_account()
    payer = Payer(account_id=account.pk, account_key=account.key, openid="o-test")
    assert of.member_id is not None
    return open_payment(order_id=of.pk, member_id=of.member_id, payer=payer)


def confirm(made: Payment, transaction_id: str = "", paid_fen: int | None = None) -> Order:
    """As a notice of WeChat Pay would."""
    return services.confirm_payment(
        out_trade_no=made.out_trade_no,
        transaction_id=transaction_id or f"42000{next(_numbers)}",
        paid_fen=made.amount_fen if paid_fen is None else paid_fen,
    )


def pay(of: Order) -> Order:
    return confirm(payment(of))


def release(of: Order, reason: str = "未在规定时间内付款") -> Order:
    """As the time-out does after WeChat has closed the payment."""
    Payment.objects.filter(order=of, status=Payment.OPEN, kind__in=Payment.WECHAT).update(
        status=Payment.CLOSED
    )
    return services.release_order(order_id=of.pk, reason=reason, actor="system")


def stock_of(of: Sku) -> tuple[int, int]:
    """On hand, reserved."""
    row = of.stocks.get()
    return row.on_hand, row.reserved
