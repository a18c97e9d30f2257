"""Beside the list: what it can be narrowed down to, what a shopper may mean, what goes with a product."""

from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from shop import finding
from shop.models import Product
from shop.queries.catalogue import ProductRow, asked_words, product_list

SMALL_SHOP = 6_000  # up to so many products everything is counted one by one
SAMPLE_ROWS = 4_000  # of larger shops so many are looked at first
EXACT_ROWS = 2_000  # when that says that at most so many fit, these are counted one by one too
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
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts under all filters but the facet's own, so that a second brand can be added to the first."""

    total: int
    is_estimated: bool  # so many fit that a sample was counted; `total` and `in_stock` are about so many
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
    """What the list of the same words and filters can be narrowed down to. One statement.

    A sample of the products tells how many fit. Few are counted one by one; of many the sample says how many about.
    """
    words = asked_words(search, by_sound=by_sound)
    if words is None:
        return Facets(total=0, is_estimated=False, least_fen=0, most_fen=0, in_stock=0)
    groups = finding.mark_groups(filters)
    base = [*words, *([groups.pop("")] if "" in groups else [])]
    around = finding.all_but_one(list(groups.values()))
    given: dict[str, Any] = {
        "values": MAX_FACET_VALUES,
        "low": filters.low_fen,
        "high": filters.high_fen,
        "in_stock": filters.in_stock,
        "small": SMALL_SHOP,
        "sample": SAMPLE_ROWS,
        "exact": EXACT_ROWS,
        "base": finding.all_of(base) or None,
        "every": [*base, *groups.values()],
        "around": [*base, *([around] if around else [])],
    }
    numbers = {key: number for number, key in enumerate(groups, start=1)}
    tests = []
    for key, number in numbers.items():
        chosen = filters.brand_ids if key == "brand" else filters.values[int(key[1:])]
        given[f"chosen{number}"] = list(chosen[: finding.MAX_CHOICES])
        fits = f"ANY(%(chosen{number})s::bigint[])"
        fits = f"h.brand_id = {fits}" if key == "brand" else f"h.value_ids && {fits[4:-1]}"
        tests.append(f"CASE WHEN {fits} THEN 0 ELSE {number} END")
    own = " ".join(f"WHEN {int(key[1:])} THEN {number}" for key, number in numbers.items() if key != "brand")
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH shop AS MATERIALIZED (
                SELECT pieces, CASE WHEN pieces > %(small)s THEN least(100.0, 100.0 * %(sample)s / pieces) ELSE 0 END
                       ::real AS percent
                FROM (
                    SELECT CASE WHEN reltuples > 0 THEN reltuples ELSE pg_relation_size(oid) / 1000 END AS pieces
                    FROM pg_class WHERE oid = 'shop_product'::regclass
                ) shop
            ), seen AS MATERIALIZED (
                SELECT count(*) AS pieces
                FROM shop_product TABLESAMPLE SYSTEM ((SELECT percent FROM shop)) REPEATABLE (7)
            ), sample AS MATERIALIZED (
                SELECT h.*, {_missed(tests)} AS missed, greatest(shop.pieces / seen.pieces, 1) AS weight
                FROM shop, seen, shop_sampled(%(base)s::tsquery, %(low)s, %(high)s, %(in_stock)s, percent) h
            ), size_of AS MATERIALIZED (
                SELECT coalesce(sum(weight) FILTER (WHERE missed = 0), 0) <= %(exact)s AS few,
                       coalesce(sum(weight) FILTER (WHERE missed >= 0), 0) <= %(exact)s AS few_around
                FROM sample
            ), found AS MATERIALIZED (
                SELECT h.brand_id, h.value_ids, h.min_price_fen, h.max_price_fen, h.is_in_stock,
                       {_missed(tests)} AS missed, 1::real AS weight
                FROM size_of, shop_found(
                    CASE WHEN few_around THEN %(around)s::tsquery[] WHEN few THEN %(every)s::tsquery[] END,
                    %(low)s, %(high)s, %(in_stock)s, NULL
                ) h
            ), hits AS MATERIALIZED (
                SELECT found.* FROM found WHERE missed >= 0
                UNION ALL
                SELECT sample.* FROM sample, size_of
                WHERE NOT few_around AND (missed > 0 OR missed = 0 AND NOT few)
            )
            (SELECT 0 AS part, 0::bigint AS position, 0::bigint AS owner, '' AS owner_name, 0::bigint AS place,
                    round(coalesce(sum(weight), 0))::bigint AS pk, '' AS name, min(min_price_fen) AS pieces,
                    coalesce(bool_or(weight > 1), false) AS is_estimated, max(max_price_fen) AS most,
                    round(coalesce(sum(weight) FILTER (WHERE is_in_stock), 0))::bigint AS in_stock
             FROM hits WHERE missed = 0)
            UNION ALL
            (SELECT 1, 0, 0, '', b.position, b.id, b.name, round(sum(weight))::bigint, bool_or(weight > 1), 0, 0
             FROM hits h JOIN shop_brand b ON b.id = h.brand_id AND b.is_active
             WHERE missed IN (0, {numbers.get("brand", 0)})
             GROUP BY b.id ORDER BY sum(weight) DESC, b.position, b.id LIMIT %(values)s)
            UNION ALL
            (SELECT 2, a.position, a.id, a.name, v.position, v.id, v.name, round(sum(t.pieces))::bigint,
                    bool_or(t.is_estimated), 0, 0
             FROM (
                 SELECT value_id, missed, sum(weight) AS pieces, bool_or(weight > 1) AS is_estimated
                 FROM hits h, unnest(h.value_ids) AS value_id GROUP BY value_id, missed
             ) t
             JOIN shop_attributevalue v ON v.id = t.value_id
             JOIN shop_attribute a ON a.id = v.attribute_id AND a.is_filter
             WHERE t.missed = 0 OR t.missed = {f"CASE a.id {own} END" if own else "0"}
             GROUP BY a.id, v.id)
            """,  # noqa: S608  only the closed words above and numbers are pasted in
            given,
        )
        rows = cursor.fetchall()
    total = next(row for row in rows if row[0] == 0)
    shown: dict[str, list[Any]] = {}
    for part, position, owner, owner_name, place, pk, name, count, is_estimated, _most, _stock in rows:
        if part:
            key = "brand" if part == 1 else f"a{owner}"
            group = shown.setdefault(key, [(part, position, owner), owner_name, [], False])
            group[2].append((place, pk, name, count))
            group[3] |= is_estimated
    return Facets(
        total=_about(total[5], total[8]),
        is_estimated=total[8],
        least_fen=total[7] or 0,
        most_fen=total[9] or 0,
        in_stock=_about(total[10], total[8]),
        groups=[
            Facet(
                key=key,
                name=name,
                is_estimated=is_estimated,
                values=[
                    FacetValue(pk, word, _about(count, is_estimated))
                    for _place, pk, word, count in sorted(values)
                ][:MAX_FACET_VALUES],
            )
            for key, (_order, name, values, is_estimated) in sorted(
                shown.items(), key=lambda item: item[1][0]
            )
        ],
    )


def _missed(tests: list[str]) -> str:
    """0: fits every filter; the number of the only one that it misses; -1: it misses several."""
    if not tests:
        return "0"
    misses = " + ".join(f"({test} > 0)::int" for test in tests)
    return f"CASE {misses} WHEN 0 THEN 0 WHEN 1 THEN {' + '.join(tests)} ELSE -1 END"


def _about(count: int, is_estimated: bool) -> int:
    """An estimate says no more than it knows: two digits."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return (count + step // 2) // step * step if is_estimated else count


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
    typed = typed.replace("\x00", "").strip()[:50]
    words = finding.words_query(typed)
    if not words:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH products AS (
                SELECT 'product' AS kind, p.id, p.name, l.place
                FROM shop_listed('sold', %(parts)s::tsquery[], NULL, NULL, false, NULL, NULL, 100)
                     WITH ORDINALITY AS l(id, place)
                JOIN shop_product p ON p.id = l.id
            ), owners AS (
                SELECT 'brand' AS kind, b.id, b.name, 1 AS rank FROM shop_brand b
                WHERE b.is_active AND (b.name ILIKE %(like)s OR b.aliases ILIKE %(like)s)
                UNION ALL
                SELECT 'category', c.id, c.name, 2 FROM shop_category c
                WHERE c.is_active AND c.name ILIKE %(like)s
            )
            (SELECT kind, id, name FROM owners ORDER BY rank, length(name), id LIMIT 3)
            UNION ALL
            (SELECT kind, id, name FROM products
             ORDER BY (strpos(lower(name), lower(%(typed)s)) = 0), place LIMIT %(most)s)
            """,
            {
                "parts": list(words),
                "typed": typed,
                "like": f"%{_like(typed)}%",
                "most": SUGGESTIONS,
            },
        )
        return [Suggestion(*row) for row in cursor.fetchall()][:SUGGESTIONS]


def meant(typed: str, *, most: int = 6) -> list[str]:
    """Names that sound like what was typed wrongly, nearest first: lianyqun → 连衣裙, 百摺半群 → 百褶半裙.

    Compared with categories, brands and the best-selling products: a guess about 200,000 would take longer than a
    shopper waits. Two statements.
    """
    typed = typed.replace("\x00", "").strip()[:50]
    sound = finding.sound_of(typed)
    if len(typed) < 2 or len(sound) < 3:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            (SELECT name FROM shop_category WHERE is_active ORDER BY id LIMIT %(known)s)
            UNION (SELECT name FROM shop_brand WHERE is_active ORDER BY id LIMIT %(known)s)
            """,
            {"known": KNOWN_NAMES},
        )
        owners = [row[0] for row in cursor.fetchall()]
        cursor.execute(
            """
            SELECT name FROM (
                SELECT name, max(word_similarity(%(sound)s, sound)) AS likeness, max(sold_count) AS sold
                FROM (
                    (SELECT p.name, p.sound, p.sold_count FROM shop_product p
                     WHERE p.status = 'on_sale' ORDER BY p.sold_count DESC LIMIT %(known)s)
                    UNION ALL
                    SELECT o.name, o.sound, 2147483647
                    FROM unnest(%(owners)s::text[], %(sounds)s::text[]) AS o(name, sound)
                ) known GROUP BY name
            ) near WHERE likeness >= %(least)s ORDER BY likeness DESC, sold DESC, name LIMIT %(most)s
            """,
            {
                "sound": sound[:60],
                "known": KNOWN_NAMES,
                "owners": owners,
                "sounds": [finding.sound_of(name, 60) for name in owners],
                "least": LIKENESS,
                "most": most,
            },
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
