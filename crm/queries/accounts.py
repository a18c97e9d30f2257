"""The accounts that members can follow, as choices for filters and rules."""

from dataclasses import dataclass

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


def account_roles() -> list[tuple[str, str]]:
    """(role, name): what an account of the matrix is for."""
    return [(role, str(name)) for role, name in apps.get_model("wechat", "Account").ROLES]


def followed_accounts_of(role: str) -> list[int]:
    """The active official accounts and corps with this role."""
    account = apps.get_model("wechat", "Account")
    rows = account.objects.filter(kind__in=["service", "subscription", "work"], is_active=True, role=role)
    return list(rows.order_by("pk").values_list("pk", flat=True))


@dataclass(frozen=True)
class MatrixAccount:
    """An active account that members follow, or a mini program, which they use."""

    pk: int
    name: str
    role: str
    is_mini: bool


def matrix_accounts() -> tuple[list[MatrixAccount], dict[str, str]]:
    """The accounts of the matrix, those of a role together, mini programs last in it; and every role's name."""
    account = apps.get_model("wechat", "Account")
    roles = {role: str(name) for role, name in account.ROLES}
    rows = account.objects.filter(kind__in=["service", "subscription", "work", "mini"], is_active=True)
    accounts = [
        MatrixAccount(row.pk, str(row), row.role, row.kind == "mini") for row in rows.order_by("kind", "pk")
    ]
    order = list(roles)
    return sorted(accounts, key=lambda one: (order.index(one.role), one.is_mini)), roles
