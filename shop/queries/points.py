"""Orders that points speak of."""

from collections.abc import Iterable

from shop.models import Order


def order_numbers(subjects: Iterable[str], member_id: int) -> dict[str, str]:
    """ "order:12" → its number, for orders of this member."""
    wanted = {
        int(subject.partition(":")[2]): subject
        for subject in subjects
        if subject.startswith("order:") and subject.partition(":")[2].isdigit()
    }
    if not wanted:
        return {}
    found = Order.objects.filter(pk__in=wanted, member_id=member_id).values_list("pk", "number")
    return {wanted[pk]: number for pk, number in found}
