"""Stores, guides, categories, products with their SKUs and pictures. Everything is found again by its code."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.conf import settings
from django.utils.html import escape
from PIL import Image

from config.demo_brand.catalogue import BRANDS, CATEGORIES, COLOURS, ITEMS, MATERIALS, ML, SIZES, Item
from config.demo_brand.marks import put_marks
from config.demo_brand.pictures import picture
from config.demo_brand.wording import full_width
from core import clock
from crm.models import Staff, Store
from shop import services
from shop.models import Attribute, AttributeValue, Brand, Category, Product, ProductImage, Sku

STORES = [
    ("warehouse", "中央仓", "上海市", "上海市", "青浦区华新镇华徐公路 999 号"),
    ("xintiandi", "上海新天地店", "上海市", "上海市", "黄浦区马当路 245 号一层"),
    ("taikooli", "成都太古里店", "四川省", "成都市", "锦江区中纱帽街 8 号 1204"),
    ("hubin", "杭州湖滨店", "浙江省", "杭州市", "上城区平海路 124 号二层"),
]
GUIDES = [("lina", "李娜", "xintiandi"), ("wangwei", "王伟", "taikooli"), ("zhaomin", "赵敏", "hubin")]
FOLDER = Path("products/demo")


def put_stores() -> dict[str, Store]:
    for code, name, province, city, address in STORES:
        place = {"name": name, "province": province, "city": city, "address": address}
        # Stores send from their shelves too, but keep a piece of each for who comes in.
        serving = {
            "ships_online": True,
            "allows_pickup": code != "warehouse",
            "safety_stock": int(code != "warehouse"),
        }
        Store.objects.update_or_create(
            code=code, defaults=place, create_defaults={"code": code, **place, **serving}
        )
    stores = {store.code: store for store in Store.objects.filter(code__in=[code for code, *_rest in STORES])}
    for userid, name, code in GUIDES:
        Staff.objects.get_or_create(work_userid=userid, defaults={"name": name, "store": stores[code]})
    return stores


def put_categories() -> dict[str, Category]:
    return {
        name: Category.objects.get_or_create(parent=None, name=name, defaults={"position": position})[0]
        for position, name in enumerate(CATEGORIES)
    }


def put_products() -> list[Sku]:
    """The SKUs of the whole catalogue, those made before included."""
    shelves = put_categories()
    brands = _put_brands()
    materials = _put_attributes()
    known = set(Product.objects.filter(code__startswith="PD-").values_list("code", flat=True))
    moment = clock.now()
    made = []
    # The last made is the newest: perfumes lead the shelf of new goods.
    for number, item in reversed(list(enumerate(ITEMS, 1))):
        code = f"PD-{number:03d}"
        if code in known:
            continue
        product = Product.objects.create(
            code=code,
            name=item.name,
            subtitle=full_width(item.line),
            category=shelves[item.category],
            brand=brands[item.category],
            status=Product.ON_SALE,
            detail=_detail(item),
            sort=len(ITEMS) - number + (20 if number % 7 == 3 else 0),
            created_at=moment,
            updated_at=moment,
        )
        Sku.objects.bulk_create(_skus(product, item))
        product.values.set(value for word, value in materials.items() if word in item.facts.get("面料", ""))
        made.append(product.pk)
    if made:
        put_marks({product.name: product for product in Product.objects.filter(pk__in=made)})
    services.refresh_products(product_ids=made)
    _put_pictures()
    return list(Sku.objects.filter(product__code__startswith="PD-").order_by("pk"))


def _put_brands() -> dict[str, Brand]:
    """Category → its brand."""
    return {
        category: Brand.objects.get_or_create(name=name, defaults={"aliases": aliases, "position": position})[
            0
        ]
        for position, (name, (aliases, categories)) in enumerate(BRANDS.items())
        for category in categories
    }


def _put_attributes() -> dict[str, AttributeValue]:
    """What lists are narrowed down with: colours and sizes are read from the SKUs, materials are answered."""
    words = {"颜色": list(COLOURS.values()), "尺码": SIZES, "容量": list(ML), "材质": MATERIALS}
    for place, (name, values) in enumerate(words.items()):
        owner, _made = Attribute.objects.get_or_create(name=name, defaults={"position": place})
        AttributeValue.objects.bulk_create(
            (AttributeValue(attribute=owner, name=word, position=at) for at, word in enumerate(values)),
            ignore_conflicts=True,
        )
    return {value.name: value for value in AttributeValue.objects.filter(attribute__name="材质")}


def _skus(product: Product, item: Item) -> list[Sku]:
    base = item.price_yuan * 100
    if item.category == "香水":
        variants = [({"容量": size}, size, _nice(base * share)) for size, share in ML.items()]
    elif item.category in ("连衣裙", "上装", "外套", "下装"):
        colour = COLOURS[item.tone]
        sizes = SIZES if item.category != "外套" else SIZES[:3]
        variants = [({"颜色": colour, "尺码": size}, f"{colour} {size}", base) for size in sizes]
    else:
        variants = [({"规格": "单件"}, "单件", base), ({"规格": "两件装"}, "两件装", _nice(base * 1.85))]
    return [
        Sku(
            product=product,
            code=f"{product.code}-{position + 1}",
            name=name,
            spec=spec,
            price_fen=price,
            list_price_fen=_nice(price * 1.2) if product.sort % 4 == 0 else None,
            weight_grams=300 if item.category in ("香水", "配饰") else 500,
            position=position,
        )
        for position, (spec, name, price) in enumerate(variants)
    ]


def _nice(fen: float) -> int:
    """A price that ends in 8 or 9 yuan."""
    return round(fen / 1000) * 1000 - 100


def _detail(item: Item) -> str:
    facts = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(full_width(value))}</td></tr>"
        for name, value in item.facts.items()
    )
    promise = "全国顺丰包邮,七天无理由退换。购买正装可先试 2ml 试香,不喜欢可退。"
    if item.category != "香水":
        promise = "全国顺丰包邮,七天无理由退换。门店可免费试穿、试用,也可由门店直接发货。"
    return (
        f"<p>{escape(full_width(item.story))}</p><h3>商品信息</h3><table><tbody>{facts}</tbody></table>"
        f"<h3>我们的承诺</h3><p>{full_width(promise)}</p>"
    )


def _put_pictures() -> None:
    """Draw what is missing on the disk, note what is missing in the table."""
    folder = settings.MEDIA_ROOT / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    wishes = []
    for number, item in enumerate(ITEMS, 1):
        for angle in range(2 if item.category == "香水" else 1):
            content = f"{item.shape}|{item.tone}|{item.label}|{item.name}|{angle}|3"
            name = f"pd-{number:03d}-{angle}-{hashlib.sha256(content.encode()).hexdigest()[:8]}.webp"
            wishes.append((number, item, angle, name))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda wish: draw(folder, *wish[1:]), wishes))
    products = dict(Product.objects.filter(code__startswith="PD-").values_list("code", "pk"))
    known = set(ProductImage.objects.filter(image__startswith=str(FOLDER)).values_list("image", flat=True))
    ProductImage.objects.bulk_create(
        ProductImage(
            product_id=products[f"PD-{number:03d}"],
            image=str(FOLDER / name),
            thumbnail=str(FOLDER / f"s-{name}"),
            width=800,
            height=800,
            alt=item.name,
            position=angle,
        )
        for number, item, angle, name in wishes
        if str(FOLDER / name) not in known
    )


def draw(folder: Path, item: Item, angle: int, name: str) -> None:
    target, small = folder / name, folder / f"s-{name}"
    if target.exists() and small.exists():
        return
    drawn = picture(shape=item.shape, tone=item.tone, label=item.label, seed=item.name, angle=angle)
    target.write_bytes(drawn)
    with Image.open(target) as image:
        image.reduce(2).save(small, "WEBP", quality=78, method=1)
