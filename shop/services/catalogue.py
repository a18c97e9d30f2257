"""Keeping the catalogue's derived columns, pictures and texts right."""

import io
from collections.abc import Sequence
from datetime import datetime
from typing import IO, Any

import nh3
from django.core.files.base import ContentFile, File
from django.db import connection, transaction
from django.db.models import Max, Q
from django.utils.translation import gettext as _
from PIL import Image, ImageOps, UnidentifiedImageError

from core import clock
from core.errors import Refusal
from shop.models import BundleItem, OrderBundle, Product, ProductImage, Sku
from shop.services.finding import refresh_products

THUMBNAIL_WIDTH = 480
MAX_PIXELS = 40_000_000
MAX_VIDEO = 50 * 1024 * 1024
_TAGS = {
    "p", "br", "hr", "h2", "h3", "h4", "ul", "ol", "li", "strong", "b", "em", "i", "u", "s", "blockquote",
    "table", "thead", "tbody", "tr", "th", "td", "img", "span", "div", "figure", "figcaption",
}  # fmt: skip
_ATTRIBUTES = {
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}


def clean_detail(html: str) -> str:
    """Only harmless markup: no scripts, styles, links, frames, handlers; pictures by https or from our own media."""

    def keep(tag: str, attribute: str, value: str) -> str | None:
        if attribute == "src" and not value.startswith(("https://", "/")):
            return None
        return None if attribute == "src" and value.startswith("//") else value

    return nh3.clean(
        html, tags=_TAGS, attributes=_ATTRIBUTES, attribute_filter=keep, url_schemes={"https"}, link_rel=None
    )


@transaction.atomic
def set_products_status(*, product_ids: Sequence[int], status: str) -> tuple[int, list[str]]:
    """Put products on sale or take them off; returns how many changed, and the names of those that cannot be sold.

    A product without an active SKU stays as it is when it should go on sale. Idempotent.
    """
    products = Product.objects.filter(pk__in=product_ids).exclude(status=status)
    refused: list[str] = []
    if status == Product.ON_SALE:
        sellable = Sku.objects.filter(is_active=True).values("product_id")
        refused = list(products.exclude(pk__in=sellable).values_list("name", flat=True))
        products = products.filter(pk__in=sellable)
    return products.update(status=status, updated_at=clock.now()), refused


def is_kind_settled(product_id: int) -> bool:
    """Whether a product cannot become another kind any more: ordered, in stock, with terms, or part of a bundle."""
    skus = Sku.objects.filter(product_id=product_id)
    return (
        skus.filter(order_lines__isnull=False).exists()
        or skus.filter(stocks__on_hand__gt=0).exists()
        or skus.filter(terms__isnull=False).exists()
        or BundleItem.objects.filter(Q(sku__in=skus) | Q(bundle__in=skus)).exists()
        or OrderBundle.objects.filter(sku__in=skus).exists()
    )


@transaction.atomic
def shelve_due_products() -> int:
    """Put on sale and take off what its schedule says, as a due row; returns how many changed. Run every minute.

    What has no active SKU yet waits for one. Idempotent: the time is taken away with the change.
    """
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH due AS (
                SELECT p.id FROM shop_product p WHERE p.off_shelf_at <= %s ORDER BY p.id FOR UPDATE SKIP LOCKED
            )
            UPDATE shop_product p SET status = CASE WHEN p.status = 'on_sale' THEN 'off' ELSE p.status END,
                off_shelf_at = NULL, on_shelf_at = NULL, updated_at = %s
            FROM due WHERE due.id = p.id
            """,
            [moment, moment],
        )
        changed = cursor.rowcount
        cursor.execute(
            """
            WITH due AS (
                SELECT p.id FROM shop_product p
                WHERE p.on_shelf_at <= %s
                  AND EXISTS (SELECT 1 FROM shop_sku s WHERE s.product_id = p.id AND s.is_active)
                ORDER BY p.id FOR UPDATE SKIP LOCKED
            )
            UPDATE shop_product p SET status = 'on_sale', on_shelf_at = NULL, updated_at = %s
            FROM due WHERE due.id = p.id
            """,
            [moment, moment],
        )
        return changed + cursor.rowcount


@transaction.atomic
def schedule_products(*, product_ids: Sequence[int], at: datetime) -> int:
    """Let products that are not on sale go on the shelf by themselves then; returns how many. Idempotent."""
    return (
        Product.objects.filter(pk__in=product_ids)
        .exclude(status=Product.ON_SALE)
        .filter(Q(off_shelf_at__isnull=True) | Q(off_shelf_at__gt=at))
        .update(on_shelf_at=at, updated_at=clock.now())
    )


@transaction.atomic
def duplicate_product(*, product_id: int) -> Product:
    """A draft with the same texts, pictures and SKUs (codes get an ending), without stock.

    Not idempotent: each call copies.
    """
    source = Product.objects.get(pk=product_id)
    images, skus = list(source.images.all()), list(source.skus.all())
    moment = clock.now()
    copy = Product.objects.create(
        name=_("%(name)s (copy)") % {"name": source.name[:110]},
        subtitle=source.subtitle,
        category_id=source.category_id,
        status=Product.DRAFT,
        detail=source.detail,
        sort=source.sort,
        kind=source.kind,
        brand_id=source.brand_id,
        limit_per_order=source.limit_per_order,
        limit_per_member=source.limit_per_member,
        video=source.video.name,
        video_url=source.video_url,
        video_poster=source.video_poster.name,
        created_at=moment,
        updated_at=moment,
    )
    copy.values.set(source.values.all())
    copy.related.set(source.related.all())
    ProductImage.objects.bulk_create(
        ProductImage(
            product=copy,
            image=image.image.name,
            thumbnail=image.thumbnail.name,
            width=image.width,
            height=image.height,
            alt=image.alt,
            position=image.position,
        )
        for image in images
    )
    Sku.objects.bulk_create(
        Sku(
            product=copy,
            code=f"{sku.code[:50]}-{copy.pk}",
            name=sku.name,
            spec=sku.spec,
            price_fen=sku.price_fen,
            list_price_fen=sku.list_price_fen,
            weight_grams=sku.weight_grams,
            position=sku.position,
            is_active=sku.is_active,
        )
        for sku in skus
    )
    refresh_products(product_ids=[copy.pk])
    return copy


@transaction.atomic
def save_product_image(
    *, product_id: int, file: IO[bytes], name: str = "image.jpg", alt: str = "", position: int | None = None
) -> ProductImage:
    """Keep a picture with its size and a thumbnail of 480 px. Raises Refusal when it is not a picture."""
    content = file.read()
    if position is None:
        last = ProductImage.objects.filter(product_id=product_id).aggregate(last=Max("position"))["last"]
        position = 0 if last is None else last + 1
    image = ProductImage(product_id=product_id, alt=alt, position=position)
    image.thumbnail.save(f"{_stem(name)}-480.jpg", ContentFile(thumbnail_of(content)), save=False)
    image.image.save(name, ContentFile(content, name=name), save=False)  # unnamed, it has no size
    image.save()
    return image


def check_video(file: "File[Any]") -> None:
    """Raises Refusal unless the file is an MP4 or WebM of at most 50 MB, by its first bytes."""
    if (file.size or 0) > MAX_VIDEO:
        raise Refusal(_("The video is larger than 50 MB."))
    head = file.read(12)
    file.seek(0)
    if head[4:8] != b"ftyp" and head[:4] != b"\x1a\x45\xdf\xa3":
        raise Refusal(_("This is neither an MP4 nor a WebM video."))


def make_thumbnail(image: ProductImage) -> None:
    """Give a saved picture its thumbnail. Idempotent: overwritten by an equal one."""
    with image.image.open("rb") as file:
        content = file.read()
    image.thumbnail.save(
        f"{_stem(image.image.name or 'image')}-480.jpg", ContentFile(thumbnail_of(content)), save=False
    )
    ProductImage.objects.filter(pk=image.pk).update(thumbnail=image.thumbnail.name)


def thumbnail_of(content: bytes) -> bytes:
    """A JPEG of at most 480 px width: a card in a list on a slow network. Raises Refusal."""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise Refusal(_("This picture is too large; at most 40 million pixels."))
            picture = ImageOps.exif_transpose(opened)
            if picture.mode not in ("RGB", "L"):
                canvas = Image.new("RGB", picture.size, "white")
                rgba = picture.convert("RGBA")
                canvas.paste(rgba, mask=rgba.getchannel("A"))
                picture = canvas
            picture.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH * 3))
            out = io.BytesIO()
            picture.save(out, "JPEG", quality=82, optimize=True, progressive=True)
            return out.getvalue()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise Refusal(_("This file is not a picture that can be shown.")) from error


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0][:60]


@transaction.atomic
def refresh_sold_counts() -> int:
    """Pieces sold per product, counted from paid orders; set-based, run hourly so that no checkout waits for it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE shop_product p SET sold_count = w.sold
            FROM (
                SELECT p.id, coalesce(t.sold, 0) AS sold FROM shop_product p LEFT JOIN (
                    SELECT s.product_id, sum(l.quantity) AS sold
                    FROM (
                        SELECT order_id, sku_id, quantity FROM shop_orderline
                        UNION ALL SELECT order_id, sku_id, quantity FROM shop_orderbundle
                    ) l
                    JOIN shop_order o ON o.id = l.order_id
                    JOIN shop_sku s ON s.id = l.sku_id
                    WHERE o.paid_at IS NOT NULL AND o.status <> 'refunded'
                    GROUP BY s.product_id
                ) t ON t.product_id = p.id
            ) w
            WHERE w.id = p.id AND p.sold_count <> w.sold
            """
        )
        return cursor.rowcount
