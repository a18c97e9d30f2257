"""Proofs of the lifecycle: every stage follows from its score, and the moves sum to who is where."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


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
