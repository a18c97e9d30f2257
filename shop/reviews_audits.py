"""What must be true of reviews and ratings, each as one statement."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


def _findings(check: str, sql: str, problem: str) -> Iterator[Finding]:
    """The first column names the subject, the second explains."""
    for subject, detail in rows(sql):
        yield Finding(check=check, subject=str(subject), problem=f"{problem} ({detail})")


@audit_check(
    "shop.ratings_are_those_of_shown_reviews", gettext_lazy("Ratings are those of the shown reviews")
)
def ratings_are_those_of_shown_reviews() -> Iterator[Finding]:
    return _findings(
        "shop.ratings_are_those_of_shown_reviews",
        """
        SELECT 'product ' || coalesce(r.product_id, v.product_id),
               format('%s reviews, %s stars; shown %s, %s', coalesce(r.reviews_count, 0), coalesce(r.stars_sum, 0),
                      coalesce(v.number, 0), coalesce(v.stars, 0))
        FROM shop_productrating r FULL JOIN (
            SELECT product_id, count(*) AS number, sum(stars) AS stars, count(*) FILTER (WHERE stars >= 4) AS good,
                   count(*) FILTER (
                       WHERE EXISTS (SELECT 1 FROM shop_reviewphoto p WHERE p.review_id = shop_review.id)
                   ) AS photos
            FROM shop_review WHERE state = 'shown' GROUP BY product_id
        ) v ON v.product_id = r.product_id
        WHERE (coalesce(r.reviews_count, 0), coalesce(r.stars_sum, 0), coalesce(r.good_count, 0),
               coalesce(r.photos_count, 0))
           <> (coalesce(v.number, 0), coalesce(v.stars, 0), coalesce(v.good, 0), coalesce(v.photos, 0))
        """,
        _("the rating is not that of the shown reviews"),
    )


@audit_check(
    "shop.reviews_belong_to_what_was_received", gettext_lazy("Reviews belong to what their writer received")
)
def reviews_belong_to_what_was_received() -> Iterator[Finding]:
    return _findings(
        "shop.reviews_belong_to_what_was_received",
        """
        SELECT 'review ' || v.id, format('order %s, %s', o.number, o.status)
        FROM shop_review v JOIN shop_orderline l ON l.id = v.line_id JOIN shop_order o ON o.id = l.order_id
        JOIN shop_sku s ON s.id = l.sku_id
        WHERE o.status NOT IN ('received', 'refunded') OR o.member_id IS DISTINCT FROM v.member_id
           OR s.product_id <> v.product_id
        """,
        _("the review is of something that its writer did not receive"),
    )
