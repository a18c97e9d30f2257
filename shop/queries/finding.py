"""Beside the list: what it can be narrowed down to, what a shopper may mean, what goes with a product."""

from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from shop import finding
from shop.models import Product
from shop.queries.catalogue import ProductRow, matching, product_list

FACET_ROWS = 1_000  # counts are exact up to so many products; beyond, they are "at least"
MAX_FACET_VALUES = 30
SUGGESTIONS = 8
KNOWN_NAMES = 1_000
LIKENESS = 0.35  # of trigrams shared: one slip in a word of four syllables leaves about half


@dataclass(frozen=True, slots=True)
class FacetValue:
    pk: int
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Facet:
    """One thing to choose by. `key` is its name in the address: "brand" or "a7" for attribute 7."""

    key: str
    name: str  # empty for brands: the page names them
    values: list[FacetValue]


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts under all filters but the facet's own, so that a second brand can be added to the first."""

    total: int
    is_capped: bool  # there are more than `total`
    least_fen: int
    most_fen: int
    in_stock: int
    groups: list[Facet] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`kind`: "brand", "category" or "product"; `pk` is that one's."""

    kind: str
    pk: int
    name: str


def facets(*, search: str = "", filters: finding.Filters = finding.ALL, by_sound: bool = False) -> Facets:
    """What the list of the same words and filters can be narrowed down to. One statement."""
    given: dict[str, Any] = {
        "rows": FACET_ROWS + 1,
        "values": MAX_FACET_VALUES,
        "low": filters.low_fen,
        "high": filters.high_fen,
        "in_stock": filters.in_stock,
    }
    asked: dict[str, Any] = {}
    if matching(search, filters, asked, by_sound=by_sound) is None:
        return Facets(total=0, is_capped=False, least_fen=0, most_fen=0, in_stock=0)
    given["wanted"] = asked.get("wanted")
    sets = [_set("hits", "wanted", has_words=bool(given["wanted"]))]
    sources = {"": "hits"}  # filter left out → the set of products without it
    chosen = [
        *(["brand"] if filters.brand_ids else []),
        *(f"a{pk}" for pk, ids in filters.values.items() if ids),
    ]
    for number, key in enumerate(chosen[:6]):
        less: dict[str, Any] = {}
        matching(search, filters, less, by_sound=by_sound, without=key)
        given[f"wanted{number}"] = less.get("wanted")
        sets.append(_set(f"less{number}", f"wanted{number}", has_words="wanted" in less))
        sources[key] = f"less{number}"
    open_attributes = [int(key[1:]) for key in sources if key[:1] == "a"]
    given["closed"] = open_attributes
    counted = [
        _values_of(sources[""], "NOT (a.id = ANY(%(closed)s::bigint[]))"),
        *(_values_of(sources[f"a{pk}"], f"a.id = {pk}") for pk in open_attributes),
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH {", ".join(sets)}
            (SELECT 0 AS part, 0::bigint AS position, 0::bigint AS owner, '' AS owner_name, 0::bigint AS place,
                    count(*)::bigint AS pk, '' AS name, min(min_price_fen) AS count, max(max_price_fen) AS most,
                    count(*) FILTER (WHERE is_in_stock) AS in_stock
             FROM hits)
            UNION ALL
            (SELECT 1, 0, 0, '', b.position, b.id, b.name, count(*), 0, 0
             FROM {sources.get("brand", "hits")} h JOIN shop_brand b ON b.id = h.brand_id AND b.is_active
             GROUP BY b.id ORDER BY count(*) DESC, b.position, b.id LIMIT %(values)s)
            UNION ALL {" UNION ALL ".join(counted)}
            """,  # noqa: S608  only the closed words above and numbers are pasted in
            given,
        )
        rows = cursor.fetchall()
    total = next(row for row in rows if row[0] == 0)
    groups: dict[str, list[Any]] = {}
    for part, position, owner, owner_name, place, pk, name, count, _most, _stock in rows:
        if part:
            key = "brand" if part == 1 else f"a{owner}"
            groups.setdefault(key, [(part, position, owner), owner_name, []])[2].append(
                (place, pk, name, count)
            )
    return Facets(
        total=min(total[5], FACET_ROWS),
        is_capped=total[5] > FACET_ROWS,
        least_fen=total[7] or 0,
        most_fen=total[8] or 0,
        in_stock=total[9],
        groups=[
            Facet(
                key=key,
                name=name,
                values=[FacetValue(pk, word, count) for _place, pk, word, count in sorted(values)][
                    :MAX_FACET_VALUES
                ],
            )
            for key, (_order, name, values) in sorted(groups.items(), key=lambda item: item[1][0])
        ],
    )


def _set(name: str, wanted: str, *, has_words: bool) -> str:
    """A set of at most so many products. `shop_found` goes through the index of words; without words any will do."""
    if has_words:
        found = f"SELECT * FROM shop_found(%({wanted})s::tsquery, %(low)s, %(high)s, %(in_stock)s, %(rows)s)"  # noqa: S608
    else:
        found = """
            SELECT p.brand_id, p.value_ids, p.min_price_fen, p.max_price_fen, p.is_in_stock FROM shop_product p
            WHERE p.status = 'on_sale' AND (%(low)s::bigint IS NULL OR p.max_price_fen >= %(low)s)
              AND (%(high)s::bigint IS NULL OR p.min_price_fen <= %(high)s) AND (p.is_in_stock OR NOT %(in_stock)s)
            LIMIT %(rows)s
        """
    return f"{name} AS MATERIALIZED ({found})"


def _values_of(source: str, condition: str) -> str:
    """Counts of attribute values in a set; counted by number first, named afterwards."""
    return f"""
        (SELECT 2, a.position, a.id, a.name, v.position, v.id, v.name, t.pieces, 0, 0
         FROM (SELECT value_id, count(*) AS pieces FROM {source} h, unnest(h.value_ids) AS value_id
               GROUP BY value_id) t
         JOIN shop_attributevalue v ON v.id = t.value_id
         JOIN shop_attribute a ON a.id = v.attribute_id AND a.is_filter AND {condition})
    """  # noqa: S608


def filter_names(filters: finding.Filters) -> dict[tuple[str, int], str]:
    """("brand", id) and ("value", id) → the name of what is chosen. One statement."""
    values = [pk for ids in filters.values.values() for pk in ids]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT 'brand', id, name FROM shop_brand WHERE id = ANY(%s::bigint[])
            UNION ALL SELECT 'value', id, name FROM shop_attributevalue WHERE id = ANY(%s::bigint[])
            """,
            [list(filters.brand_ids), values],
        )
        return {(kind, pk): name for kind, pk, name in cursor.fetchall()}


def suggestions(typed: str) -> list[Suggestion]:
    """What she may be typing: brands and categories by name or alias, then products. One statement."""
    typed = typed.strip()[:50]
    words = finding.words_query(typed)
    if not words:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH products AS (
                SELECT 'product' AS kind, p.id, p.name, 3 AS rank, p.sold_count FROM shop_product p
                WHERE p.status = 'on_sale' AND p.search @@ %(words)s::tsquery LIMIT 300
            ), owners AS (
                SELECT 'brand' AS kind, b.id, b.name, 1 AS rank, 0 AS sold_count FROM shop_brand b
                WHERE b.is_active AND (b.name ILIKE %(like)s OR b.aliases ILIKE %(like)s)
                UNION ALL
                SELECT 'category', c.id, c.name, 2, 0 FROM shop_category c
                WHERE c.is_active AND c.name ILIKE %(like)s
            )
            (SELECT kind, id, name FROM owners ORDER BY rank, length(name), id LIMIT 3)
            UNION ALL
            (SELECT kind, id, name FROM products
             ORDER BY (strpos(lower(name), lower(%(typed)s)) = 0), sold_count DESC, id DESC LIMIT %(most)s)
            """,
            {"words": words, "typed": typed, "like": f"%{_like(typed)}%", "most": SUGGESTIONS},
        )
        return [Suggestion(*row) for row in cursor.fetchall()][:SUGGESTIONS]


def meant(typed: str, *, most: int = 6) -> list[str]:
    """Names that sound like what was typed wrongly, nearest first: lianyqun → 连衣裙, 百摺半群 → 百褶半裙.

    Compared with the best-selling products: a guess about 200,000 would take longer than a shopper waits. One
    statement.
    """
    typed = typed.strip()[:50]
    sound = finding.sound_of(typed)
    if len(typed) < 2 or len(sound) < 3:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT name FROM (
                SELECT name, max(word_similarity(%(sound)s, sound)) AS likeness, max(sold_count) AS sold
                FROM (
                    SELECT p.name, p.sound, p.sold_count FROM shop_product p
                    WHERE p.status = 'on_sale' ORDER BY p.sold_count DESC LIMIT %(known)s
                ) known GROUP BY name
            ) near WHERE likeness >= %(least)s ORDER BY likeness DESC, sold DESC, name LIMIT %(most)s
            """,
            {"sound": sound[:60], "known": KNOWN_NAMES, "least": LIKENESS, "most": most},
        )
        return [row[0] for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class ProductExtras:
    """What stands beside a product. `video` and `poster` are addresses, empty when there is none."""

    brand_id: int | None
    brand: str
    video: str
    poster: str


def product_extras(product_id: int) -> ProductExtras | None:
    """Brand and video of a product that shoppers may see. One statement."""
    product = (
        Product.objects.filter(pk=product_id)
        .exclude(status=Product.DRAFT)
        .select_related("brand")
        .only("video", "video_url", "video_poster", "brand__name", "brand__is_active")
        .first()
    )
    if product is None:
        return None
    brand = product.brand if product.brand and product.brand.is_active else None
    return ProductExtras(
        brand_id=brand.pk if brand else None,
        brand=brand.name if brand else "",
        video=product.video.url if product.video else product.video_url,
        poster=product.video_poster.url if product.video_poster else "",
    )


def goes_with(product_id: int, *, most: int = 6) -> list[ProductRow]:
    """Related products that can be bought: those chosen by an operator, else the best of its category.

    Two statements.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT p.category_id, array(
                SELECT r.to_product_id FROM shop_product_related r WHERE r.from_product_id = p.id ORDER BY r.id
            ) FROM shop_product p WHERE p.id = %s
            """,
            [product_id],
        )
        row = cursor.fetchone()
    if row is None:
        return []
    category_id, chosen = row
    if chosen:
        return product_list(only=chosen, page_size=most).rows
    if category_id is None:
        return []
    near = product_list(category=category_id, sort="sold", page_size=most + 1).rows
    return [one for one in near if one.pk != product_id][:most]


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
