"""What a guide looks up on her phone: a product's variants, what her store has of them, what others could send."""

from dataclasses import dataclass, field

from shop import rules
from shop.models import Product, Sku, Stock
from shop.queries.catalogue import product_list, product_page


@dataclass(frozen=True, slots=True)
class VariantRow:
    """`here`: pieces free in her store; `online`: pieces that could be sent, hers among them."""

    sku_id: int
    code: str
    name: str
    price_fen: int
    here: int
    online: int


@dataclass(frozen=True, slots=True)
class GoodsRow:
    product_id: int
    name: str
    image_url: str
    variants: list[VariantRow] = field(default_factory=list)


def goods_at_hand(typed: str, *, store_id: int, most: int = 5) -> list[GoodsRow]:
    """Products on sale by SKU code, style number or words, the exact code first. Three statements and one a product."""
    typed = " ".join(typed.replace("\x00", "").split())[:64]
    if not typed:
        return []
    on_sale = Product.objects.filter(status=Product.ON_SALE, kind=Product.GOODS)
    named = on_sale.filter(skus__code=typed) | on_sale.filter(code=typed)
    ids = list(named.order_by("pk").values_list("pk", flat=True).distinct()[:most])
    ids += [row.pk for row in product_list(search=typed, page_size=most).rows if row.pk not in ids]
    pages = [page for page in map(product_page, ids[:most]) if page.kind == Product.GOODS]
    shelf = {
        stock.sku_id: stock.available
        for stock in Stock.objects.filter(
            store_id=store_id, sku__in=[sku.pk for page in pages for sku in page.skus]
        )
    }
    return [
        GoodsRow(
            page.pk,
            page.name,
            page.images[0].thumbnail_url if page.images else "",
            [
                VariantRow(
                    sku.pk,
                    sku.code,
                    sku.name or " ".join(sku.spec.values()),
                    sku.price_fen,
                    shelf.get(sku.pk, 0),
                    min(sku.available, rules.MAX_QUANTITY),
                )
                for sku in page.skus
            ],
        )
        for page in pages
    ]


def variant_at_hand(sku_id: int, *, store_id: int) -> tuple[GoodsRow, VariantRow] | None:
    """One variant that is for sale, with its product; None for any other."""
    code = Sku.objects.filter(pk=sku_id).values_list("code", flat=True).first()
    for goods in goods_at_hand(code, store_id=store_id, most=1) if code else []:
        for variant in goods.variants:
            if variant.sku_id == sku_id:
                return goods, variant
    return None
