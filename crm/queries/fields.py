"""The house's own fields of one member."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import F, FilteredRelation, Q

from crm.models import MemberField

Value = str | Decimal | date | None


@dataclass(frozen=True)
class HerField:
    """A field with her value, None when nothing is known. `is_withdrawn`: a choice that is not offered any more."""

    field_id: int
    name: str
    kind: str
    choices: list[str]
    value: Value
    origin: str = ""

    @property
    def shown(self) -> str:
        if isinstance(self.value, Decimal):
            whole = self.value.to_integral_value()
            return f"{whole if whole == self.value else self.value.normalize():,}"
        return "" if self.value is None else str(self.value)

    @property
    def is_withdrawn(self) -> bool:
        return self.kind == MemberField.CHOICE and self.value is not None and self.value not in self.choices


def fields_of(member_id: int) -> list[HerField]:
    """Every active field in its order, with her value. One statement."""
    hers = FilteredRelation("values", condition=Q(values__member=member_id))
    rows = (
        MemberField.objects.filter(is_active=True)
        .annotate(hers=hers)
        .order_by("sort", "pk")
        .values_list(
            "pk",
            "name",
            "kind",
            "choices",
            F("hers__text"),
            F("hers__number"),
            F("hers__date"),
            F("hers__origin"),
        )
    )
    return [
        HerField(
            pk,
            name,
            kind,
            choices,
            next((one for one in (text, number, day) if one is not None), None),
            origin or "",
        )
        for pk, name, kind, choices, text, number, day, origin in rows
    ]
