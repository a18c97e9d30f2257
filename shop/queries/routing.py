"""How many of a SKU can be ordered online: what all stores that serve may give, as routing counts it."""

_STOCK = """
    SELECT coalesce(sum(greatest(k.on_hand - k.reserved - coalesce(k.safety, place.safety_stock), 0)), 0)::int
    FROM shop_stock k JOIN crm_store place ON place.id = k.store_id
    WHERE k.sku_id = {sku}.id AND place.is_active AND (place.ships_online OR place.code = 'warehouse')
"""
# Without a limit: as many as one order may have (`rules.MAX_QUANTITY`).
_PIECES = """
    SELECT coalesce(max(coalesce(t.quota - t.taken, 999)), 0) FROM shop_goodsterms t WHERE t.sku_id = {sku}.id
"""

# A join for a statement with the SKU as `s`: `st.available` is never null and never negative. A store's safety stock
# stays in the store; the warehouse always serves. Of a bundle there are as many as its scarcest part allows.
AVAILABLE = f"""
CROSS JOIN LATERAL (
    SELECT CASE s.supply
        WHEN 'stock' THEN ({_STOCK.format(sku="s")})
        WHEN 'pieces' THEN ({_PIECES.format(sku="s")})
        ELSE coalesce((
            SELECT min(
                CASE c.supply WHEN 'stock' THEN ({_STOCK.format(sku="c")}) ELSE ({_PIECES.format(sku="c")}) END
                / i.quantity
            )
            FROM shop_bundleitem i JOIN shop_sku c ON c.id = i.sku_id WHERE i.bundle_id = s.id
        ), 0)
    END AS available OFFSET 0  -- worked out once, however often it is named
) st
"""  # noqa: S608  our own words only
