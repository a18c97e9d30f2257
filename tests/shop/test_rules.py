"""The shop's pure rules, for any input."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from core import money
from shop import rules

LINES = st.lists(
    st.builds(
        rules.PricedLine,
        unit_price_fen=st.integers(0, 10**8),
        quantity=st.integers(1, 999),
    ),
    max_size=50,
)


@given(LINES, st.integers(0, 10_000))
def test_totals_are_the_sum_of_the_lines(lines, shipping_fen):
    sums = rules.totals(lines, shipping_fen=shipping_fen)
    assert sums.total_fen == sum(line.total_fen for line in lines) + shipping_fen
    assert sums.items_fen - sums.discount_fen == sum(line.total_fen for line in lines)


@given(LINES, LINES)
def test_totals_add_up_over_orders(some, others):
    assert (
        rules.totals(some + others).items_fen == rules.totals(some).items_fen + rules.totals(others).items_fen
    )


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 99))))
def test_merged_lines_lose_no_piece_and_are_sorted(lines):
    merged = rules.merged_lines(lines)
    assert sum(quantity for _sku, quantity in merged) == sum(quantity for _sku, quantity in lines)
    assert [sku for sku, _quantity in merged] == sorted({sku for sku, _quantity in lines})


@given(st.integers(0, 10**12 - 1))
def test_order_numbers_are_eighteen_digits_that_begin_with_the_day(chance):
    number = rules.order_number(datetime(2026, 1, 9, tzinfo=UTC), chance)
    assert len(number) == 18
    assert number.isdigit()
    assert number.startswith("260109")


@given(st.integers(0, 10**10), st.lists(st.integers(0, 10**8), min_size=1, max_size=50))
def test_a_discount_split_over_lines_loses_no_fen(total_fen, weights):
    parts = money.allocate(total_fen, weights)
    assert sum(parts) == total_fen
    assert all(part >= 0 for part in parts)
    whole = sum(weights)
    if whole:
        assert all(
            abs(part * whole - total_fen * weight) < whole
            for part, weight in zip(parts, weights, strict=True)
        )


def test_the_states_lead_where_they_should():
    assert rules.may_become("cancelled", "paid")
    assert not rules.may_become("refunded", "paid")
    assert set(rules.TRANSITIONS) == set(rules.ORDER_STATUSES)
    assert all(target in rules.ORDER_STATUSES for targets in rules.TRANSITIONS.values() for target in targets)
