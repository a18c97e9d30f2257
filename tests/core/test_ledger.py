"""Value moves once, never below zero, first-expiring-first, and every way back is exact."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.forms import model_to_dict

from core import audits, clock, ledger
from core.models import LedgerAccount, LedgerLot, LedgerTransfer

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def house(kind: str = "points") -> LedgerAccount:
    return ledger.open_account(kind=kind, owner_id=ledger.HOUSE)


def member(number: int = 7) -> LedgerAccount:
    return ledger.open_account(kind="points", owner_id=number)


def give(amount: int, cause: str, *, to: int = 7, expires_at: datetime | None = None) -> LedgerTransfer:
    return ledger.transfer(
        cause=cause, debit=house(), credit=member(to), amount=amount, expires_at=expires_at
    )


def spend(amount: int, cause: str, *, by: int = 7) -> LedgerTransfer:
    return ledger.transfer(cause=cause, debit=member(by), credit=house("points.spent"), amount=amount)


def balance(number: int = 7) -> int:
    return ledger.balance_of(kind="points", owner_id=number)


def remaining() -> list[int]:
    return list(LedgerLot.objects.order_by("pk").values_list("remaining", flat=True))


def ledger_findings() -> list[audits.Finding]:
    """What the ledger's own checks find; the other rooms' checks would only cost time here."""
    checks = [check for name, (_label, check) in audits._checks.items() if name.startswith("core.ledger")]
    return [finding for check in checks for finding in check()]


def ledger_is_sound() -> None:
    assert ledger_findings() == []


@pytest.mark.django_db
class TestTransfer:
    def test_moves_value_and_the_house_is_the_sum(self) -> None:
        give(100, "order:1:points")
        spend(30, "order:2:points")
        assert balance() == 70
        assert ledger.balance_of(kind="points", owner_id=0) == -100
        assert ledger.balance_of(kind="points.spent", owner_id=0) == 30
        assert LedgerAccount.objects.filter(owner_id=0).exclude(balance=0).count() == 0
        ledger_is_sound()

    def test_happens_once_per_cause(self) -> None:
        odd = 'order:{"1", NULL}\\:points'
        first = give(100, odd)
        assert give(100, odd).pk == first.pk == LedgerTransfer.objects.get(cause=odd).pk
        assert balance() == 100

    def test_refuses_a_cause_that_stands_for_something_else(self) -> None:
        give(100, "order:1:points")
        with pytest.raises(ledger.CauseTaken):
            give(99, "order:1:points")
        assert balance() == 100

    def test_refuses_more_than_there_is_and_writes_nothing(self) -> None:
        give(100, "order:1:points")
        with pytest.raises(ledger.BalanceTooLow), transaction.atomic():
            spend(101, "order:2:points")
        assert balance() == 100
        assert LedgerTransfer.objects.count() == 1

    def test_refuses_other_units_the_same_account_and_nothing_at_all(self) -> None:
        for debit, credit, amount in [
            (house("stored_value"), member(), 5),
            (member(), member(), 5),
            (house(), member(), 0),
            (house(), member(), -5),
        ]:
            with pytest.raises(ledger.WrongAccounts):
                ledger.transfer(cause="x", debit=debit, credit=credit, amount=amount)
        assert LedgerTransfer.objects.count() == 0

    def test_many_at_once_are_all_or_none_and_each_once(self, django_assert_num_queries) -> None:
        def moves(*amounts: int) -> list[ledger.Transfer]:
            """Given when positive, spent when negative; the cause is the place."""
            return [
                ledger.Transfer(f"many:{place}", house(), member(), amount, tomorrow)
                if amount > 0
                else ledger.Transfer(f"many:{place}", member(), house("points.spent"), -amount)
                for place, amount in enumerate(amounts)
            ]

        tomorrow = clock.now() + timedelta(days=1)
        give(30, "before")
        wanted = moves(50, -20, 40, -10)
        with django_assert_num_queries(1):
            rows = ledger.transfer_many(transfers=wanted)
        assert (balance(), [row.cause for row in rows]) == (90, [f"many:{place}" for place in range(4)])
        assert remaining() == [0, 50, 40], "spent is what was there before"
        assert [model_to_dict(row) for row in rows] == [
            model_to_dict(row)
            for row in LedgerTransfer.objects.filter(cause__startswith="many:").order_by("pk")
        ]
        again = ledger.transfer_many(transfers=moves(50, -20, 40, -10, -90))
        assert [row.pk for row in again[:4]] == [row.pk for row in rows]
        assert balance() == 0
        with pytest.raises(ledger.BalanceTooLow), transaction.atomic():
            ledger.transfer_many(transfers=moves(50, -20, 40, -10, -90, 5, -6))
        assert balance() == 0
        ledger_is_sound()

    def test_costs_few_queries(self, django_assert_max_num_queries) -> None:
        give(100, "order:1:points")
        debit, credit = member(), house("points.spent")
        with django_assert_max_num_queries(8):  # savepoint, insert, lock, lots due?, balance, lots, release
            ledger.transfer(cause="order:2:points", debit=debit, credit=credit, amount=30)

    def test_statement_shows_the_newest_first_with_the_balance_left_behind(self) -> None:
        for number in range(1, 6):
            give(10, f"order:{number}:points")
        spend(15, "order:6:points")
        page = ledger.statement(account=member(), limit=2)
        assert [(line.cause, line.amount, line.balance) for line in page] == [
            ("order:6:points", -15, 35),
            ("order:5:points", 10, 50),
        ]
        rest = ledger.statement(account=member(), limit=9, before=page[-1].transfer_id)
        assert [line.balance for line in rest] == [40, 30, 20, 10]


@pytest.mark.django_db
class TestLots:
    def test_are_spent_first_expiring_first(self) -> None:
        with clock.travel(NEW_YEAR):
            give(50, "a", expires_at=NEW_YEAR + timedelta(days=90))
            give(50, "b", expires_at=NEW_YEAR + timedelta(days=30))
            give(50, "c")
            spend(70, "d")
        assert remaining() == [30, 0, 50]
        ledger_is_sound()

    def test_expired_value_cannot_be_spent_even_before_the_job_ran(self) -> None:
        with clock.travel(NEW_YEAR):
            give(50, "a", expires_at=NEW_YEAR + timedelta(days=1))
            give(20, "b")
        with clock.travel(NEW_YEAR + timedelta(days=2)):
            with pytest.raises(ledger.BalanceTooLow), transaction.atomic():
                spend(21, "c")
            spend(20, "d")
        assert balance() == 0
        assert ledger.balance_of(kind="points.expired", owner_id=0) == 50
        ledger_is_sound()

    def test_expire_by_the_job_once(self, django_assert_max_num_queries: Any, monkeypatch: Any) -> None:
        with clock.travel(NEW_YEAR):
            for number in (1, 2, 3):
                give(50, f"a{number}", to=number, expires_at=NEW_YEAR + timedelta(days=number))
            give(50, "held", to=9, expires_at=NEW_YEAR + timedelta(days=1))
            ledger.hold(cause="order:9", account=member(9), amount=50)
        with clock.travel(NEW_YEAR + timedelta(days=2)):
            monkeypatch.setattr(ledger, "EXPIRED_TOGETHER", 1)
            assert ledger.expire_lots(seconds=0) == 1
            assert ledger.expire_lots() == 1, "it goes on where it stopped"
            with django_assert_max_num_queries(1):
                assert ledger.expire_lots() == 0, "who has only what is held is not locked again and again"
        assert [balance(1), balance(2), balance(3)] == [0, 0, 50]
        ledger_is_sound()

    def test_that_a_hold_covers_wait_for_it(self) -> None:
        with clock.travel(NEW_YEAR):
            give(50, "a", expires_at=NEW_YEAR + timedelta(days=1))
            give(10, "b")
            ledger.hold(cause="order:1", account=member(), amount=30)
        with clock.travel(NEW_YEAR + timedelta(days=2)):
            ledger.expire_lots()
            assert balance() == 40  # 20 of the 50 went
            ledger.capture(cause="order:1", credit=house("points.spent"))
            assert remaining() == [0, 10]
        ledger_is_sound()


@pytest.mark.django_db
class TestHold:
    def test_keeps_value_from_being_spent_until_released(self) -> None:
        give(100, "a")
        ledger.hold(cause="h", account=member(), amount=80)
        with pytest.raises(ledger.BalanceTooLow), transaction.atomic():
            spend(21, "b")
        with pytest.raises(ledger.BalanceTooLow), transaction.atomic():
            ledger.hold(cause="h2", account=member(), amount=21)
        ledger.release(cause="h")
        ledger.release(cause="h")
        spend(100, "c")
        ledger_is_sound()

    def test_is_captured_once_in_whole_or_in_part(self) -> None:
        give(100, "a")
        ledger.hold(cause="h", account=member(), amount=80)
        first = ledger.capture(cause="h", credit=house("points.spent"), amount=50)
        assert ledger.capture(cause="h", credit=house("points.spent"), amount=50).pk == first.pk
        assert balance() == 50
        spend(50, "b")
        ledger_is_sound()

    def test_cannot_be_both_captured_and_released(self) -> None:
        give(100, "a")
        for cause in ("h1", "h2"):
            ledger.hold(cause=cause, account=member(), amount=10)
        ledger.capture(cause="h1", credit=house("points.spent"))
        ledger.release(cause="h2")
        with pytest.raises(ledger.HoldClosed):
            ledger.release(cause="h1")
        with pytest.raises(ledger.HoldClosed):
            ledger.capture(cause="h2", credit=house("points.spent"))
        assert balance() == 90

    def test_is_placed_once_per_cause(self) -> None:
        give(100, "a")
        first = ledger.hold(cause="h", account=member(), amount=80)
        assert ledger.hold(cause="h", account=member(), amount=80).pk == first.pk
        with pytest.raises(ledger.CauseTaken):
            ledger.hold(cause="h", account=member(), amount=79)


@pytest.mark.django_db
class TestReverse:
    def test_of_spending_refills_the_lots_that_were_spent(self) -> None:
        with clock.travel(NEW_YEAR):
            give(50, "a", expires_at=NEW_YEAR + timedelta(days=30))
            give(50, "b", expires_at=NEW_YEAR + timedelta(days=90))
            spend(70, "c")
            ledger.reverse(transfer_cause="c", cause="c:back")
            ledger.reverse(transfer_cause="c", cause="c:back")
        assert remaining() == [50, 50]
        assert balance() == 100
        ledger_is_sound()

    def test_in_parts_refills_the_longest_living_first_and_never_too_much(self) -> None:
        with clock.travel(NEW_YEAR):
            give(50, "a", expires_at=NEW_YEAR + timedelta(days=30))
            give(50, "b", expires_at=NEW_YEAR + timedelta(days=90))
            spend(70, "c")
            ledger.reverse(transfer_cause="c", cause="c:back:1", amount=30)
            assert remaining() == [10, 50]
            ledger.reverse(transfer_cause="c", cause="c:back:2", amount=40)
            with pytest.raises(ledger.ReversesTooMuch), transaction.atomic():
                ledger.reverse(transfer_cause="c", cause="c:back:3", amount=1)
        assert remaining() == [50, 50]
        ledger_is_sound()

    def test_of_a_gift_takes_its_own_lot_first_and_refuses_what_was_spent(self) -> None:
        give(50, "a")
        give(50, "b")
        ledger.reverse(transfer_cause="b", cause="b:back")
        assert remaining() == [50, 0]
        spend(20, "c")
        with pytest.raises(ledger.BalanceTooLow), transaction.atomic():
            ledger.reverse(transfer_cause="a", cause="a:back")
        assert balance() == 30
        ledger_is_sound()

    def test_between_customers_restores_both(self) -> None:
        give(50, "a", to=1)
        ledger.transfer(cause="gift", debit=member(1), credit=member(2), amount=20)
        ledger.reverse(transfer_cause="gift", cause="gift:back")
        assert (balance(1), balance(2)) == (50, 0)
        ledger_is_sound()


@pytest.mark.django_db
def test_the_audit_names_what_does_not_add_up() -> None:
    give(100, "a")
    LedgerAccount.objects.filter(owner_id=7).update(balance=99)
    LedgerLot.objects.update(remaining=98)
    problems = [finding.problem for finding in ledger_findings()]
    assert "余额 99，流水合计 100" in problems
    assert "余额 99，批次合计 98" in problems
    assert "剩余 98 / 100，已消耗 0" in problems


def in_parallel(commands: list) -> list[object]:
    """Run each command in its own thread and connection; what it raised is its outcome."""

    def run(command: object) -> object:
        try:
            return command()  # type: ignore[operator]
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(run, commands))


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_two_spenders_cannot_spend_the_same_value(self) -> None:
        give(100, "a")
        house("points.spent")
        outcomes = in_parallel([lambda number=number: spend(30, f"s{number}") for number in range(8)])
        refused = [outcome for outcome in outcomes if isinstance(outcome, ledger.BalanceTooLow)]
        assert len(refused) == 5, outcomes
        assert balance() == 10
        ledger_is_sound()

    def test_one_cause_posted_by_many_moves_once(self) -> None:
        house(), member()
        outcomes = in_parallel([lambda: give(100, "a") for _ in range(8)])
        assert len({outcome.pk for outcome in outcomes}) == 1
        assert balance() == 100
        ledger_is_sound()

    def test_capture_and_release_exclude_each_other(self) -> None:
        give(100, "a")
        spent = house("points.spent")
        for number in range(4):
            ledger.hold(cause=f"h{number}", account=member(), amount=20)
        in_parallel(
            [
                command
                for number in range(4)
                for command in (
                    lambda number=number: ledger.capture(cause=f"h{number}", credit=spent),
                    lambda number=number: ledger.release(cause=f"h{number}"),
                )
            ]
        )
        assert LedgerAccount.objects.get(owner_id=7).held == 0
        ledger_is_sound()

    def test_partial_reversals_stop_at_the_whole(self) -> None:
        give(100, "a")
        spend(50, "s")
        outcomes = in_parallel(
            [
                lambda number=number: ledger.reverse(transfer_cause="s", cause=f"back{number}", amount=20)
                for number in range(6)
            ]
        )
        assert sum(isinstance(outcome, LedgerTransfer) for outcome in outcomes) == 2
        assert balance() == 90
        ledger_is_sound()

    def test_customers_who_pay_each_other_do_not_deadlock(self) -> None:
        give(1000, "a", to=1)
        give(1000, "b", to=2)
        one, two = member(1), member(2)

        def pay(number: int) -> LedgerTransfer:
            debit, credit = (one, two) if number % 2 else (two, one)
            return ledger.transfer(cause=f"p{number}", debit=debit, credit=credit, amount=5)

        outcomes = in_parallel([lambda number=number: pay(number) for number in range(10)])
        assert all(isinstance(outcome, LedgerTransfer) for outcome in outcomes), outcomes
        assert balance(1) + balance(2) == 2000
        ledger_is_sound()
