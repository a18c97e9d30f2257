"""The accounts that members can follow, as choices for filters and rules."""

from django.apps import apps


def followed_accounts() -> list[tuple[int, str]]:
    """(id, name) of the active official accounts and corps."""
    account = apps.get_model("wechat", "Account")
    rows = account.objects.filter(kind__in=["service", "subscription", "work"], is_active=True).order_by(
        "kind", "pk"
    )
    return [(row.pk, str(row)) for row in rows]


def official_accounts() -> list[tuple[int, str]]:
    """(id, name) of the active official accounts."""
    account = apps.get_model("wechat", "Account")
    rows = account.objects.filter(kind__in=["service", "subscription"], is_active=True).order_by("kind", "pk")
    return [(row.pk, str(row)) for row in rows]
