"""Whatever is done in whatever order: the ledger agrees with a ledger kept on paper, and adds up."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from core import clock, ledger
from core.errors import Refusal
from core.models import LedgerAccount
from tests.core.test_ledger import ledger_findings

OWNERS = st.integers(1, 2)
AMOUNTS = st.integers(1, 60)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Ledger(RuleBasedStateMachine):
    """Paper: per owner a list of lots [day of expiry, amount]; days pass; holds are only placed and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.day = 0
        self.count = 0
        self.gone: dict[int, int] = {1: 0, 2: 0}  # given minus spent, expiry left out
        self.holds: list[str] = []
        self.spent: list[tuple[str, int, int]] = []

    def teardown(self) -> None:
        transaction.savepoint_rollback(self.savepoint)

    def cause(self) -> str:
        self.count += 1
        return f"cause:{self.count}"

    def account(self, owner: int) -> LedgerAccount:
        return ledger.open_account(kind="points", owner_id=owner)

    def attempt(self, command, **arguments) -> bool:
        with clock.travel(BEGIN + timedelta(days=self.day)):
            try:
                command(**arguments)
            except Refusal:
                return False
        return True

    @rule(owner=OWNERS, amount=AMOUNTS, days=st.none() | st.integers(1, 5))
    def give(self, owner: int, amount: int, days: int | None) -> None:
        expires = BEGIN + timedelta(days=self.day + days) if days else None
        assert self.attempt(
            ledger.transfer,
            cause=self.cause(),
            debit=self.account(0),
            credit=self.account(owner),
            amount=amount,
            expires_at=expires,
        )
        self.gone[owner] += amount

    @rule(owner=OWNERS, amount=AMOUNTS)
    def spend(self, owner: int, amount: int) -> None:
        cause = self.cause()
        if self.attempt(
            ledger.transfer,
            cause=cause,
            debit=self.account(owner),
            credit=ledger.open_account(kind="points.spent", owner_id=0),
            amount=amount,
        ):
            self.gone[owner] -= amount
            self.spent.append((cause, owner, amount))

    @rule(owner=OWNERS, amount=AMOUNTS)
    def hold(self, owner: int, amount: int) -> None:
        cause = self.cause()
        if self.attempt(ledger.hold, cause=cause, account=self.account(owner), amount=amount):
            self.holds.append(cause)

    @rule()
    def release(self) -> None:
        if self.holds:
            assert self.attempt(ledger.release, cause=self.holds.pop())

    @rule()
    def capture(self) -> None:
        if self.holds:
            credit = ledger.open_account(kind="points.spent", owner_id=0)
            assert self.attempt(ledger.capture, cause=self.holds.pop(0), credit=credit)

    @rule(part=st.integers(1, 60))
    def take_back(self, part: int) -> None:
        if self.spent:
            cause, owner, amount = self.spent.pop()
            part = min(part, amount)
            assert self.attempt(ledger.reverse, transfer_cause=cause, cause=self.cause(), amount=part)
            self.gone[owner] += part

    @rule(days=st.integers(1, 3))
    def wait(self, days: int) -> None:
        self.day += days

    @rule()
    def expire(self) -> None:
        self.attempt(ledger.expire_lots)

    @invariant()
    def adds_up(self) -> None:
        assert ledger_findings() == []
        for account in LedgerAccount.objects.filter(owner_id__gt=0):
            assert 0 <= account.held <= account.balance <= self.gone[account.owner_id]


@pytest.mark.django_db
def test_the_ledger_adds_up_whatever_happens() -> None:
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
