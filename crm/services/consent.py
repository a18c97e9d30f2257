"""Giving and withdrawing consent: equally easy, each kept with its proof."""

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from core import clock
from crm.models import Consent, MemberStats
from crm.services.people import living_member


@transaction.atomic
def give_consent(
    *,
    member_id: int,
    purpose: str,
    channel: str,
    text_version: str,
    proof: str = "",
    at: datetime | None = None,
    recorded_by_id: int | None = None,
) -> Consent:
    """Record that a person agreed. Appends; an answer that arrives late does not undo a newer one."""
    return _record(True, member_id, purpose, channel, text_version, proof, at, recorded_by_id)


@transaction.atomic
def withdraw_consent(
    *,
    member_id: int,
    purpose: str,
    channel: str,
    text_version: str = "",
    proof: str = "",
    at: datetime | None = None,
    recorded_by_id: int | None = None,
) -> Consent:
    """Record that a person no longer agrees. As easy as giving: no reason is asked."""
    return _record(False, member_id, purpose, channel, text_version, proof, at, recorded_by_id)


def _record(
    is_given: bool,
    member_id: int,
    purpose: str,
    channel: str,
    text_version: str,
    proof: str,
    at: datetime | None,
    recorded_by_id: int | None,
) -> Consent:
    member = living_member(member_id)
    moment = at or clock.now()
    consent = Consent.objects.create(
        member=member,
        purpose=purpose,
        is_given=is_given,
        channel=channel,
        text_version=text_version,
        proof=proof,
        at=moment,
        recorded_by_id=recorded_by_id,
    )
    if purpose == Consent.MARKETING:
        MemberStats.objects.filter(
            Q(consent_at__isnull=True) | Q(consent_at__lte=moment), pk=member.pk
        ).update(marketing_consent=is_given, consent_at=moment)
    return consent
