"""What others say about a product: all that its page shows of it in one statement, and the long list."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.files.storage import default_storage
from django.db.models import Exists, OuterRef

from core import keyset, statements
from shop.errors import NoSuchOrder
from shop.models import Order, OrderLine, Review, ReviewPhoto
from shop.queries.orders import order_for


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A review as shoppers see it; `photos` are (thumbnail, full size) addresses."""

    stars: int
    text: str
    name: str  # as much of it as others may see; "" for nobody's
    variant: str
    written_at: datetime
    answer: str
    photos: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ReviewPage:
    rows: list[ReviewRow]
    after: str  # the cursor of the next page; "" when this is the last


@dataclass(frozen=True, slots=True)
class QuestionRow:
    text: str
    answer: str
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Voices:
    """Everything about a product that others said."""

    reviews_count: int
    stars_tenths: int  # 47 is 4.7 stars; 0 without reviews
    good_percent: int
    photos_count: int
    questions_count: int
    reviews: list[ReviewRow]
    questions: list[QuestionRow]


VOICES = """
SELECT coalesce(r.reviews_count, 0), coalesce(r.stars_sum, 0), coalesce(r.good_count, 0), coalesce(r.photos_count, 0),
       (SELECT count(*) FROM shop_question q WHERE q.product_id = p.id AND q.state = 'shown'),
       (SELECT coalesce(json_agg(x), '[]')::text FROM (
            SELECT v.stars, v.text, CASE WHEN v.is_anonymous THEN '' ELSE m.name END AS name, l.sku_name AS variant,
                   v.written_at, v.answer,
                   (SELECT coalesce(json_agg(json_build_array(h.thumbnail, h.image) ORDER BY h.position), '[]')
                    FROM shop_reviewphoto h WHERE h.review_id = v.id) AS photos
            FROM shop_review v JOIN crm_member m ON m.id = v.member_id JOIN shop_orderline l ON l.id = v.line_id
            WHERE v.product_id = p.id AND v.state = 'shown' ORDER BY v.written_at DESC, v.id DESC LIMIT 2) x),
       (SELECT coalesce(json_agg(y), '[]')::text FROM (
            SELECT q.text, q.answer, q.answered_at FROM shop_question q
            WHERE q.product_id = p.id AND q.state = 'shown' ORDER BY q.answered_at DESC LIMIT 2) y)
FROM (SELECT %s::bigint AS id) p LEFT JOIN shop_productrating r ON r.product_id = p.id
"""


def voices_of(product_id: int) -> Voices:
    """What a product's page shows of reviews and questions. One statement."""
    count, stars, good, photos, asked, reviews, questions = statements.rows(VOICES, [product_id])[0]
    return Voices(
        reviews_count=count,
        stars_tenths=(stars * 10 + count // 2) // count if count else 0,
        good_percent=good * 100 // count if count else 0,
        photos_count=photos,
        questions_count=asked,
        reviews=[
            ReviewRow(
                stars=row["stars"],
                text=row["text"],
                name=shown_name(row["name"]),
                variant=row["variant"],
                written_at=datetime.fromisoformat(row["written_at"]),
                answer=row["answer"],
                photos=[(_url(small), _url(large)) for small, large in row["photos"]],
            )
            for row in json.loads(reviews)
        ],
        questions=[
            QuestionRow(row["text"], row["answer"], datetime.fromisoformat(row["answered_at"]))
            for row in json.loads(questions)
        ],
    )


def reviews_of(
    product_id: int, *, after: str = "", with_photos: bool = False, page_size: int = 10
) -> ReviewPage:
    """Shown reviews, newest first: two statements."""
    rows = Review.objects.filter(product_id=product_id, state=Review.SHOWN)
    if with_photos:
        rows = rows.filter(Exists(ReviewPhoto.objects.filter(review=OuterRef("pk"))))
    behind = keyset.behind(rows, "written_at", after)
    found = list(behind.select_related("member", "line").prefetch_related("photos")[: page_size + 1])
    last = found[page_size - 1] if len(found) > page_size else None
    shown = [
        ReviewRow(
            stars=review.stars,
            text=review.text,
            name="" if review.is_anonymous else shown_name(review.member.name),
            variant=review.line.sku_name,
            written_at=review.written_at,
            answer=review.answer,
            photos=[
                (_url(photo.thumbnail.name or ""), _url(photo.image.name or ""))
                for photo in review.photos.all()
            ],
        )
        for review in found[:page_size]
    ]
    return ReviewPage(rows=shown, after=keyset.cursor(last.written_at, last.pk) if last else "")


def lines_to_review(number: str, *, member_id: int) -> tuple[Order, list[tuple[Any, Review | None]]]:
    """Her order's lines, each with her review of it and its photos: five statements. Raises NoSuchOrder."""
    order = order_for(number, member_id=member_id)
    lines = list(order.lines.all())
    hers = Review.objects.filter(line__order=order).prefetch_related("photos")
    written = {review.line_id: review for review in hers}
    return order, [(line, written.get(line.pk)) for line in lines]


def line_to_review(line_id: int, *, member_id: int) -> OrderLine:
    """A line of her own order. Raises NoSuchOrder, also for another member's."""
    line = (
        OrderLine.objects.filter(pk=line_id, order__member_id=member_id)
        .select_related("order", "sku")
        .first()
    )
    if line is None:
        raise NoSuchOrder("")
    return line


def shown_name(name: str) -> str:
    """The first character of a name, the rest covered: reviews are read by strangers."""
    return f"{name[0]}**" if name else ""


def _url(name: str) -> str:
    return default_storage.url(name) if name else ""
