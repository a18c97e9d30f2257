"""Proofs: tags by rules name their rules, values fit their fields, and what WeCom shall carry is what members carry."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check("crm.tag_rules", gettext_lazy("A tag by a rule names a rule of this tag that is there"))
def rule_tags_name_their_rules() -> Iterator[Finding]:
    found = rows(
        """
        SELECT carried.member_id, carried.origin FROM crm_membertag carried
        WHERE carried.origin LIKE 'rule:%' AND NOT EXISTS (
            SELECT FROM crm_tagrule rule WHERE carried.origin = 'rule:' || rule.id)
        ORDER BY 1 LIMIT 1000
        """
    )
    for member_id, origin in found:
        yield Finding(
            "crm.tag_rules",
            f"member {member_id}",
            _("carries a tag by %(origin)s, which is gone") % {"origin": origin},
        )


@audit_check("crm.member_fields", gettext_lazy("A value is of its field's kind"))
def values_fit_their_fields() -> Iterator[Finding]:
    found = rows(
        """
        SELECT kept.member_id, field.name FROM crm_memberfieldvalue kept
        JOIN crm_memberfield field ON field.id = kept.field_id
        WHERE CASE field.kind WHEN 'number' THEN kept.number IS NULL WHEN 'date' THEN kept.date IS NULL
            ELSE kept.text IS NULL END
        ORDER BY 1 LIMIT 1000
        """
    )
    for member_id, name in found:
        yield Finding(
            "crm.member_fields", f"member {member_id}", _("“%(name)s” is of another kind") % {"name": name}
        )


@audit_check(
    "crm.official_tags", gettext_lazy("What official accounts shall carry is what the member carries")
)
def official_tags_follow_members() -> Iterator[Finding]:
    """Of followers, and of tags that are shared with the account."""
    found = rows(
        """
        SELECT address.member_id, mark.tag_id FROM crm_officialtagmark mark
        JOIN crm_identity address ON address.id = mark.identity_id AND address.is_following
        JOIN crm_officialtag shared ON shared.account_id = address.account_id AND shared.tag_id = mark.tag_id
            AND shared.official_id IS NOT NULL AND shared.is_wanted
        WHERE mark.wanted <> EXISTS (SELECT FROM crm_membertag carried
            WHERE carried.member_id = address.member_id AND carried.tag_id = mark.tag_id)
        ORDER BY 1 LIMIT 1000
        """
    )
    for member_id, tag_id in found:
        yield Finding(
            "crm.official_tags",
            f"member {member_id}",
            _("tag %(tag)d is another one in an official account") % {"tag": tag_id},
        )


@audit_check("crm.work_tags", gettext_lazy("What WeCom shall carry is what the member carries"))
def work_tags_follow_members() -> Iterator[Finding]:
    """Of open contacts; a settled mark is not due, a due one is not settled."""
    found = rows(
        """
        SELECT address.member_id, mark.tag_id FROM crm_worktagmark mark
        JOIN crm_contact contact ON contact.id = mark.contact_id AND contact.added_at IS NOT NULL
            AND (contact.removed_at IS NULL OR contact.added_at > contact.removed_at)
        JOIN crm_identity address ON address.id = contact.identity_id
        WHERE mark.wanted <> EXISTS (SELECT FROM crm_membertag carried
            WHERE carried.member_id = address.member_id AND carried.tag_id = mark.tag_id)
        ORDER BY 1 LIMIT 1000
        """
    )
    for member_id, tag_id in found:
        yield Finding(
            "crm.work_tags", f"member {member_id}", _("tag %(tag)d is another one in WeCom") % {"tag": tag_id}
        )
