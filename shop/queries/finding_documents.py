"""What is derived of a product for lists and the search: worked out here, kept by `services.refresh_products`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core import statements
from shop import finding, rules
from shop.queries.routing import AVAILABLE

# Whether any SKU of product p that is for sale can be had: the same words as in the list's own mark.
_IN_STOCK = (
    f"EXISTS (SELECT 1 FROM shop_sku s {AVAILABLE} "  # noqa: S608  our own words
    "WHERE s.product_id = p.id AND s.is_active AND st.available > 0)"
)


@dataclass(frozen=True, slots=True)
class Document:
    """A product's derived columns; `tokens` are the words of its `search`."""

    product_id: int
    min_price_fen: int
    max_price_fen: int
    tokens: frozenset[str]
    sound: str
    value_ids: tuple[int, ...]  # ascending
    is_in_stock: bool


def documents(product_ids: Sequence[int]) -> list[Document]:
    """The documents of these products from SKUs, names, categories, brands and values. One statement."""
    found = statements.rows(
        f"""
        WITH RECURSIVE asked_ids AS (SELECT %s::bigint[]), above AS (
            SELECT DISTINCT p.category_id AS leaf, c.id, c.name, c.parent_id, 0 AS depth
            FROM shop_product p JOIN shop_category c ON c.id = p.category_id
            WHERE p.id = ANY((TABLE asked_ids)::bigint[])
            UNION ALL
            SELECT a.leaf, c.id, c.name, c.parent_id, a.depth + 1
            FROM above a JOIN shop_category c ON c.id = a.parent_id WHERE a.depth < 8
        ), shelves AS (
            SELECT leaf, array_agg(id) AS ids, array_agg(name) AS names FROM above GROUP BY leaf
        ), chosen AS (
            SELECT pv.product_id, pv.attributevalue_id AS value_id
            FROM shop_product_values pv WHERE pv.product_id = ANY((TABLE asked_ids)::bigint[])
            UNION
            SELECT s.product_id, v.id
            FROM shop_sku s
            CROSS JOIN LATERAL jsonb_each_text(
                CASE WHEN jsonb_typeof(s.spec) = 'object' THEN s.spec ELSE '{{}}' END
            ) AS spec(dimension, word)
            JOIN shop_attribute a ON a.name = spec.dimension
            JOIN shop_attributevalue v ON v.attribute_id = a.id AND v.name = spec.word
            WHERE s.product_id = ANY((TABLE asked_ids)::bigint[]) AND s.is_active
        ), worth AS (
            SELECT c.product_id, array_agg(c.value_id ORDER BY c.value_id) AS ids, array_agg(v.name) AS names
            FROM chosen c JOIN shop_attributevalue v ON v.id = c.value_id GROUP BY c.product_id
        ), goods AS (
            SELECT product_id, array_agg(code || ' ' || name) AS words,
                   min(price_fen) AS least, max(price_fen) AS most
            FROM shop_sku WHERE product_id = ANY((TABLE asked_ids)::bigint[]) AND is_active GROUP BY product_id
        )
        SELECT p.id, p.name, p.subtitle, coalesce(p.code, ''), coalesce(h.ids, '{{}}'),
               coalesce(h.names, '{{}}'), p.brand_id, coalesce(b.name, ''), coalesce(b.aliases, ''),
               coalesce(w.ids, '{{}}'), coalesce(w.names, '{{}}'), coalesce(g.words, '{{}}'),
               coalesce(g.least, 0), coalesce(g.most, 0), {_IN_STOCK}
        FROM shop_product p
        LEFT JOIN shelves h ON h.leaf = p.category_id
        LEFT JOIN shop_brand b ON b.id = p.brand_id
        LEFT JOIN worth w ON w.product_id = p.id
        LEFT JOIN goods g ON g.product_id = p.id
        WHERE p.id = ANY((TABLE asked_ids)::bigint[])
        """,  # noqa: S608  only the closed words above are pasted in
        [list(product_ids)],
    )
    return [_document(row) for row in found]


def _document(row: tuple[Any, ...]) -> Document:
    (
        product_id,
        name,
        subtitle,
        code,
        category_ids,
        categories,
        brand_id,
        brand,
        aliases,
        value_ids,
        values,
        skus,
        least,
        most,
        in_stock,
    ) = row
    words = rules.search_tokens([name, subtitle, code, brand, aliases, *categories, *values, *skus])
    sounds = finding.sound_tokens([name, brand, *categories])
    marks = finding.marks(category_ids=category_ids, brand_id=brand_id, value_ids=value_ids)
    return Document(
        product_id=product_id,
        min_price_fen=least,
        max_price_fen=most,
        tokens=frozenset((*words, *sounds, *marks, "=")),
        sound=finding.sound_of(name),
        value_ids=tuple(value_ids),
        is_in_stock=in_stock,
    )
