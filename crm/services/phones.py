"""A member gives her phone by herself: asks for a code, types it, or only writes the number where nobody sends codes.

What a typed and what a confirmed phone mean is in `people.give_phone`.
"""

import hmac
import logging
import secrets
import unicodedata
from datetime import datetime, timedelta

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from core import clock
from core.errors import Refusal
from core.locks import advisory_lock
from core.secrets import keyed_digest, keyed_digests
from core.wakeups import wake
from crm import sms
from crm.errors import NoSuchMember, TooManyCodes, WrongCode, WrongPhone
from crm.models import DataRequest, Identity, Member, PhoneClaim
from crm.models.phones import MOST_A_DAY, MOST_TRIES
from crm.queries.phones import open_claim
from crm.services.living import held_member
from crm.services.mydata import note_request
from crm.services.people import cleaned_phone, give_phone

log = structlog.get_logger(__name__)

CODE_LIVES = timedelta(minutes=10)
WAIT = timedelta(seconds=60)
"""Between two codes, for a member and for a number."""
KEPT = timedelta(days=2)
LEASE = timedelta(seconds=30)
MOST_ATTEMPTS = 3


@transaction.atomic
def ask_for_code(*, member_id: int, phone: str) -> PhoneClaim:
    """A code goes to this number after commit; an earlier open claim of hers is over.

    Locks: advisory on the number and on the member. Raises WrongPhone, NoSuchMember, TooManyCodes.
    """
    number, member = _number(phone), _living(member_id)
    code = f"{secrets.randbelow(1_000_000):06d}"
    claim = _claim(member, number, code)
    wake("crm.tasks.send_phone_codes", queue="fast")
    return claim


@transaction.atomic
def write_phone(*, member_id: int, phone: str) -> Identity:
    """She writes a number where no code is sent: weak evidence, one of hers at a time. It counts as any claim.

    Locks: as `ask_for_code`, then as give_phone. Raises WrongPhone, NoSuchMember, TooManyCodes.
    """
    number, member = _number(phone), _living(member_id)
    hers = Identity.objects.filter(member=member, kind=Identity.PHONE)
    is_known = hers.filter(value=number).exists()
    if not is_known:
        _claim(member, number, "")
        hers.filter(source=Identity.TYPED).delete()
        note_request(member_id=member.pk, kind=DataRequest.CORRECT)
    return give_phone(member_id=member.pk, phone=number, verified=False)


def _number(phone: str) -> str:
    number = cleaned_phone(unicodedata.normalize("NFKC", phone[:40]).strip())
    if not number:
        raise WrongPhone(_("This is not a phone number. Write only its digits."))
    return number


def _living(member_id: int) -> Member:
    member = held_member(member_id)
    if member.erased_at is not None:
        raise NoSuchMember(_("There is no such member."))
    return member


def _claim(member: Member, number: str, code: str) -> PhoneClaim:
    """The next claim of the day, if there is one left for her and for the number."""
    digest, moment = keyed_digest(number), clock.now()
    advisory_lock("phone claim", digest)
    advisory_lock("phone claim of", member.pk)
    of_her, of_number = Q(member=member), Q(digest__in=keyed_digests(number))
    newest = PhoneClaim.objects.filter(of_her | of_number, asked_at__gt=moment - WAIT).order_by("-asked_at")
    if (last := newest.first()) is not None:
        seconds = max(int((last.asked_at + WAIT - moment).total_seconds()), 1)
        raise TooManyCodes(_("Please wait %(seconds)d seconds and try again.") % {"seconds": seconds})
    day = clock.local(moment).date()
    today = PhoneClaim.objects.filter(day=day)
    places = [today.filter(whose).count() + 1 for whose in (of_her, of_number)]
    if max(places) > MOST_A_DAY:
        raise TooManyCodes(_("That was often enough for today. Please try again tomorrow."))
    _close(PhoneClaim.objects.filter(member=member, state=PhoneClaim.OPEN))
    try:
        with transaction.atomic():
            return PhoneClaim.objects.create(
                member=member,
                digest=digest,
                phone=number if code else "",
                code=code,
                code_digest=keyed_digest(_sealed(digest, member.pk, code)) if code else "",
                state=PhoneClaim.OPEN if code else PhoneClaim.DONE,
                day=day,
                member_place=places[0],
                phone_place=places[1],
                asked_at=moment,
                expires_at=moment + CODE_LIVES,
                due_at=moment if code else None,
            )
    except IntegrityError as error:  # the keys hold what the locks should have
        raise TooManyCodes(_("Please wait a moment and try again.")) from error


def _sealed(digest: str, member_id: int, code: str) -> str:
    return f"phone code:{digest}:{member_id}:{code}"


def _close(claims: QuerySet[PhoneClaim], state: str = PhoneClaim.OVER) -> int:
    return claims.update(state=state, phone="", code="", due_at=None)


def confirm_phone(*, member_id: int, code: str) -> Identity:
    """She types the code that came: the number is confirmed, which may make one member of two (give_phone).

    Not inside of a transaction of the caller: a wrong code is counted although it is refused. Idempotent: a code works
    once. Raises WrongCode (wrong, over, tried too often), PhoneBelongsToAnother.
    """
    typed = unicodedata.normalize("NFKC", code[:20]).replace(" ", "")
    if not (typed.isascii() and typed.isdigit() and len(typed) == 6):
        raise WrongCode(_("The code has six digits."))
    claim = _count_try(member_id)
    sealed = _sealed(claim.digest, claim.member_id, typed)
    fits = [hmac.compare_digest(claim.code_digest, digest) for digest in keyed_digests(sealed)]
    if not any(fits):
        left = MOST_TRIES - claim.tries
        raise WrongCode(
            _("This is not the code that we sent. You can try %(left)d more times.") % {"left": left}
            if left
            else _("This is not the code that we sent. Please ask for a new one.")
        )
    try:
        return _confirm(claim)
    except Refusal:
        with transaction.atomic():
            _close(PhoneClaim.objects.filter(pk=claim.pk, state=PhoneClaim.OPEN))
        raise


@transaction.atomic
def _count_try(member_id: int) -> PhoneClaim:
    """Counted before it is looked at: of codes that are tried at once none is free."""
    claim = open_claim(member_id)
    if claim is None or not PhoneClaim.objects.filter(
        pk=claim.pk, state=PhoneClaim.OPEN, tries__lt=MOST_TRIES
    ).update(tries=F("tries") + 1):
        raise WrongCode(_("This code is over. Please ask for a new one."))
    claim.refresh_from_db()
    return claim


@transaction.atomic
def _confirm(claim: PhoneClaim) -> Identity:
    number = claim.phone
    if not _close(PhoneClaim.objects.filter(pk=claim.pk, state=PhoneClaim.OPEN), PhoneClaim.DONE):
        raise WrongCode(_("This code is over. Please ask for a new one."))
    _living(claim.member_id)
    identity = give_phone(member_id=claim.member_id, phone=number, verified=True)
    note_request(member_id=identity.member_id, kind=DataRequest.CORRECT)
    return identity


@transaction.atomic
def drop_phone(*, member_id: int, identity_id: int) -> bool:
    """She takes a number of hers back; False when it was not hers, or gone. Idempotent."""
    member = _living(member_id)
    gone, _rows = Identity.objects.filter(pk=identity_id, member=member, kind=Identity.PHONE).delete()
    if gone:
        note_request(member_id=member.pk, kind=DataRequest.CORRECT)
    return bool(gone)


def send_phone_codes(*, limit: int = 50) -> int:
    """Send the codes that wait; returns how many were tried. Network, outside of a transaction.

    A row is claimed by moving its due moment (a lease). Sent twice it is the same code; refused for good, after three
    attempts, or when its time is over, it is given up and she sees that.
    """
    tried = 0
    for pk in list(_due().order_by("due_at").values_list("pk", flat=True)[:limit]):
        if not _due().filter(pk=pk).update(due_at=clock.now() + LEASE, attempts=F("attempts") + 1):
            continue
        claim = PhoneClaim.objects.get(pk=pk)
        if claim.state == PhoneClaim.OPEN:
            tried += 1
            _send(claim, clock.now())
    return tried


def _due() -> QuerySet[PhoneClaim]:
    return PhoneClaim.objects.filter(due_at__lte=clock.now())


def _send(claim: PhoneClaim, moment: datetime) -> None:
    row = PhoneClaim.objects.filter(pk=claim.pk, due_at__isnull=False, attempts=claim.attempts)
    if claim.expires_at <= moment:
        row.update(due_at=None, code="", error="expired")
        return
    try:
        sms.sender().send_code(
            phone=claim.phone,
            code=claim.code,
            minutes=CODE_LIVES.seconds // 60,
            reference=f"phone-code-{claim.pk}",
        )
    except Exception as error:  # whatever a house's own sender raises: the next one still goes out
        because = error.because if isinstance(error, sms.NotSent) else sms.AGAIN
        reason = error.code if isinstance(error, sms.NotSent) else type(error).__name__
        level = logging.ERROR if because == sms.HOUSE else logging.WARNING
        log.log(
            level, "code not sent", claim=claim.pk, reason=reason, because=because, attempts=claim.attempts
        )
        code = (reason if because == sms.AGAIN else f"{because}: {reason}")[:80]
        if because == sms.AGAIN and claim.attempts < MOST_ATTEMPTS:
            row.update(due_at=moment + timedelta(seconds=5 * claim.attempts), error=code)
        else:
            row.update(due_at=None, code="", error=code)
        return
    row.update(due_at=None, code="", error="")


@transaction.atomic
def close_phone_claims() -> int:
    """Forget the numbers of claims whose time is over, and old claims altogether; how many changed. Idempotent."""
    moment = clock.now()
    over = _close(PhoneClaim.objects.filter(state=PhoneClaim.OPEN, expires_at__lte=moment))
    old = PhoneClaim.objects.filter(day__lt=(clock.local(moment) - KEPT).date())
    return over + old.delete()[0]
