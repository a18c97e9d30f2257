"""Shelves and the product page. The list is one statement and no model instances: it is the page most often seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.core.files.storage import default_storage
from django.db import connection
from django.utils.translation import gettext as _

from core import keyset, statements
from shop import finding
from shop.errors import NoSuchProduct
from shop.models import Product
from shop.queries.limits import Limit
from shop.queries.routing import AVAILABLE

# Closed words: what comes from the address line picks one of these and never reaches the statement itself.
# Sort → column (None: the id alone) and whether the largest comes first; the newest id decides among equals.
SORTS: dict[str, tuple[str | None, bool]] = {
    "default": ("sort", True),
    "new": (None, True),
    "price": ("min_price_fen", False),
    "-price": ("min_price_fen", True),
    "sold": ("sold_count", True),
}
ROWS_BY_NAME = 200

# What `product_row` reads of a product p, but for whether it is sold out: each page judges that by its own rule.
CARD = """p.id, p.name, p.subtitle, p.min_price_fen, p.max_price_fen, k.list_price_fen,
    coalesce(i.file, ''), coalesce(i.width, 0), coalesce(i.height, 0), p.sold_count"""
CARD_JOINS = f"""LEFT JOIN LATERAL (
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
"""  # noqa: S608  the join is ours


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
    after: str  # the cursor of the next page; "" when this is the last

    @property
    def has_next(self) -> bool:
        return bool(self.after)


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
    limit_per_order: int | None = None
    limit_per_member: int | None = None
    kind: str = Product.GOODS

    @property
    def available(self) -> int:
        return sum(sku.available for sku in self.skus)

    def limit(self, taken: int) -> Limit | None:
        """Its limits for who has `taken` pieces of it; None when it has none."""
        if self.limit_per_order is None and self.limit_per_member is None:
            return None
        return Limit(self.pk, self.name, self.limit_per_order, self.limit_per_member, taken)

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
    after: str = "",
    page_size: int = 20,
    filters: finding.Filters = finding.ALL,
    by_sound: bool = False,
    only: list[int] | None = None,
) -> ProductPage:
    """Products on sale, of a category with all below it, or those in which every word of `search` is found.

    One statement. An unknown `sort` is the default one; what is sold out stays in its place, marked. `after` is the
    cursor of the page before; one that does not fit the sort is the first page. `by_sound` takes Chinese words by
    their pinyin: 连衣群 finds 连衣裙. `only` are the products to choose from, in this order, without further pages.
    """
    if category is not None:
        filters = replace(filters, category_id=category)
    sort = sort if sort in SORTS else "default"
    given: dict[str, Any] = {"limit": page_size + 1, "low": None, "high": None}
    conditions = matching(search, filters, given, by_sound=by_sound)
    if conditions is None:
        return ProductPage(rows=[], after="")
    if only is not None:
        conditions += " AND p.id = ANY(%(only)s::bigint[])"
        given["only"] = only
        order, key = "array_position(%(only)s::bigint[], p.id)", "p.id"
        chosen = f"{_found(conditions)} ORDER BY {order} LIMIT %(limit)s"
    elif search.strip() and not by_sound and sort == "default" and keyset.values(after, 2) is None:
        order, key, chosen = _by_name(search, filters, after, given)
    else:
        order, key, chosen = _by_sort(sort, conditions, filters, after, given)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT {CARD},
                   coalesce(k.available, 0) <= 0, {key}
            FROM ({chosen}) p
            {CARD_JOINS}
            ORDER BY {order}
            """,  # noqa: S608  only the closed words above are pasted in
            given,
        )
        rows = cursor.fetchall()
    ends: tuple[Any, ...] = rows[page_size - 1][11:] if len(rows) > page_size and only is None else ()
    if len(ends) == 4:  # ranked by name: behind those that were, the sort alone goes on
        ends = ends[2:] if ends[0] else ends[1:]
    return ProductPage(
        rows=[product_row(row) for row in rows[:page_size]],
        after=keyset.cursor(*ends) if ends else "",
    )


_COLUMNS = "p.id, p.name, p.subtitle, p.min_price_fen, p.max_price_fen, p.sold_count, p.sort"


def _found(conditions: str) -> str:
    return f"SELECT {_COLUMNS} FROM shop_product p WHERE {conditions}"  # noqa: S608  only our own words are pasted in


def _listed(sort: str, filters: finding.Filters, place: tuple[int, ...] | None, given: dict[str, Any]) -> str:
    """Products by words and marks, through the function that looks which index is the cheaper way to them."""
    value, pk = (place[0], place[-1]) if place else (None, None)
    given.update(by=sort, in_stock=filters.in_stock, from_value=value, from_id=pk)
    return f"""
        SELECT {_COLUMNS}, l.place
        FROM shop_listed(%(by)s, %(parts)s::tsquery[], %(low)s, %(high)s, %(in_stock)s,
                         %(from_value)s, %(from_id)s, %(most)s) WITH ORDINALITY AS l(id, place)
        JOIN shop_product p ON p.id = l.id
    """  # noqa: S608  only our own words are pasted in


def _by_sort(
    sort: str, conditions: str, filters: finding.Filters, after: str, given: dict[str, Any]
) -> tuple[str, str, str]:
    """(order, columns of the cursor, products of one page) in the order of one column and the id."""
    column, is_falling = SORTS[sort]
    if column is None:
        order, key, behind = "p.id DESC", "p.id", "p.id < %(id)s"
    elif sort == "-price":  # the index on prices backwards: the oldest first among equals
        order, key = f"p.{column} DESC, p.id", f"p.{column}, p.id"
        behind = f"p.{column} <= %(value)s AND (p.{column} < %(value)s OR p.id > %(id)s)"
    elif is_falling:
        order, key = f"p.{column} DESC, p.id DESC", f"p.{column}, p.id"
        behind = f"(p.{column}, p.id) < (%(value)s, %(id)s)"
    else:
        order, key = f"p.{column}, p.id DESC", f"p.{column}, p.id"
        behind = f"p.{column} >= %(value)s AND (p.{column} > %(value)s OR p.id < %(id)s)"
    place = keyset.values(after, 1 if column is None else 2)
    if "parts" in given:
        given["most"] = given["limit"]
        return order, key, _listed(sort, filters, place, given)
    if place is not None:
        conditions += f" AND {behind}"
        given.update(value=place[0], id=place[-1])
    return order, key, f"{_found(conditions)} ORDER BY {order} LIMIT %(limit)s"


def _by_name(
    search: str, filters: finding.Filters, after: str, given: dict[str, Any]
) -> tuple[str, str, str]:
    """The same, but what carries the words in its name, as typed, comes before what is found by category or code.

    Among the first ROWS_BY_NAME of the shelf only, so that a word that thousands carry needs no sorting of thousands.
    """
    order = "p.is_beyond, p.is_other, p.sort DESC, p.id DESC"
    given.update(
        typed=search.replace("\x00", "").strip()[:100],
        by_name=ROWS_BY_NAME,
        most=ROWS_BY_NAME + given["limit"],
    )
    products = _listed("default", filters, None, given)
    place = keyset.values(after, 3)
    behind = ""
    if place is not None:
        behind = (
            "WHERE (p.is_beyond, p.is_other, -p.sort, -p.id) > (false, %(other)s, -(%(value)s), -(%(id)s))"
        )
        given.update(other=bool(place[0]), value=place[1], id=place[2])
    return (
        order,
        "p.is_beyond, p.is_other, p.sort, p.id",
        f"""
        SELECT * FROM (
            SELECT p.*, p.place > %(by_name)s AS is_beyond,
                   p.place <= %(by_name)s AND strpos(lower(p.name), lower(%(typed)s)) = 0 AS is_other
            FROM ({products}) p
        ) p {behind} ORDER BY {order} LIMIT %(limit)s
        """,  # noqa: S608  only our own words are pasted in
    )


def asked_words(search: str, *, by_sound: bool = False) -> tuple[str, ...] | None:
    """What is asked for by words; None: nothing can be found, because what was typed has no word in it."""
    if not search.strip():
        return ()
    return (finding.sounds_query(search) if by_sound else finding.words_query(search)) or None


def matching(
    search: str, filters: finding.Filters, given: dict[str, Any], *, by_sound: bool = False
) -> str | None:
    """The condition on shop_product p for words and filters; its values are added to `given`.

    None: nothing can be found, because what was typed has no word in it.
    """
    words = asked_words(search, by_sound=by_sound)
    if words is None:
        return None
    conditions = ["p.status = 'on_sale'"]
    parts = [*words, *finding.mark_groups(filters).values()]
    if parts:
        conditions.append("p.search @@ %(wanted)s::tsquery")
        given.update(wanted=finding.all_of(parts), parts=parts)
    if filters.low_fen is not None:
        conditions.append("p.max_price_fen >= %(low)s")
        given["low"] = filters.low_fen
    if filters.high_fen is not None:
        conditions.append("p.min_price_fen <= %(high)s")
        given["high"] = filters.high_fen
    if filters.in_stock:
        conditions.append("p.is_in_stock")
    return " AND ".join(conditions)


_PRODUCT_PAGE = f"""
SELECT p.id, p.name, p.subtitle, p.detail, p.status, p.category_id, coalesce(c.name, ''), p.min_price_fen,
       p.max_price_fen, p.sold_count, p.limit_per_order, p.limit_per_member, p.kind,
       (SELECT coalesce(json_agg(json_build_array(i.image, i.thumbnail, i.width, i.height, i.alt)
                                 ORDER BY i.position, i.id), '[]')
        FROM shop_productimage i WHERE i.product_id = p.id),
       (SELECT coalesce(json_agg(json_build_array(s.id, s.code, s.name, s.spec, s.price_fen, s.list_price_fen,
                                                  st.available) ORDER BY s.position, s.id), '[]')
        FROM shop_sku s {AVAILABLE} WHERE s.product_id = p.id AND s.is_active AND p.status = 'on_sale')
FROM shop_product p LEFT JOIN shop_category c ON c.id = p.category_id
WHERE p.id = %s AND p.status <> 'draft'
"""  # noqa: S608  the join is ours


def product_page(pk: int) -> ProductPageData:
    """Everything on a product's page, in one statement. Raises NoSuchProduct for drafts and unknown ones.

    A product that was taken off is still shown (old links in chats live long), without anything to buy.
    """
    found = statements.rows(_PRODUCT_PAGE, [statements.bigint(pk)])
    if not found:
        raise NoSuchProduct(_("This product does not exist any more."))
    columns, (*limits, kind, images, skus) = found[0][:10], found[0][10:]
    name = columns[1]
    pictures = [
        ImageRow(_url(image), _url(thumbnail or image), width, height, alt or name)
        for image, thumbnail, width, height, alt in images
    ]
    variants = [SkuRow(*(*row[:3], finding.in_order(_spec(row[3]), row[2]), *row[4:])) for row in skus]
    return ProductPageData(*(*columns, pictures, variants, *limits, kind))


def _spec(spec: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in spec.items()} if isinstance(spec, dict) else {}


def product_row(row: Sequence[Any]) -> ProductRow:
    """A row of `CARD`, whether it is sold out, and what else the statement asked for."""
    return ProductRow(*(*row[:6], _url(row[6]), *row[7:11]))


def _url(name: str) -> str:
    return default_storage.url(name) if name else ""
