"""What a cart may add at a special price (加价购), with the reason where it may not."""

from dataclasses import dataclass

from django.core.files.storage import default_storage
from django.db import connection

from shop.pricing.types import Note, Quote
from shop.queries.pricing import note_text


@dataclass(frozen=True, slots=True)
class AddOn:
    """One SKU of an add-on promotion. `times`: how many of the promotion's she may add; 0 with `reason`: none yet."""

    source: str
    title: str
    sku_id: int
    product_id: int
    name: str
    image_url: str
    price_fen: int
    usual_fen: int
    is_left: bool
    is_taken: bool
    times: int
    reason: str


def add_ons_of(quote: Quote) -> list[AddOn]:
    """Every add-on of the promotions that a quote speaks of, in their order. One statement; none without any."""
    notes = {int(note.source.partition(":")[2]): note for note in quote.notes if _is_about_add_ons(note)}
    if not notes:
        return []
    taken = {
        (one.source, line.sku_id)
        for line in quote.lines
        if line.kind == "goods"
        for one in line.discounts
        if one.step == "promotion"
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT r.id, r.title, s.id, p.id, concat_ws(' ', p.name, nullif(s.name, '')), coalesce((
                       SELECT coalesce(nullif(i.thumbnail, ''), i.image) FROM shop_productimage i
                       WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1
                   ), ''), least(e.price_fen, s.price_fen), s.price_fen,
                   s.is_active AND p.status <> 'off' AND EXISTS (
                       SELECT FROM shop_stock t JOIN crm_store w ON w.id = t.store_id AND w.is_active
                       WHERE t.sku_id = s.id AND t.on_hand > t.reserved
                   )
            FROM shop_promotion r
            JOIN shop_promotionextra e ON e.promotion_id = r.id
            JOIN shop_sku s ON s.id = e.sku_id
            JOIN shop_product p ON p.id = s.product_id
            WHERE r.id = ANY(%s) AND r.kind = 'add_on' ORDER BY r.priority DESC, r.id, e.id LIMIT 40
            """,
            [list(notes)],
        )
        rows = cursor.fetchall()
    return [
        AddOn(
            source=notes[row[0]].source,
            title=row[1],
            sku_id=row[2],
            product_id=row[3],
            name=row[4],
            image_url=default_storage.url(row[5]) if row[5] else "",
            price_fen=row[6],
            usual_fen=row[7],
            is_left=row[8],
            is_taken=(notes[row[0]].source, row[2]) in taken,
            times=int(notes[row[0]].values.get("times", 0)),
            reason="" if "times" in notes[row[0]].values else note_text(notes[row[0]]),
        )
        for row in rows
    ]


def _is_about_add_ons(note: Note) -> bool:
    """Also those that may be about others: the statement asks for add-ons only."""
    return note.step == "promotion" and (
        note.message.startswith("add_on_")
        or note.message.endswith("_add_on")
        or note.message in ("gift_gone", "not_with_offer", "not_with_promotion", "only_new", "other_tier")
    )
