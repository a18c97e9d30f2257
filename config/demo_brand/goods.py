"""A few things that are no parcel, and a bundle, so that a newcomer sees them. Found again by their codes."""

import hashlib

from django.conf import settings

from config.demo_brand.catalogue import Item
from config.demo_brand.shelves import FOLDER, draw
from config.demo_brand.wording import full_width
from core import clock
from crm.models import Store
from shop import services
from shop.models import BundleItem, Category, Product, ProductImage, Sku

# product code, kind, item; the price is that of its only SKU
GOODS: list[tuple[str, str, Item]] = [
    (
        "VS-001",
        Product.BUNDLE,
        Item("居家香氛", "归家香氛礼盒", "礼盒", "香薰、蜡烛与喷雾,三件一起更划算", 498, "box", "gold",
             "把玄关、书桌和枕边交给三种香。礼盒装,可直接送人。", {}),
    ),
    (
        "VS-002",
        Product.SERVICE,
        Item("身体护理", "门店手部护理 45 分钟", "护理", "线上购券,门店核销,未使用随时可退", 168, "tube", "rose",
             "在门店坐下来,由导购为你做一次手部去角质与精油按摩。券自付款起 90 天内有效。", {}),
    ),
    (
        "VS-003",
        Product.VIRTUAL,
        Item("香水", "闻香入门线上课", "线上课", "十二节音频课,付款即看", 99, "box", "tea",
             "调香师讲给普通人的十二节课:怎样闻,怎样选,怎样留住一种味道。", {}),
    ),
    (
        "VS-004",
        Product.VIRTUAL,
        Item("居家香氛", "合作咖啡馆兑换码", "咖啡", "一码一杯,付款即得", 28, "tin", "wood",
             "凭码在合作咖啡馆换一杯拿铁。每码限用一次,有效期一年。", {}),
    ),
]  # fmt: skip
PARTS = [("睡莲无火香薰", 1), ("桂花大豆蜡烛", 1), ("白茶织物喷雾", 2)]


def put_goods(stores: dict[str, Store]) -> None:
    """The products with their pictures, and what a buyer gets for each."""
    known = set(Product.objects.filter(code__startswith="VS-").values_list("code", flat=True))
    for code, kind, item in GOODS:
        if code in known:
            continue
        sku = _sku(code, kind, item)
        match code:
            case "VS-002":
                terms = services.save_terms(
                    sku_id=sku.pk, delivers="voucher", valid_days=90, quota=200,
                    text="请提前一天致电门店预约。到店出示券码即可。",
                )  # fmt: skip
                terms.stores.set([stores["xintiandi"], stores["hubin"]])
            case "VS-003":
                services.save_terms(
                    sku_id=sku.pk, delivers="text", text="课程地址 https://pond.example/course\n口令 睡莲"
                )
            case "VS-004":
                services.save_terms(sku_id=sku.pk, delivers="code", text="到店点单时出示兑换码。")
                services.add_codes(
                    sku_id=sku.pk,
                    codes=[
                        "POND-" + hashlib.sha256(f"coffee {number}".encode()).hexdigest()[:8].upper()
                        for number in range(60)
                    ],
                )
        services.refresh_products(product_ids=[sku.product_id])


def put_bundle() -> None:
    """What lies in the gift box; its parts are made after it, so that perfumes lead the shelf of new goods."""
    bundle = Sku.objects.get(code="VS-001-1")
    if not BundleItem.objects.filter(bundle_id=bundle.pk).exists():
        parts = [(Sku.objects.get(product__name=name, position=0).pk, count) for name, count in PARTS]
        services.set_bundle(bundle_id=bundle.pk, parts=parts)
        services.refresh_products(product_ids=[bundle.product_id])


def _sku(code: str, kind: str, item: Item) -> Sku:
    moment = clock.now()
    product = Product.objects.create(
        code=code,
        name=item.name,
        subtitle=full_width(item.line),
        kind=kind,
        category=Category.objects.get(parent=None, name=item.category),
        status=Product.ON_SALE,
        detail=f"<p>{full_width(item.story)}</p>",
        created_at=moment,
        updated_at=moment,
    )
    sku = Sku.objects.create(product=product, code=f"{code}-1", price_fen=item.price_yuan * 100)
    folder = settings.MEDIA_ROOT / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{code.lower()}.webp"
    draw(folder, item, 0, name)
    ProductImage.objects.create(
        product=product,
        image=str(FOLDER / name),
        thumbnail=str(FOLDER / f"s-{name}"),
        width=800,
        height=800,
        alt=item.name,
    )
    services.refresh_products(product_ids=[product.pk])
    return sku
