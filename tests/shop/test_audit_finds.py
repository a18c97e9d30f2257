"""`manage.py audit` finds a corruption planted in every table that holds money, stock or rights.

One shop in which everything has happened once is built for the whole file and found clean. Each case then writes past
the services into one table, runs the one check that must see it, and is rolled back. Where the database itself would
refuse the corruption, the case names the constraint: it is first seen to refuse, then taken away.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction

from core import clock
from core.audits import audit_check, check_names, run_audit, run_check
from tests.shop import booking_builders as booking
from tests.shop import busy_shop

TESTS = Path(__file__).resolve().parent.parent
WRITTEN = re.compile(r"\b(?:UPDATE|DELETE FROM|INSERT INTO)\s+((?:shop|core|crm|wechat|campaigns)_\w+)")


@dataclass(frozen=True)
class Case:
    """`check` must see what `sql` does; `guard` is the constraint or trigger that must be gone before the database
    lets it.
    """

    check: str
    sql: str
    guard: str = ""

    @property
    def table(self) -> str:
        found = WRITTEN.search(self.sql)
        assert found, self.sql
        return found[1]

    def __str__(self) -> str:
        return f"{self.check.rpartition('.')[2]}-{self.table.partition('_')[2]}"


def of(check: str, *corruptions: str | tuple[str, str]) -> list[Case]:
    """Cases of one check: an SQL statement, or one with the constraint that stands in its way."""
    return [Case(check, *((one, "") if isinstance(one, str) else one)) for one in corruptions]


CASES = [
    # --- Stock
    *of(
        "shop.stock_is_the_sum_of_its_movements",
        "UPDATE shop_stock SET on_hand = on_hand + 1",
        "DELETE FROM shop_stockmovement WHERE reason = 'receive'",
        (
            "UPDATE shop_stock SET reserved = -1 WHERE reserved = 0",
            "stock_reserves_only_what_it_has",
        ),
    ),
    *of(
        "shop.reserved_is_what_open_orders_hold",
        "UPDATE shop_stock SET reserved = reserved - 1 WHERE reserved > 0",
        "UPDATE shop_orderline SET quantity = quantity + 1, total_fen = total_fen + unit_price_fen",
        "UPDATE shop_order SET status = 'cancelled' WHERE status = 'pending_payment'",
        "UPDATE shop_aftersaleline SET quantity = 1 WHERE new_sku_id IS NOT NULL AND is_open",
    ),
    *of(
        "shop.what_left_moved_stock",
        "UPDATE shop_stockmovement SET on_hand_change = on_hand_change + 1 WHERE cause LIKE 'order:%:handover'",
        "UPDATE shop_fulfilment SET state = 'shipped', done_at = now() WHERE kind = 'ship' AND state = 'waiting'",
    ),
    *of(
        "shop.stocktakes_are_booked_once",
        "UPDATE shop_stocktakeline SET counted = counted + 1",
        "UPDATE shop_stocktake SET state = 'open'",
    ),
    *of(
        "shop.transfers_moved_stock",
        "UPDATE shop_transferline SET received = 2 WHERE received = 1",
        "UPDATE shop_transferline SET quantity = quantity + 1",
        "UPDATE shop_transfer SET state = 'draft' WHERE state = 'sent'",
        "UPDATE shop_stockmovement SET on_hand_change = on_hand_change - 5 WHERE reason = 'transfer'",
    ),
    *of(
        "shop.store_sales_are_booked",
        "DELETE FROM shop_stockmovement WHERE reason = 'sell'",
        "DELETE FROM crm_activity WHERE kind = 'paid' AND amount_fen = 8800",
        "UPDATE shop_order SET paid_fen = paid_fen - 1 WHERE channel LIKE 'store:%'",
    ),
    # --- Orders and their money
    *of(
        "shop.order_lines_sum_to_the_order",
        "UPDATE shop_orderline SET quantity = quantity + 1, total_fen = total_fen + unit_price_fen",
        "UPDATE shop_order SET items_fen = items_fen + 1, total_fen = total_fen + 1",
        (
            "UPDATE shop_orderline SET total_fen = total_fen - 1 WHERE total_fen > 1 AND refunded_fen = 0",
            "order_line_total_adds_up",
        ),
    ),
    *of(
        "shop.rows_of_orders_have_their_order",
        "UPDATE shop_orderdiscount SET order_id = 0 WHERE step = 'coupon'",
        "UPDATE shop_orderlog SET order_id = 0 WHERE action = 'placed'",
        "UPDATE shop_stockmovement SET order_id = 0 WHERE reason = 'reserve'",
    ),
    *of(
        "shop.discounts_sum_to_their_lines",
        "UPDATE shop_orderdiscount SET amount_fen = amount_fen + 1",
        "DELETE FROM shop_orderdiscount WHERE step = 'coupon'",
        "UPDATE shop_orderline SET discount_fen = discount_fen + 1, total_fen = total_fen - 1"
        " WHERE total_fen > 1 AND refunded_fen = 0",
    ),
    *of(
        "shop.paid_orders_have_their_payment",
        "DELETE FROM shop_payment WHERE status = 'paid' AND kind = 'jsapi'",
        "UPDATE shop_order SET paid_at = NULL WHERE status = 'paid'",
        "UPDATE shop_refund SET kind = 'order' WHERE kind IN ('late', 'duplicate')",
    ),
    *of(
        "shop.paid_orders_are_on_the_timeline",
        "DELETE FROM crm_activity WHERE kind = 'paid'",
        "DELETE FROM crm_activity WHERE kind = 'refunded'",
    ),
    *of(
        "shop.imported_lines_are_in_their_order",
        "UPDATE shop_importline SET quantity = 3",
        "DELETE FROM shop_orderline WHERE product_name = '旧款'",
    ),
    *of("shop.price_ranges_are_those_of_the_skus", "UPDATE shop_sku SET price_fen = 1"),
    *of(
        "shop.price_ranges_are_those_of_the_skus", "UPDATE shop_product SET max_price_fen = max_price_fen + 1"
    ),
    *of(
        "shop.invoices_stay_within_what_was_paid", "UPDATE shop_invoice SET amount_fen = amount_fen + 1000000"
    ),
    # --- Refunds and after-sales
    *of(
        "shop.refunds_reversed_their_order",
        "UPDATE shop_order SET status = 'received' WHERE status = 'refunded'",
        "UPDATE shop_order SET refunded_fen = refunded_fen - 1 WHERE refunded_fen > 0",
        "UPDATE shop_refund SET status = 'processing' WHERE kind = 'order'",
    ),
    *of(
        "shop.refunds_stay_within_their_payment",
        "UPDATE shop_payment SET refunded_fen = 0 WHERE refunded_fen > 0",
        (
            "UPDATE shop_payment SET refunded_fen = paid_fen + 1 WHERE status = 'paid'",
            "payment_gives_back_at_most_what_it_took",
        ),
        "UPDATE shop_refund SET amount_fen = amount_fen + 1",
    ),
    *of(
        "shop.refunds_are_their_lines",
        "UPDATE shop_refundline SET amount_fen = amount_fen + 1",
        "DELETE FROM shop_refundline",
    ),
    *of(
        "shop.lines_count_what_was_given_back",
        "UPDATE shop_orderline SET refunded_quantity = 0 WHERE refunded_quantity > 0",
        "UPDATE shop_refund SET status = 'closed' WHERE kind = 'order'",
        (
            "UPDATE shop_orderline SET refunded_quantity = quantity + 1",
            "order_line_returns_at_most_what_was_sold",
        ),
    ),
    *of(
        "shop.refunds_gave_their_effects_back",
        "DELETE FROM shop_effectreversal",
        "UPDATE shop_effectreversal SET points = points + 1",
        "UPDATE shop_effectreversal SET parts = '{}'",
        "UPDATE core_ledgertransfer SET amount = amount + 1 WHERE cause LIKE 'order:%:points_back:%'",
        "UPDATE shop_offertake SET quantity = taken_quantity WHERE released_at IS NULL",
    ),
    *of(
        "shop.aftersales_agree_with_their_refunds",
        "UPDATE shop_aftersaleline SET quantity = 3",
        "DELETE FROM shop_aftersaleline",
        "UPDATE shop_aftersale SET status = 'closed' WHERE status = 'refunded'",
        "UPDATE shop_aftersale SET restocked_at = NULL WHERE restocked_at IS NOT NULL",
    ),
    # --- What is no parcel, and bundles
    *of(
        "shop.pieces_taken_are_in_orders", "UPDATE shop_goodsterms SET taken = taken + 1 WHERE quota IS NULL"
    ),
    *of("shop.codes_are_there_and_given_once", "DELETE FROM shop_virtualcode WHERE state = 'free'"),
    *of("shop.codes_are_there_and_given_once", "DELETE FROM shop_virtualcode WHERE state = 'given'"),
    *of("shop.paid_services_have_their_vouchers", "DELETE FROM shop_voucher WHERE number = 2"),
    *of(
        "shop.bundles_are_their_parts",
        "UPDATE shop_orderbundle SET unit_price_fen = unit_price_fen + 1",
        "DELETE FROM shop_orderbundle",
        (
            "UPDATE shop_sku SET supply = 'parts' WHERE id IN (SELECT sku_id FROM shop_bundleitem)",
            "the_supply_of_what_was_sold_stays",
        ),
        (
            "UPDATE shop_bundleitem SET sku_id = (SELECT max(bundle_id) FROM shop_bundleitem)"
            " WHERE bundle_id = (SELECT min(bundle_id) FROM shop_bundleitem) AND quantity = 1",
            "a_part_is_no_bundle",
        ),
    ),
    *of("shop.pieces_are_no_parcels", "UPDATE shop_orderline SET store_id = NULL WHERE store_id IS NOT NULL"),
    # --- Fulfilment
    *of(
        "shop.paid_orders_have_their_fulfilments",
        "DELETE FROM shop_fulfilment WHERE state = 'waiting'",
        "UPDATE shop_fulfilment SET state = 'waiting', done_at = NULL WHERE state = 'shipped'",
    ),
    *of("shop.what_was_shipped_has_its_parcel", "DELETE FROM shop_shipment"),
    *of(
        "shop.orders_in_one_parcel_belong_together",
        """UPDATE shop_shipment SET next_ask_at = NULL, leader_id = (SELECT min(id) FROM shop_shipment)
        WHERE id = (SELECT max(id) FROM shop_shipment)""",
    ),
    *of(
        "shop.parcels_are_where_their_latest_event_is",
        "UPDATE shop_shipment SET state = 'transit'",
        "DELETE FROM shop_trackingevent",
    ),
    *of(
        "shop.reminders_came_while_the_order_was_unpaid",
        "UPDATE shop_paymentreminder SET at = at - interval '1 day'",
    ),
    *of(
        "shop.funnel_steps_are_of_the_orders_member",
        "UPDATE shop_funnelstep SET member_id = (SELECT max(id) FROM crm_member)",
    ),
    # --- Coupons, offers, points
    *of("shop.coupons_are_counted", "UPDATE shop_coupon SET granted_count = 40"),
    *of("shop.coupons_are_counted", "DELETE FROM shop_coupongrant WHERE state = 'used'"),
    *of(
        "shop.used_coupons_have_their_order",
        "DELETE FROM shop_orderdiscount WHERE step = 'coupon'",
        (
            "UPDATE shop_coupongrant SET order_id = NULL WHERE state = 'used'",
            "coupon_is_used_on_an_order",
        ),
        "UPDATE shop_coupongrant SET member_id = (SELECT max(id) FROM crm_member) WHERE state = 'used'",
    ),
    *of(
        "shop.cancelled_orders_keep_nothing",
        "UPDATE shop_order SET status = 'cancelled' WHERE points_used > 0 AND status = 'pending_payment'",
        "UPDATE shop_offertake SET released_at = NULL, quantity = 1 WHERE released_at IS NOT NULL",
    ),
    *of(
        "shop.offers_are_the_sum_of_their_takes",
        "UPDATE shop_offer SET taken = taken + 1",
        "UPDATE shop_offertake SET quantity = quantity - 1 WHERE quantity > 1",
        ("UPDATE shop_offer SET taken = quota + 1", "offer_takes_at_most_its_quota"),
    ),
    *of("shop.offer_tallies_are_the_sum_of_takes", "UPDATE shop_offertally SET taken = taken + 1"),
    *of(
        "shop.points_used_are_held_or_spent",
        "UPDATE shop_order SET points_used = points_used + 1 WHERE points_used > 0",
        "UPDATE core_ledgerhold SET status = 'released' WHERE cause LIKE 'order:%:points'",
        "UPDATE shop_effectreversal SET points = 9999",
    ),
    *of("shop.running_promotions_are_whole", "DELETE FROM shop_promotionextra"),
    *of("shop.running_promotions_are_whole", "UPDATE shop_promotion SET is_active = true"),
    *of("shop.running_promotions_are_whole", "UPDATE shop_promotionextra SET quantity = 1"),
    *of("shop.running_promotions_are_whole", "UPDATE shop_promotionlevel SET amount_fen = 0, off_bps = 1"),
    *of("shop.finished_rehearsals_add_up", "UPDATE shop_rehearsal SET orders_count = orders_count + 1"),
    # --- Stored value, gift cards, bills
    *of(
        "shop.tenders_stand_on_their_holds",
        "UPDATE shop_payment SET amount_fen = amount_fen - 1 WHERE kind = 'stored_value' AND status = 'open'",
        "DELETE FROM shop_payment WHERE kind = 'gift_card'",
        "UPDATE core_ledgerhold SET status = 'released' WHERE cause LIKE 'order:%:stored_value:%'",
    ),
    *of("shop.credits_stand_in_the_ledger", "UPDATE shop_storedvaluecredit SET principal_fen = 1"),
    *of(
        "shop.bound_cards_stand_in_the_ledger",
        "UPDATE shop_giftcard SET value_fen = 1",
        ("UPDATE shop_giftcard SET state = 'void' WHERE state = 'bound'", "gift_card_is_bound_to_a_member"),
    ),
    *of("shop.gift_card_batches_are_whole", "UPDATE shop_giftcardbatch SET count = 3"),
    *of("shop.gift_card_batches_are_whole", "DELETE FROM shop_giftcard WHERE state = 'new'"),
    *of(
        "shop.differences_are_in_the_queue",
        "DELETE FROM shop_billdifference",
        "UPDATE shop_billline SET amount_fen = 3",
        "UPDATE shop_payment SET paid_fen = paid_fen + 1 WHERE kind = 'jsapi' AND status = 'paid'",
    ),
    *of(
        "shop.bills_are_the_sum_of_their_lines",
        "UPDATE shop_bill SET payments_fen = payments_fen + 1",
        "DELETE FROM shop_billline",
    ),
    # --- Booking, queue, reviews
    *of(
        "shop.slots_are_taken_by_their_bookings",
        "UPDATE shop_bookingslot SET taken = 2 WHERE taken = 1",
        "DELETE FROM shop_booking",
        ("UPDATE shop_bookingslot SET taken = capacity + 1", "slot_never_overbooked"),
    ),
    *of(
        "shop.queue_numbers_were_given",
        "UPDATE shop_queueticket SET number = number + 7",
        "UPDATE shop_queueday SET last_number = last_number + 1",
    ),
    *of(
        "shop.check_ins_have_their_number",
        "UPDATE shop_queueticket SET booking_id = NULL",
        "UPDATE shop_booking SET state = 'checked_in' WHERE state = 'booked'",
    ),
    *of(
        "shop.ratings_are_those_of_shown_reviews",
        "UPDATE shop_productrating SET stars_sum = 4",
        "UPDATE shop_review SET state = 'hidden'",
    ),
    *of(
        "shop.reviews_belong_to_what_was_received",
        "UPDATE shop_review SET member_id = (SELECT max(id) FROM crm_member)",
        "UPDATE shop_order SET status = 'paid' WHERE status = 'received'",
    ),
    # --- The ledger
    *of(
        "core.ledger.balances",
        "UPDATE core_ledgeraccount SET balance = balance + 1 WHERE owner_id > 0",
        "UPDATE core_ledgertransfer SET amount = amount + 1",
        (
            "UPDATE core_ledgeraccount SET balance = held - 1 WHERE held > 0",
            "ledger_account_holds_only_what_it_has",
        ),
    ),
    *of("core.ledger.lots", "UPDATE core_ledgerlot SET remaining = remaining - 1 WHERE remaining > 0"),
    *of("core.ledger.uses", "UPDATE core_ledgerlotuse SET amount = amount + 1"),
    *of(
        "core.ledger.holds",
        "UPDATE core_ledgeraccount SET held = held + 1 WHERE owner_id > 0 AND held < balance",
        "DELETE FROM core_ledgerhold WHERE status = 'open'",
    ),
    *of(
        "core.ledger.reversals",
        "UPDATE core_ledgertransfer SET amount = amount + 1000000 WHERE reverses_id IS NOT NULL",
    ),
    *of(
        "core.ledger.references",
        (
            "INSERT INTO core_ledgertransfer (cause, debit_id, credit_id, amount, posted_at)"
            " VALUES ('?', -1, -2, 1, now())",
            "transfers_have_their_accounts",
        ),
        (
            "INSERT INTO core_ledgertransfer (cause, debit_id, credit_id, amount, posted_at, reverses_id)"
            " SELECT '?', credit_id, debit_id, amount, posted_at, -1 FROM core_ledgertransfer LIMIT 1",
            "transfers_have_their_accounts",
        ),
        (
            "INSERT INTO core_ledgerlot (account_id, transfer_id, amount, remaining)"
            " SELECT max(account_id), max(transfer_id) + 1, 1, 1 FROM core_ledgerlot",
            "lots_are_credits",
        ),
        (
            "INSERT INTO core_ledgerlotuse (lot_id, transfer_id, amount)"
            " SELECT max(lot_id), -1, 1 FROM core_ledgerlotuse",
            "uses_have_their_lot",
        ),
        (
            "INSERT INTO core_ledgerlotuse (lot_id, transfer_id, amount)"
            " SELECT -1, max(transfer_id), 1 FROM core_ledgerlotuse",
            "uses_have_their_lot",
        ),
        (
            "UPDATE core_ledgertransfer SET credit_id = -1 WHERE reverses_id IS NOT NULL",
            "ledgertransfer_keeps_its_place",
        ),
        ("UPDATE core_ledgerlot SET account_id = -1", "ledgerlot_keeps_its_place"),
        ("UPDATE core_ledgerlotuse SET lot_id = -1", "ledgerlotuse_keeps_its_place"),
        ("UPDATE core_ledgeraccount SET id = -id", "ledgeraccount_keeps_its_place"),
        ("DELETE FROM core_ledgeraccount", "account_goes_without_transfers"),
        (
            "DELETE FROM core_ledgertransfer WHERE id IN (SELECT transfer_id FROM core_ledgerlot)",
            "transfer_goes_without_rows",
        ),
        (
            "DELETE FROM core_ledgertransfer WHERE id IN (SELECT reverses_id FROM core_ledgertransfer)",
            "transfer_goes_without_rows",
        ),
        ("DELETE FROM core_ledgerlot", "lot_goes_without_uses"),
    ),
    # --- Members and messages
    *of("crm.stats", "UPDATE crm_memberstats SET paid_fen = paid_fen + 1"),
    *of("crm.identities", "UPDATE crm_identity SET is_following = NOT is_following"),
    *of("crm.tombstones", "DELETE FROM crm_memberstats"),
    *of(
        "campaigns.released_recipients", "DELETE FROM wechat_outboundmessage WHERE origin LIKE 'broadcast:%'"
    ),
    *of("campaigns.messages_have_recipients", "UPDATE campaigns_broadcastrecipient SET status = 'skipped'"),
    *of("campaigns.nobody_twice", """UPDATE campaigns_broadcastrecipient SET "to" = 'o-one'"""),
    *of("campaigns.finished_broadcasts", "UPDATE campaigns_broadcastrecipient SET status = 'planned'"),
    *of("campaigns.win_back_once", "UPDATE campaigns_winbackspell SET status = 'waiting'"),
    *of(
        "wechat",
        "UPDATE wechat_outboundmessage SET state = 'sent', sent_at = NULL",
        "UPDATE wechat_outboundmessage SET state = 'sending', lease_until = NULL, batch_id = NULL",
        "UPDATE wechat_outboundmessage SET state = 'unknown', reason_code = ''",
        "UPDATE wechat_subscriptionquota SET remaining = 2",
        "UPDATE wechat_outboundbatch SET platform_id = ''",
    ),
]

# Tables of the shop in which no money, stock or right can be lost, and why.
EXEMPT = {
    "what people set up; its edits are kept as history": [
        *("category", "brand", "attribute", "attributevalue", "productimage", "memberprice", "costprice"),
        *("pointspolicy", "shippingrate", "servicerules", "ordermessage", "carrier", "bookableservice"),
        *("serviceopening", "serviceday", "presale", "categorypoints"),
        *("rechargeoffer", "rechargepolicy"),
    ],
    "wishes of members; orders are priced and checked anew": [
        "cartline",
        "address",
        "favourite",
        "stocknotice",
    ],
    "which rules processes have read; no right hangs on it": ["pricingversion"],
    "a place in a queue to be told, without a right to anything": ["offerwaiting", "bookingreminder"],
    "words and pictures beside facts that are checked": [
        *(
            "aftersalelog",
            "aftersalephoto",
            "reviewphoto",
            "question",
            "giftcardguess",
            "importrun",
        ),
    ],
}


@pytest.fixture(scope="module")
def busy(django_db_setup: None, django_db_blocker: Any) -> Iterator[busy_shop.Busy]:
    with (
        django_db_blocker.unblock(),
        clock.travel(booking.MONDAY + timedelta(hours=2)),
        transaction.atomic(),
    ):
        yield busy_shop.build()
        transaction.set_rollback(True)


@pytest.fixture
def settled(busy: busy_shop.Busy) -> Iterator[Any]:
    """A cursor inside a savepoint that is rolled back."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        yield cursor
        transaction.set_rollback(True)


def test_nothing_is_found_where_all_is_well(settled: Any) -> None:
    assert run_audit()[1] == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_audit_finds(settled: Any, case: Case) -> None:
    if case.guard:
        with pytest.raises(IntegrityError), transaction.atomic():
            settled.execute(case.sql)
        settled.execute("SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = %s", [case.guard])
        if trigger := settled.fetchone():
            settled.execute(f"ALTER TABLE {trigger[0]} DISABLE TRIGGER {case.guard}")
        else:
            settled.execute(f"ALTER TABLE {case.table} DROP CONSTRAINT {case.guard}")
    settled.execute(case.sql)
    assert settled.rowcount > 0, "the corruption met nothing"
    assert run_check(case.check) != []


def test_every_check_has_seen_a_corruption() -> None:
    known = {case.check for case in CASES}
    planted_elsewhere = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    assert not [
        name
        for name, _label in check_names()
        if name not in known and name.rpartition(".")[2] not in planted_elsewhere
    ]


def test_every_table_that_holds_something_is_corrupted_by_a_test() -> None:
    planted = {case.table for case in CASES}
    for path in TESTS.rglob("test_*.py"):  # rooms that plant theirs beside what they test
        planted |= set(WRITTEN.findall(path.read_text()))
    exempt = {f"shop_{name}" for names in EXEMPT.values() for name in names}
    ours = {
        model._meta.db_table
        for model in apps.get_app_config("shop").get_models()
        if not model._meta.proxy and not hasattr(model, "pgh_obj_id")
    }
    assert exempt <= ours
    assert not exempt & {case.table for case in CASES}
    assert sorted(ours - exempt - planted) == []


def test_a_check_never_takes_the_name_of_another() -> None:
    with pytest.raises(RuntimeError, match=r"shop\.coupons_are_counted"):
        audit_check("shop.coupons_are_counted")(lambda: iter(()))
