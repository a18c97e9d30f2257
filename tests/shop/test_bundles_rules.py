"""A bundle taken apart costs what it cost, to the fen, whatever was taken off."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shop.bundles_rules import Part, taken_apart
from shop.pricing.types import Discount, QuotedLine

PARTS = st.lists(
    st.builds(
        Part,
        sku_id=st.integers(1, 9),
        quantity=st.integers(1, 9),
        price_fen=st.integers(0, 50_000),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(
    parts=PARTS,
    price=st.integers(0, 100_000),
    quantity=st.integers(1, 7),
    offs=st.lists(st.integers(0, 10_000), max_size=3),
)
def test_the_parts_sum_to_the_bundle_and_none_goes_below_nothing(
    parts: list[Part], price: int, quantity: int, offs: list[int]
) -> None:
    left, discounts = price * quantity, []
    for number, bps in enumerate(offs):
        amount = left * bps // 10_000
        left -= amount
        discounts.append(Discount("promotion", f"promotion:{number}", "满减", amount))
    line = QuotedLine(77, price, quantity, discounts=tuple(discounts))

    apart = taken_apart(line, parts, title="礼盒", place=0)

    assert sum(one.total_fen for one in apart) == line.total_fen == left
    assert all(one.total_fen >= 0 and one.discount_fen >= 0 for one in apart)
    assert [one.quantity for one in apart] == [part.quantity * quantity for part in parts]
    of_bundle = sum(one.amount_fen for part in apart for one in part.discounts if one.step == "bundle")
    assert sum(one.unit_price_fen * one.quantity for one in apart) - of_bundle == price * quantity
    for number, discount in enumerate(discounts):
        shared = [one for part in apart for one in part.discounts if one.source == f"promotion:{number}"]
        assert sum(one.amount_fen for one in shared) == discount.amount_fen


def test_parts_show_what_they_cost_alone_and_what_the_bundle_saves() -> None:
    line = QuotedLine(7, 40_000, 1)
    cream, serum = taken_apart(line, [Part(1, 1, 20_000), Part(2, 1, 30_000)], title="礼盒", place=0)
    assert (cream.unit_price_fen, cream.total_fen) == (20_000, 16_000)
    assert (serum.unit_price_fen, serum.total_fen) == (30_000, 24_000)
    assert {cream.kind, serum.kind} == {"part"}
