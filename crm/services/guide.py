"""What a guide learns of her member and writes down: her birthday. Weaker than what she says herself."""

from datetime import date

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from core import clock
from crm.errors import WrongProfile
from crm.models import Activity, Member
from crm.services.timeline import record_activity


@transaction.atomic
def note_birthday(*, member_id: int, birthday: date | None, guide_id: int) -> bool:
    """A guide was told a birthday: an empty one is filled, what a guide wrote before is changed; True when it was.

    What she wrote herself, or the shop knows from elsewhere, stays. Guarded by a conditional update; kept on her
    timeline with the guide. Raises WrongProfile.
    """
    if birthday is not None and not date(1900, 1, 1) <= birthday <= clock.today():
        raise WrongProfile(_("This birthday is not possible. Please check the year."))
    members = Member.objects.known().filter(pk=member_id)
    told_by_guides = Q(birthday__isnull=True) | Q(birthday_from=Member.GUIDE)
    if members.filter(birthday=birthday).exists():
        return False
    changed = members.filter(told_by_guides).update(
        birthday=birthday, birthday_from=Member.GUIDE if birthday else ""
    )
    if not changed:
        raise WrongProfile(
            _("Her birthday is known from herself or the shop. Only she or the shop changes it.")
        )
    words = _("Birthday: %(day)s") % {"day": birthday.isoformat() if birthday else "–"}
    origin = f"guide:{guide_id}"
    record_activity(
        member_id=member_id,
        kind=Activity.NOTED,
        at=clock.now(),
        subject=origin,
        data={"text": words, "origin": origin},
    )
    return True
