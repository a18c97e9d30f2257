"""Giving and withdrawing consent: equally easy, each kept with its proof."""

import unicodedata
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import clock
from core.locks import advisory_lock
from crm.errors import NoSuchChannel, NoSuchMember, WrongConsent
from crm.models import Consent, Identity, Member, MemberStats
from crm.services.living import held_member

CONSENT_TEXT = "2026-11"
"""The version of the texts that a person agrees to; every answer keeps the one that was in force."""

STORE, CALL, MESSAGE, PAPER = "store", "call", "message", "paper"
SAID = {
    STORE: gettext_lazy("in the store"),
    CALL: gettext_lazy("on the phone"),
    MESSAGE: gettext_lazy("in a message"),
    PAPER: gettext_lazy("on paper"),
}
"""Where a person tells a colleague of hers what she wants."""

LONGEST_PROOF = 200
CHANNELS = (Identity.OPENID, Identity.EXTERNAL_USERID)


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
    account_id: int | None = None,
) -> Consent:
    """Record that a person agreed; with `account_id` only for marketing on that account. Appends; an answer that
    arrives late does not undo a newer one. Raises NoSuchChannel.
    """
    return _record(True, member_id, purpose, channel, text_version, proof, at, recorded_by_id, account_id)


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
    account_id: int | None = None,
) -> Consent:
    """Record that a person no longer agrees. As easy as giving: no reason is asked. Raises NoSuchChannel."""
    return _record(False, member_id, purpose, channel, text_version, proof, at, recorded_by_id, account_id)


@transaction.atomic
def note_answer(
    *,
    member_id: int,
    purpose: str,
    is_given: bool,
    where: str,
    proof: str,
    by_id: int | None,
    account_id: int | None = None,
) -> Consent:
    """A colleague writes down what a member told her: where (`SAID`), and in which words or on which paper (`proof`).

    Raises WrongConsent (no such purpose or place, no proof, too long), NoSuchChannel, NoSuchMember; writes nothing
    then.
    """
    words = " ".join(proof.split())
    if purpose not in dict(Consent.PURPOSES) or where not in SAID:
        raise WrongConsent(_("Choose what it is about and where she said it."))
    if not 0 < len(words) <= LONGEST_PROOF or any(unicodedata.category(one) in ("Cc", "Cs") for one in words):
        raise WrongConsent(
            _("Write what she said or where it is filed, in at most %(most)d characters.")
            % {"most": LONGEST_PROOF}
        )
    if held_member(member_id).erased_at is not None:
        raise NoSuchMember(_("There is no such member."))
    return _record(is_given, member_id, purpose, where, CONSENT_TEXT, words, None, by_id, account_id)


def _record(
    is_given: bool,
    member_id: int,
    purpose: str,
    channel: str,
    text_version: str,
    proof: str,
    at: datetime | None,
    recorded_by_id: int | None,
    account_id: int | None,
) -> Consent:
    member = held_member(member_id)
    moment = at or clock.now()
    if account_id is not None:
        _lock_channel(member, purpose, account_id)
    consent = Consent.objects.create(
        member=member,
        purpose=purpose,
        account_id=account_id,
        is_given=is_given,
        channel=channel,
        text_version=text_version,
        proof=proof,
        at=moment,
        recorded_by_id=recorded_by_id,
    )
    if account_id is not None:
        _follow_newest(member, account_id)
    elif purpose == Consent.MARKETING:
        MemberStats.objects.filter(
            Q(consent_at__isnull=True) | Q(consent_at__lte=moment), pk=member.pk
        ).update(marketing_consent=is_given, consent_at=moment)
    return consent


def _lock_channel(member: Member, purpose: str, account_id: int) -> None:
    """Two answers at once wait for each other here. Raises NoSuchChannel when she has no address there."""
    advisory_lock("consent", member.pk, account_id)
    hers = Identity.objects.filter(member=member, account=account_id, kind__in=CHANNELS)
    if purpose != Consent.MARKETING or not hers.exists():
        raise NoSuchChannel(_("You are not reached on this account."))


def _follow_newest(member: Member, account_id: int) -> None:
    answers = Consent.objects.filter(member=member, purpose=Consent.MARKETING, account=account_id)
    newest = answers.order_by("-at", "-pk")[0]
    Identity.objects.filter(member=member, account=account_id, kind__in=CHANNELS).update(
        takes_marketing=newest.is_given
    )
