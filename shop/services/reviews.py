"""Reviews: written once per received line, shown after somebody looked, counted in the same transaction."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.utils.translation import gettext as _
from PIL import Image, ImageOps, UnidentifiedImageError

from core import clock
from core.locks import advisory_lock
from crm import services as crm_services
from shop.errors import BadReview, NoSuchReview, NotReviewable
from shop.models import Order, OrderLine, ProductRating, Review, ReviewPhoto
from shop.services.catalogue import MAX_PIXELS, thumbnail_of

MOST_PHOTOS = 6
MOST_BYTES = 10 * 1024 * 1024
MOST_TEXT = 500
PHOTO_SIDE = 1600
FORMATS = ("JPEG", "PNG", "WEBP")

REFRESH = """
UPDATE shop_productrating r
SET (reviews_count, stars_sum, good_count, photos_count) = (
    SELECT count(*), coalesce(sum(v.stars), 0), count(*) FILTER (WHERE v.stars >= 4),
           count(*) FILTER (WHERE EXISTS (SELECT 1 FROM shop_reviewphoto p WHERE p.review_id = v.id))
    FROM shop_review v WHERE v.product_id = r.product_id AND v.state = 'shown'
)
WHERE r.product_id = %s
"""


@dataclass(frozen=True)
class Photo:
    """A photo as we keep it: both are JPEG files without anything but the picture."""

    image: bytes
    thumbnail: bytes


def redraw(file: IO[bytes], size: int) -> Photo:
    """Draw an uploaded photo anew: no place, no camera, no surprises hidden in the file. Raises BadReview."""
    if size > MOST_BYTES:
        raise BadReview(_("A photo may have at most 10 MB."))
    try:
        with Image.open(io.BytesIO(file.read(MOST_BYTES + 1)), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise BadReview(_("This picture is too large; at most 40 million pixels."))
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
            picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
            canvas = Image.new("RGB", picture.size, "white")
            canvas.paste(picture, mask=picture.getchannel("A"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadReview(_("This file is not a photo that we can read (JPEG, PNG or WebP).")) from error
    out = io.BytesIO()
    canvas.save(out, "JPEG", quality=85, optimize=True)
    content = out.getvalue()
    return Photo(content, thumbnail_of(content))


def write_review(
    *,
    line_id: int,
    member_id: int,
    stars: int,
    text: str = "",
    photos: Sequence[Photo] = (),
    is_anonymous: bool = False,
) -> Review:
    """A buyer's word on a line of an order that she received. It waits for a look before others see it.

    Locks: advisory on the line. Idempotent on: the line; her first word stays.
    Raises NotReviewable, BadReview. The photos come from `redraw`, outside of the transaction.
    """
    text = "\n".join(" ".join(row.split()) for row in text.replace("\x00", "").splitlines()).strip()
    if not 1 <= stars <= 5:
        raise BadReview(_("Please choose one to five stars."))
    if len(text) > MOST_TEXT:
        raise BadReview(_("Please use at most %(most)d characters.") % {"most": MOST_TEXT})
    if len(photos) > MOST_PHOTOS:
        raise BadReview(_("At most %(most)d photos.") % {"most": MOST_PHOTOS})
    with transaction.atomic():
        advisory_lock("shop.review", line_id)
        line = (
            OrderLine.objects.filter(pk=line_id, order__member_id=member_id)
            .select_related("order", "sku")
            .first()
        )
        if line is None:
            raise NotReviewable(_("This order does not exist."))
        written = Review.objects.filter(line=line).first()
        if written is not None:
            return written
        if line.order.status != Order.RECEIVED or line.refunded_quantity >= line.quantity:
            raise NotReviewable(_("You can review what you have received."))
        review = Review.objects.create(
            line=line,
            product_id=line.sku.product_id,
            member_id=member_id,
            stars=stars,
            text=text,
            is_anonymous=is_anonymous,
            written_at=clock.now(),
        )
        for position, photo in enumerate(photos):
            row = ReviewPhoto(review=review, position=position)
            row.thumbnail.save(f"{review.pk}-{position}-480.jpg", ContentFile(photo.thumbnail), save=False)
            name = f"{review.pk}-{position}.jpg"
            row.image.save(name, ContentFile(photo.image, name=name), save=False)
            row.save()
    return review


@transaction.atomic
def decide_review(*, review_id: int, shown: bool, by: str, reason: str = "") -> Review:
    """Show a review to shoppers, or keep it from them; the product's stars follow in the same transaction.

    Her points for it come with it, once. Locks: the review by conditional update, the product's rating, ledger
    accounts. Idempotent. Raises NoSuchReview.
    """
    state = Review.SHOWN if shown else Review.HIDDEN
    Review.objects.filter(pk=review_id).exclude(state=state).update(
        state=state, decided_at=clock.now(), decided_by=by[:80], reason=reason[:200]
    )
    review = Review.objects.filter(pk=review_id).first()
    if review is None:
        raise NoSuchReview(_("This review does not exist."))
    refresh_rating(product_id=review.product_id)
    if shown and review.member_id:
        crm_services.reward_review(member_id=review.member_id, review_id=review.pk)
    return review


@transaction.atomic
def answer_review(*, review_id: int, answer: str, by: str) -> Review:
    """The seller's answer under a review; an empty one takes it away. Idempotent. Raises NoSuchReview."""
    text = answer.replace("\x00", "").strip()[:MOST_TEXT]
    Review.objects.filter(pk=review_id).update(
        answer=text, answered_at=clock.now() if text else None, answered_by=by[:80] if text else ""
    )
    review = Review.objects.filter(pk=review_id).first()
    if review is None:
        raise NoSuchReview(_("This review does not exist."))
    return review


@transaction.atomic
def refresh_rating(*, product_id: int) -> None:
    """Work out a product's stars from its shown reviews. Locks: its rating. Idempotent."""
    ProductRating.objects.bulk_create([ProductRating(product_id=product_id)], ignore_conflicts=True)
    # Locked before it is counted: of two decisions at once the second counts what the first one showed.
    ProductRating.objects.select_for_update().get(pk=product_id)
    with connection.cursor() as cursor:
        cursor.execute(REFRESH, [product_id])


@transaction.atomic
def move_reviews(*, kept_id: int, merged_id: int) -> int:
    """Reviews of a member who turned out to be another. Idempotent."""
    return Review.objects.filter(member_id=merged_id).update(member_id=kept_id)
