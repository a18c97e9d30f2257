"""Shelves and the product page. The list is one statement and no model instances: it is the page most often seen."""

import json
from dataclasses import dataclass, replace
from typing import Any

from django.core.files.storage import default_storage
from django.db import connection
from django.utils.translation import gettext as _

from shop import finding
from shop.errors import NoSuchProduct
from shop.models import Product
from shop.queries.routing import AVAILABLE

# Closed words: what comes from the address line picks one of these and never reaches the statement itself.
SORTS = {
    "default": "p.sort DESC, p.id DESC",
    "new": "p.id DESC",
    "price": "p.min_price_fen, p.id DESC",
    "-price": "p.min_price_fen DESC, p.id DESC",
    "sold": "p.sold_count DESC, p.id DESC",
}
MAX_PAGE = 500
ROWS_BY_NAME = 200  # a multiple of every page size


@dataclass(frozen=True, slots=True)
class CategoryRow:
    pk: int
    name: str
    parent_id: int | None
    depth: int  # 0: a root


@dataclass(frozen=True, slots=True)
class ProductRow:
    pk: int
    name: str
    subtitle: str
    min_price_fen: int
    max_price_fen: int
    list_price_fen: int | None  # of the cheapest SKU, only when it is higher
    image_url: str  # a thumbnail when there is one; "" without a picture
    image_width: int  # of the full picture: the ratio is what pages need
    image_height: int
    sold_count: int
    is_sold_out: bool


@dataclass(frozen=True, slots=True)
class ProductPage:
    rows: list[ProductRow]
    page: int
    has_next: bool


@dataclass(frozen=True, slots=True)
class ImageRow:
    url: str
    thumbnail_url: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True, slots=True)
class SkuRow:
    pk: int
    code: str
    name: str
    spec: dict[str, str]
    price_fen: int
    list_price_fen: int | None
    available: int


@dataclass(frozen=True, slots=True)
class ProductPageData:
    pk: int
    name: str
    subtitle: str
    detail: str  # sanitised HTML
    status: str
    category_id: int | None
    category_name: str
    min_price_fen: int
    max_price_fen: int
    sold_count: int
    images: list[ImageRow]
    skus: list[SkuRow]
    is_limited: bool = False  # per order or per member, see `limits_of`
    kind: str = Product.GOODS

    @property
    def available(self) -> int:
        return sum(sku.available for sku in self.skus)

    @property
    def specs(self) -> dict[str, list[str]]:
        """Each dimension with its values in the order of the SKUs: {"颜色": ["雾蓝", "米白"], "尺码": ["S", "M"]}."""
        found: dict[str, list[str]] = {}
        for sku in self.skus:
            for dimension, value in sku.spec.items():
                values = found.setdefault(dimension, [])
                if value not in values:
                    values.append(value)
        return found


def categories() -> list[CategoryRow]:
    """All shown categories, parents before their children; a hidden parent hides its children. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE tree AS (
                SELECT id, name, parent_id, 0 AS depth, ARRAY[position::bigint, id] AS path
                FROM shop_category WHERE parent_id IS NULL AND is_active
                UNION ALL
                SELECT c.id, c.name, c.parent_id, t.depth + 1, t.path || ARRAY[c.position::bigint, c.id]
                FROM shop_category c JOIN tree t ON c.parent_id = t.id WHERE c.is_active AND t.depth < 8
            )
            SELECT id, name, parent_id, depth FROM tree ORDER BY path
            """
        )
        return [CategoryRow(*row) for row in cursor.fetchall()]


def product_list(
    *,
    category: int | None = None,
    search: str = "",
    sort: str = "default",
    page: int = 1,
    page_size: int = 20,
    filters: finding.Filters = finding.ALL,
    by_sound: bool = False,
    only: list[int] | None = None,
) -> ProductPage:
    """Products on sale, of a category with all below it, or those in which every word of `search` is found.

    One statement. An unknown `sort` is the default one; what is sold out stays in its place, marked. `by_sound`
    takes Chinese words by their pinyin: 连衣群 finds 连衣裙. `only` are the products to choose from, in this order.
    """
    page = min(max(page, 1), MAX_PAGE)
    if category is not None:
        filters = replace(filters, category_id=category)
    order = SORTS.get(sort, SORTS["default"])
    given: dict[str, Any] = {"limit": page_size + 1, "offset": (page - 1) * page_size}
    conditions = matching(search, filters, given, by_sound=by_sound)
    if conditions is None:
        return ProductPage(rows=[], page=page, has_next=False)
    # What carries the words in its name, as typed, comes before what is found by category or code; among the first
    # ROWS_BY_NAME of the shelf only, so that a word that thousands carry needs no sorting of thousands.
    by_name = bool(search.strip()) and not by_sound and order == SORTS["default"]
    by_name = by_name and given["offset"] < ROWS_BY_NAME
    if by_name:
        given["typed"], given["by_name"] = search.strip()[:100], ROWS_BY_NAME
        order = f"(p.place > %(by_name)s), (strpos(lower(p.name), lower(%(typed)s)) = 0), {order}"
    if only is not None:
        conditions += " AND p.id = ANY(%(only)s::bigint[])"
        order, given["only"] = "array_position(%(only)s::bigint[], p.id)", only
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT p.id, p.name, p.subtitle, p.min_price_fen, p.max_price_fen, k.list_price_fen,
                   coalesce(i.file, ''), coalesce(i.width, 0), coalesce(i.height, 0), p.sold_count,
                   coalesce(k.available, 0) <= 0
            FROM ({_chosen(conditions, order, by_name=by_name)}) p
            LEFT JOIN LATERAL (
                SELECT coalesce(nullif(i.thumbnail, ''), i.image) AS file, i.width, i.height
                FROM shop_productimage i WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1
            ) i ON true
            LEFT JOIN LATERAL (
                SELECT sum(st.available) AS available,
                       max(s.list_price_fen) FILTER (
                           WHERE s.price_fen = p.min_price_fen AND s.list_price_fen > s.price_fen
                       ) AS list_price_fen
                FROM shop_sku s {AVAILABLE}
                WHERE s.product_id = p.id AND s.is_active
            ) k ON true
            ORDER BY {order}
            """,  # noqa: S608  only the closed words above are pasted in
            given,
        )
        rows = cursor.fetchall()
    return ProductPage(
        rows=[ProductRow(*(*row[:6], _url(row[6]), *row[7:])) for row in rows[:page_size]],
        page=page,
        has_next=len(rows) > page_size,
    )


def _chosen(conditions: str, order: str, *, by_name: bool) -> str:
    """The products of one page."""
    found = f"""
        SELECT p.id, p.name, p.subtitle, p.min_price_fen, p.max_price_fen, p.sold_count, p.sort
        FROM shop_product p WHERE {conditions}
    """  # noqa: S608  only our own words are pasted in
    if not by_name:
        return f"{found} ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s"
    return f"""
        SELECT * FROM (
            SELECT p.*, row_number() OVER () AS place FROM (
                {found} ORDER BY {SORTS["default"]} LIMIT %(by_name)s + 1
            ) p
        ) p ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s
    """  # noqa: S608


def matching(
    search: str, filters: finding.Filters, given: dict[str, Any], *, by_sound: bool = False, without: str = ""
) -> str | None:
    """The condition on shop_product p for words and filters; its values are added to `given`.

    None: nothing can be found, because what was typed has no word in it. `without` leaves one filter out.
    """
    words = ""
    if search.strip():
        words = finding.sounds_query(search) if by_sound else finding.words_query(search)
        if not words:
            return None
    conditions = ["p.status = 'on_sale'"]
    wanted = finding.both(words, finding.marks_query(filters, without=without))
    if wanted:
        conditions.append("p.search @@ %(wanted)s::tsquery")
        given["wanted"] = wanted
    if filters.low_fen is not None:
        conditions.append("p.max_price_fen >= %(low)s")
        given["low"] = filters.low_fen
    if filters.high_fen is not None:
        conditions.append("p.min_price_fen <= %(high)s")
        given["high"] = filters.high_fen
    if filters.in_stock:
        conditions.append("p.is_in_stock")
    return " AND ".join(conditions)


def product_page(pk: int) -> ProductPageData:
    """Everything on a product's page, in three statements. Raises NoSuchProduct for drafts and unknown ones.

    A product that was taken off is still shown (old links in chats live long), without anything to buy.
    """
    product = (
        Product.objects.filter(pk=pk)
        .exclude(status=Product.DRAFT)
        .select_related("category")
        .defer("search")
        .first()
    )
    if product is None:
        raise NoSuchProduct(_("This product does not exist any more."))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT s.id, s.code, s.name, s.spec::text, s.price_fen, s.list_price_fen, st.available
            FROM shop_sku s {AVAILABLE}
            WHERE s.product_id = %s AND s.is_active ORDER BY s.position, s.id
            """,  # noqa: S608  the join is ours
            [pk],
        )
        skus = [SkuRow(*(*row[:3], _spec(row[3]), *row[4:])) for row in cursor.fetchall()]
    return ProductPageData(
        pk=product.pk,
        name=product.name,
        subtitle=product.subtitle,
        detail=product.detail,
        status=product.status,
        category_id=product.category_id,
        category_name=product.category.name if product.category else "",
        min_price_fen=product.min_price_fen,
        max_price_fen=product.max_price_fen,
        sold_count=product.sold_count,
        images=[
            ImageRow(
                url=_url(image.image.name or ""),
                thumbnail_url=_url(image.thumbnail.name or image.image.name or ""),
                width=image.width,
                height=image.height,
                alt=image.alt or product.name,
            )
            for image in product.images.all()
        ],
        skus=skus if product.status == Product.ON_SALE else [],
        is_limited=product.limit_per_order is not None or product.limit_per_member is not None,
        kind=product.kind,
    )


def _spec(text: str) -> dict[str, str]:
    spec = json.loads(text)
    return {str(key): str(value) for key, value in spec.items()} if isinstance(spec, dict) else {}


def _url(name: str) -> str:
    return default_storage.url(name) if name else ""
