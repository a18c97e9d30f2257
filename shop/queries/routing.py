"""How many of a SKU can be ordered online: what all stores that serve may give, as routing counts it."""

# A join for a statement with the SKU as `s`: `st.available` is never null and never negative. A store's safety stock
# stays in the store; the warehouse always serves.
AVAILABLE = """
LEFT JOIN LATERAL (
    SELECT coalesce(sum(greatest(k.on_hand - k.reserved - coalesce(k.safety, place.safety_stock), 0)), 0)::int
               AS available
    FROM shop_stock k JOIN crm_store place ON place.id = k.store_id
    WHERE k.sku_id = s.id AND place.is_active AND (place.ships_online OR place.code = 'warehouse')
) st ON true
"""
