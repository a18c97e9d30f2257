"""What a member last answered."""

from crm.models import Consent


def consent_answers(member_id: int) -> dict[str, bool]:
    """Purpose → her latest answer; purposes she was never asked for are missing."""
    rows = Consent.objects.filter(member=member_id).order_by("purpose", "-at", "-pk").distinct("purpose")
    return dict(rows.values_list("purpose", "is_given"))
