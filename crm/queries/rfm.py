"""RFM by month: which months were counted, and how the groups flowed into one."""

import datetime as dt

from crm.models import RfmFlow, RfmMonth

MONTHS_SHOWN = 24


def rfm_months() -> list[RfmMonth]:
    """The newest first."""
    return list(RfmMonth.objects.order_by("-month")[:MONTHS_SHOWN])


def rfm_flows(months: list[dt.date]) -> dict[dt.date, dict[tuple[str, str], int]]:
    """month → (group a month before, group at its end) → members; "" is outside. One statement."""
    flows: dict[dt.date, dict[tuple[str, str], int]] = {month: {} for month in months}
    rows = RfmFlow.objects.filter(month__in=months)
    for month, before, after, count in rows.values_list("month", "from_cell", "to_cell", "members_count"):
        flows[month][before, after] = count
    return flows
