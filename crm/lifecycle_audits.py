"""Proofs of the lifecycle: every stage follows from its score, and the moves sum to who is where."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import clock
from core.audits import Finding, audit_check, rows
from crm.aipl import EVERYBODY, judged_params, judged_sql
from crm.models import AiplDefinition


@audit_check(
    "crm.lifecycle.stages", gettext_lazy("Members stand in the stage that the definition in force gives them")
)
def stages_follow_from_scores() -> Iterator[Finding]:
    found = rows(
        """
        SELECT life.member_id, life.stage, life.vigour_bps FROM crm_memberlife life, (
            SELECT * FROM crm_lifedefinition ORDER BY id DESC LIMIT 1
        ) rule WHERE life.stage <> CASE WHEN life.vigour_bps < rule.lost_below_bps THEN 'lost'
            WHEN life.vigour_bps < rule.dormant_below_bps THEN 'dormant'
            WHEN life.vigour_bps < rule.cooling_below_bps THEN 'cooling'
            WHEN life.frequency = 0 THEN 'new' ELSE 'active' END
        ORDER BY 1 LIMIT 1000
        """
    )
    for member_id, stage, vigour in found:
        problem = _("stands as %(stage)s with a vigour of %(vigour)d bps") % {
            "stage": stage,
            "vigour": vigour,
        }
        yield Finding("crm.lifecycle.stages", f"member {member_id}", problem)


@audit_check(
    "crm.lifecycle.moves", gettext_lazy("Members in a stage are those who moved in, less those who left")
)
def moves_sum_to_stages() -> Iterator[Finding]:
    found = rows(
        """
        SELECT COALESCE(moved.stage, there.stage), COALESCE(moved.members, 0), COALESCE(there.members, 0) FROM (
            SELECT stage, sum(members)::bigint AS members FROM (
                SELECT to_stage AS stage, members_count AS members FROM crm_lifemove
                UNION ALL SELECT from_stage, -members_count FROM crm_lifemove
            ) ways WHERE stage <> '' GROUP BY stage
        ) moved FULL JOIN (
            SELECT stage, count(*) AS members FROM crm_memberlife GROUP BY stage
        ) there ON there.stage = moved.stage
        WHERE COALESCE(moved.members, 0) <> COALESCE(there.members, 0)
        """
    )
    for stage, moved, there in found:
        problem = _("%(there)d members, the moves say %(moved)d") % {"there": there, "moved": moved}
        yield Finding("crm.lifecycle.moves", f"stage {stage}", problem)


@audit_check(
    "crm.aipl.moves", gettext_lazy("Members in an AIPL step are those who moved in, less those who left")
)
def moves_sum_to_steps() -> Iterator[Finding]:
    found = rows(
        """
        SELECT COALESCE(moved.step, there.step), COALESCE(moved.members, 0), COALESCE(there.members, 0) FROM (
            SELECT step, sum(members)::bigint AS members FROM (
                SELECT to_step AS step, members_count AS members FROM crm_aiplmove
                UNION ALL SELECT from_step, -members_count FROM crm_aiplmove
            ) ways WHERE step <> '' GROUP BY step
        ) moved FULL JOIN (SELECT step, count(*) AS members FROM crm_memberaipl GROUP BY step) there
            ON there.step = moved.step
        WHERE COALESCE(moved.members, 0) <> COALESCE(there.members, 0)
        """
    )
    for step, moved, there in found:
        problem = _("%(there)d members, the moves say %(moved)d") % {"there": there, "moved": moved}
        yield Finding("crm.aipl.moves", f"step {step}", problem)


@audit_check(
    "crm.aipl.steps", gettext_lazy("Who bought or is loyal by AIPL has purchases in the definition's days")
)
def steps_follow_from_purchases() -> Iterator[Finding]:
    """Only of those of whom nothing is new since they were judged, and whose time is not over."""
    rule = AiplDefinition.objects.order_by("-pk").first()
    if rule is None or rule.counted_on is None:
        return
    today = clock.today()
    found = rows(
        f"""
        SELECT member_id, before, step FROM (
            WITH settled AS (
                SELECT known.* FROM ({EVERYBODY}) known JOIN crm_memberaipl a ON a.member_id = known.member_id
                WHERE (a.seen_orders, a.seen_refunded_fen) = (known.orders_count, known.refunded_fen)
                  AND (known.due_on IS NULL OR known.due_on > %s::date)
            ) SELECT * FROM ({judged_sql("settled")}) judged
        ) found WHERE before <> step AND (before IN ('bought', 'loyal') OR step IN ('bought', 'loyal'))
        ORDER BY 1 LIMIT 1000
        """,  # noqa: S608  the sentences are ours
        [today, *judged_params(rule, today)],
    )
    for member_id, before, step in found:
        problem = _("stands as %(before)s, her purchases say %(step)s") % {"before": before, "step": step}
        yield Finding("crm.aipl.steps", f"member {member_id}", problem)


@audit_check("crm.rfm.months", gettext_lazy("RFM by month: those who flowed in are the members counted"))
def flows_sum_to_months() -> Iterator[Finding]:
    found = rows(
        """
        SELECT m.month::text, m.members_count, COALESCE(flowed.members, 0), COALESCE(kept.members, 0)
        FROM crm_rfmmonth m
        LEFT JOIN (SELECT month, sum(members_count)::bigint AS members FROM crm_rfmflow WHERE to_cell <> ''
                   GROUP BY 1) flowed ON flowed.month = m.month
        LEFT JOIN (SELECT month, count(*) AS members FROM crm_rfmmember GROUP BY 1) kept ON kept.month = m.month
        WHERE m.members_count <> COALESCE(flowed.members, 0) OR m.members_count < COALESCE(kept.members, 0)
        """
    )
    for month, members, flowed, kept in found:
        problem = _("%(members)d members were counted, %(flowed)d flowed in, %(kept)d are kept") % {
            "members": members,
            "flowed": flowed,
            "kept": kept,
        }
        yield Finding("crm.rfm.months", f"month {month}", problem)
