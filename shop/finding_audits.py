"""Proof that what shoppers find is what there is: documents, shelves, schedules, files."""

from collections.abc import Iterator
from datetime import timedelta

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import clock
from core.audits import Finding, audit_check, rows
from shop import queries

LATE = timedelta(minutes=15)  # the shelf is looked at every minute
BATCH = 1000


def _findings(check: str, found: list[tuple[object, ...]], problem: str) -> Iterator[Finding]:
    """The first column names the subject, the second explains."""
    for subject, detail in found:
        yield Finding(check=check, subject=str(subject), problem=f"{problem} ({detail})")


@audit_check(
    "shop.search_documents_are_those_of_the_products",
    gettext_lazy("Products are found by their own names, brands, shelves and values"),
)
def search_documents_are_those_of_the_products() -> Iterator[Finding]:
    """Every document worked out again. Whether something is in stock is left out: it may be a minute old."""
    ids = [int(str(pk)) for (pk,) in rows("SELECT id FROM shop_product ORDER BY id")]
    for place in range(0, len(ids), BATCH):
        some = ids[place : place + BATCH]
        kept = {
            row[0]: row[1:]
            for row in rows(
                """
                SELECT id, coalesce(tsvector_to_array(search), '{}'), sound, value_ids
                FROM shop_product WHERE id = ANY(%s)
                """,
                [some],
            )
        }
        for one in queries.documents(some):
            tokens, sound, value_ids = kept[one.product_id]
            more, less = sorted(set(tokens) - one.tokens), sorted(one.tokens - set(tokens))  # type: ignore[call-overload]
            wrong = [
                *(f"+{token}" for token in more[:5]),
                *(f"-{token}" for token in less[:5]),
                *(["sound"] if sound != one.sound else []),
                *(["values"] if tuple(value_ids) != one.value_ids else []),  # type: ignore[arg-type]
            ]
            if wrong:
                yield Finding(
                    check="shop.search_documents_are_those_of_the_products",
                    subject=f"product {one.product_id}",
                    problem=_("what it is found by is not what it is (%(wrong)s)")
                    % {"wrong": " ".join(wrong)},
                )


@audit_check("shop.categories_form_a_tree", gettext_lazy("Every category hangs below a root"))
def categories_form_a_tree() -> Iterator[Finding]:
    return _findings(
        "shop.categories_form_a_tree",
        rows(
            """
            WITH RECURSIVE tree AS (
                SELECT id, 0 AS depth FROM shop_category WHERE parent_id IS NULL
                UNION ALL
                SELECT c.id, t.depth + 1 FROM shop_category c JOIN tree t ON c.parent_id = t.id WHERE t.depth < 8
            )
            SELECT 'category ' || c.id, format('parent %s', c.parent_id)
            FROM shop_category c LEFT JOIN tree t ON t.id = c.id WHERE t.id IS NULL
            """
        ),
        _("no root is above it: nobody can reach it"),
    )


@audit_check("shop.shelf_schedules_are_kept", gettext_lazy("Products came and went when their schedule says"))
def shelf_schedules_are_kept() -> Iterator[Finding]:
    moment = clock.now() - LATE
    return _findings(
        "shop.shelf_schedules_are_kept",
        rows(
            """
            SELECT 'product ' || p.id, format('%%s, on %%s, off %%s', p.status, p.on_shelf_at, p.off_shelf_at)
            FROM shop_product p
            WHERE p.off_shelf_at <= %s OR (p.on_shelf_at <= %s AND EXISTS (
                SELECT FROM shop_sku s WHERE s.product_id = p.id AND s.is_active
            ))
            """,
            [moment, moment],
        ),
        _("its time has come and it did not move"),
    )


@audit_check(
    "shop.catalogue_files_moved_what_they_said", gettext_lazy("Stock from files came from applied files")
)
def catalogue_files_moved_what_they_said() -> Iterator[Finding]:
    """Each movement from a file names one that was applied, and no more stocks moved than it has changed lines."""
    return _findings(
        "shop.catalogue_files_moved_what_they_said",
        rows(
            """
            SELECT 'stock movement ' || m.id, format('%s, file %s', m.cause, coalesce(f.status, 'unknown'))
            FROM shop_stockmovement m LEFT JOIN shop_cataloguefile f ON m.cause = 'catalogue_file:' || f.id
            WHERE m.cause LIKE 'catalogue_file:%' AND (
                f.id IS NULL OR f.status NOT IN ('applying', 'applied') OR m.reason <> 'adjust'
            )
            UNION ALL
            SELECT 'catalogue file ' || f.id, format('%s, applied %s, %s moved of %s', f.status, f.applied_at, m.moved,
                                                     f.fresh + f.changed)
            FROM shop_cataloguefile f LEFT JOIN (
                SELECT cause, count(*) AS moved FROM shop_stockmovement
                WHERE cause LIKE 'catalogue_file:%' GROUP BY cause
            ) m ON m.cause = 'catalogue_file:' || f.id
            WHERE (f.status = 'applied') <> (f.applied_at IS NOT NULL)
               OR (f.status = 'applied' AND m.moved > f.fresh + f.changed)
            """
        ),
        _("the file and the stock do not agree"),
    )
