"""Proof that what prices are made from is whole."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "shop.running_promotions_are_whole",
    gettext_lazy("Promotions that are switched on have all that they need"),
)
def running_promotions_are_whole() -> Iterator[Finding]:
    """A gift or add-on names an SKU, a bundle at least two pieces, a level takes off what its kind says; the database
    cannot ask that of one row.
    """
    for subject, detail in rows(
        """
        SELECT 'promotion ' || p.id, format('%s, %s', p.kind, coalesce(e.pieces, 0))
        FROM shop_promotion p LEFT JOIN (
            SELECT promotion_id, sum(quantity) AS pieces FROM shop_promotionextra GROUP BY promotion_id
        ) e ON e.promotion_id = p.id
        WHERE p.is_active AND (
            (p.kind IN ('gift', 'add_on') AND coalesce(e.pieces, 0) < 1)
            OR (p.kind = 'bundle' AND coalesce(e.pieces, 0) < 2)
            OR EXISTS (
                SELECT FROM shop_promotionlevel l WHERE l.promotion_id = p.id
                AND CASE p.kind WHEN 'amount_off' THEN l.amount_fen WHEN 'percent_off' THEN l.off_bps ELSE 0 END = 0
            )
        )
        """
    ):
        why = _("gifts, add-ons or parts of the bundle are missing")
        yield Finding("shop.running_promotions_are_whole", str(subject), f"{why} ({detail})")


@audit_check(
    "shop.finished_rehearsals_add_up", gettext_lazy("Finished rehearsals looked at every order once")
)
def finished_rehearsals_add_up() -> Iterator[Finding]:
    for subject, detail in rows(
        """
        SELECT 'rehearsal ' || r.id, format('%s, job %s', r.orders_count, j.result ->> 'orders')
        FROM shop_rehearsal r JOIN core_job j ON j.id = r.job_id
        WHERE j.status = 'done' AND (
            r.orders_count <> (j.result ->> 'orders')::bigint
            OR r.changed_count <> (j.result ->> 'changed')::bigint
        )
        """
    ):
        why = _("the sums are not those of the job")
        yield Finding("shop.finished_rehearsals_add_up", str(subject), f"{why} ({detail})")
