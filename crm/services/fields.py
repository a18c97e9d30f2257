"""Writing the house's own fields of members."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation

from django.db import transaction
from django.utils.translation import gettext as _

from crm.errors import WrongValue
from crm.models import MemberField, MemberFieldValue
from crm.services.living import held_member

LONGEST = 200
LARGEST = Decimal(10) ** 12


@transaction.atomic
def set_fields(*, member_id: int, values: Mapping[int, str], origin: str = "") -> int:
    """Write texts as people type them, field id → text; "" forgets the value. Returns how many changed.

    `origin` says who told it ("guide:3"); empty: staff.

    All or nothing. Raises NoSuchMember; WrongValue for what does not fit, an unknown field, one switched off.
    Idempotent on: (member, field).
    """
    member = held_member(member_id)
    fields = MemberField.objects.in_bulk(list(values))
    changed = 0
    for field_id, typed in values.items():
        field = fields.get(field_id)
        if field is None or not field.is_active:
            raise WrongValue(_("There is no such field any more. Open the page again."))
        hers = MemberFieldValue.objects.filter(member=member, field=field)
        text = typed.strip()
        if not text:
            changed += hers.delete()[0]
            continue
        kept = hers.first()
        columns = typed_columns(field, text, kept)
        if kept is None:
            # Two operators at once: the later one's value stands.
            MemberFieldValue.objects.update_or_create(
                member=member, field=field, defaults={**columns, "origin": origin[:40]}
            )
        elif any(getattr(kept, name) != value for name, value in columns.items()):
            MemberFieldValue.objects.filter(pk=kept.pk).update(**columns, origin=origin[:40])
        else:
            continue
        changed += 1
    return changed


def typed_columns(
    field: MemberField, text: str, kept: MemberFieldValue | None = None
) -> dict[str, str | Decimal | date | None]:
    empty: dict[str, str | Decimal | date | None] = {"text": None, "number": None, "date": None}
    if field.kind == MemberField.NUMBER:
        return {**empty, "number": _number(field, text)}
    if field.kind == MemberField.DATE:
        try:
            return {**empty, "date": date.fromisoformat(text)}
        except ValueError:
            raise WrongValue(_("“%(name)s” needs a date, like 1990-05-01.") % {"name": field.name}) from None
    if "\x00" in text or len(text) > LONGEST:
        raise WrongValue(
            _("“%(name)s” takes at most %(most)d characters.") % {"name": field.name, "most": LONGEST}
        )
    if (
        field.kind == MemberField.CHOICE
        and text not in field.choices
        and (kept is None or kept.text != text)  # what she has may stay, though it is not offered any more
    ):
        raise WrongValue(_("“%(name)s” has no choice “%(text)s”.") % {"name": field.name, "text": text})
    return {**empty, "text": text}


def _number(field: MemberField, text: str) -> Decimal:
    try:
        number = Decimal(text.replace(",", ""))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) >= LARGEST or number != round(number, 4):
        raise WrongValue(_("“%(name)s” needs a number with at most four decimals.") % {"name": field.name})
    return number
