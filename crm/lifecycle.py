"""What the services and the queries of the lifecycle share: the sentences in which a definition is applied."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from django.utils.translation import gettext as _

from crm.errors import NotEnoughBuyers, WrongDefinition
from crm.models import LifeDefinition

HORIZON_DAYS = 90
"""How far ahead purchases and their value are expected."""

FEWEST_REPEATERS = 20
"""With fewer members who bought on two days, four parameters say nothing."""

LARGEST_COUNT, LARGEST_FEN = 10**6, 10**12


def stage_sql(row: str) -> str:
    """The stage of `row`, which has vigour_bps and frequency; takes `stage_params`."""
    return f"""CASE WHEN {row}.vigour_bps < %s THEN 'lost' WHEN {row}.vigour_bps < %s THEN 'dormant'
        WHEN {row}.vigour_bps < %s THEN 'cooling' WHEN {row}.frequency = 0 THEN 'new' ELSE 'active' END"""


def stage_params(definition: LifeDefinition) -> list[Any]:
    return [definition.lost_below_bps, definition.dormant_below_bps, definition.cooling_below_bps]


def rfm_sql(row: str) -> str:
    """Recency, frequency and amount of `row` as one number of three digits from 1 to 5; takes `rfm_params`.

    width_bucket counts the ends that are not above a value. All are whole numbers, so one less counts the ends below:
    what equals an end stays inside. `frequency` is one less than the purchases already.
    """
    return f"""(100 * (5 - width_bucket(%s::date - {row}.last_day - 1, %s::int[]))
        + 10 * (1 + width_bucket({row}.frequency, %s::int[]))
        + 1 + width_bucket({row}.spent_fen - 1, %s::bigint[]))"""


def rfm_params(definition: LifeDefinition, as_of: Any) -> list[Any]:
    return [as_of, definition.days_ends, definition.purchases_ends, definition.spend_ends_fen]


def check_definition(definition: LifeDefinition) -> None:
    """Raises WrongDefinition, in words an operator can act on."""
    levels = (definition.lost_below_bps, definition.dormant_below_bps, definition.cooling_below_bps)
    if not 1 <= levels[0] < levels[1] < levels[2] <= 10_000:
        raise WrongDefinition(_("Each stage must end below the one before it, between 0.01 % and 100 %."))
    if definition.bands not in dict(LifeDefinition.METHODS):
        raise WrongDefinition(_("Choose fixed ends or equal parts."))
    if definition.bands == LifeDefinition.QUANTILES:
        return  # the ends are counted, and may coincide: many members bought once
    counts = (definition.days_ends, definition.purchases_ends)
    if not (
        all(_ascends(ends, LARGEST_COUNT) for ends in counts)
        and _ascends(definition.spend_ends_fen, LARGEST_FEN)
    ):
        raise WrongDefinition(_("Give four ends for each band, each larger than the one before."))


def _ascends(ends: Sequence[int], largest: int) -> bool:
    rises = all(low < high for low, high in pairwise(ends))
    return len(ends) == 4 and rises and ends[0] >= 0 and ends[-1] <= largest


def too_few(repeaters: int) -> NotEnoughBuyers:
    """The refusal of a fit on so few members who bought on two days."""
    return NotEnoughBuyers(
        _("At least %(needed)d members must have bought on two different days; there are %(there)d.")
        % {"needed": FEWEST_REPEATERS, "there": repeaters}
    )
