"""Another shop's history comes in as it is: nothing invented, nothing doubled, every line accounted for."""

import csv
import io
import itertools
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from openpyxl import Workbook

from core import clock, jobs
from core.audits import run_audit
from core.models import EventDelivery, Job
from crm import services as crm_services
from crm.models import Activity, Identity, Member, MemberLife, MemberStats
from crm.services.erased import remember_erased_numbers
from shop.imports import mapping, rules, runner
from shop.models import ImportLine, ImportRun, Order, OrderLine, Product, Sku, StockMovement
from tests.crm import sample_by_hand

WHOLE = os.environ.get("POND_WHOLE_SAMPLE") == "1"  # else a fifth of it
SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "online_retail_sample.csv"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
LINES = """\
536365,71053,WHITE METAL LANTERN,6,2010-12-01 08:26:00,3.39,17850,United Kingdom
536365,84029E,RED WOOLLY HOTTIE WHITE HEART.,2,2010-12-01 08:26:00,4.25,17850,United Kingdom
536365,POST,POSTAGE,1,2010-12-01 08:26:00,18.00,17850,France
536366,71053,WHITE METAL LANTERN,4,2010-12-02 09:00:00,3.39,17850,United Kingdom
536367,22632,,3,2010-12-02 10:00:00,1.85,,United Kingdom
536367,22632,,3,2010-12-02 10:00:00,1.85,,United Kingdom
536368,22632,HAND WARMER,1,2010-12-03 10:00:00,1.95,13047,United Kingdom
C536400,71053,WHITE METAL LANTERN,-5,2010-12-05 08:00:00,3.39,17850,United Kingdom
C536401,71053,WHITE METAL LANTERN,-99,2010-12-05 09:00:00,3.39,17850,United Kingdom
C536402,22632,HAND WARMER,-1,2010-12-01 09:00:00,1.95,13047,United Kingdom
C536403,22632,HAND WARMER,-1,2010-12-05 09:00:00,1.85,,United Kingdom
C536404,22632,HAND WARMER,-1,2010-12-06 09:00:00,1.95,13047,United Kingdom
C536405,D,Discount,-1,2010-12-06 09:00:00,27.50,13047,United Kingdom
536406,M,Manual,1,2010-12-06 09:00:00,1.25,13047,United Kingdom
536407,DOT,DOTCOM POSTAGE,1,2010-12-06 09:00:00,9.95,,United Kingdom
536408,22632,damaged,-12,2010-12-06 09:00:00,0,,United Kingdom
536409,22632,sample,1,2010-12-06 09:00:00,0,13047,United Kingdom
536410,22632,HAND WARMER,many,2010-12-06 09:00:00,1.85,13047,United Kingdom
536411,22632,HAND WARMER,1,yesterday,1.85,13047,United Kingdom
536412,22632,HAND WARMER,1,2010-12-06 09:00:00,0.001,13047,United Kingdom
536413,,HAND WARMER,1,2010-12-06 09:00:00,1.85,13047,United Kingdom
,22632,HAND WARMER,1,2010-12-06 09:00:00,1.85,13047,United Kingdom
536414,22632
"""

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def private_files(settings: Any, tmp_path: Path) -> None:
    settings.PRIVATE_ROOT = tmp_path / "private"


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "gifts.csv"
    path.write_text(f"{HEADER}\n{LINES}", encoding="utf-8")
    return path


def bring_in(path: Path, *arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("import_orders", str(path), *arguments, stdout=out)
    return dict(json.loads(out.getvalue().splitlines()[-1]))


def verdicts(run: ImportRun | None = None) -> dict[int, str]:
    lines = ImportLine.objects.filter(run=run or ImportRun.objects.latest("pk"))
    return {line.number: line.reason or line.verdict for line in lines}


def state() -> dict[str, Any]:
    return {
        "members": Member.objects.count(),
        "products": Product.objects.count(),
        "orders": Order.objects.aggregate(n=Sum("total_fen"), back=Sum("refunded_fen")),
        "lines": OrderLine.objects.aggregate(n=Sum("quantity")),
        "facts": Activity.objects.count(),
        "figures": MemberStats.objects.aggregate(
            paid=Sum("paid_fen"), back=Sum("refunded_fen"), n=Sum("orders_count")
        ),
    }


def test_every_line_has_its_verdict_and_the_numbers_add_up(history: Path) -> None:
    result = bring_in(history)
    assert {name: result[name] for name in ("rows", "imported", "skipped", "refused")} == {
        "rows": 23,
        "imported": 9,
        "skipped": 0,
        "refused": 14,
    }
    assert {name: result[name] for name in ("members", "products", "orders")} == {
        "members": 2,
        "products": 3,
        "orders": 4,
    }
    assert list(result) == [
        *(["rows", "imported", "skipped", "refused", "members", "products", "orders", "seconds"])
    ]
    assert verdicts() == {
        **dict.fromkeys([1, 2, 3, 4, 5, 6, 7, 8, 12], "imported"),
        9: "cancels_nothing",  # more than was ever bought
        10: "cancels_nothing",  # before it was bought
        11: "cancels_nobody",
        13: "service_back",
        14: "service",
        15: "shipping_alone",
        16: "stock_correction",
        17: "zero_price",
        18: "bad_quantity",
        19: "bad_date",
        20: "bad_price",
        21: "no_code",
        22: "no_order_number",
        23: "bad_row",
    }


def test_orders_are_as_they_were(history: Path) -> None:
    bring_in(history, "--source", "gifts")
    first = Order.objects.get(external_id="536365")
    assert (first.channel, first.status, first.currency) == ("import:gifts", "received", "GBP")
    assert (first.items_fen, first.shipping_fen, first.paid_fen) == (2884, 1800, 4684)
    assert first.placed_at == first.paid_at == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert first.member is not None
    assert first.member.name == ""
    nobody = Order.objects.get(external_id="536367")
    assert nobody.member is None
    assert nobody.lines.count() == 2  # two equal lines are two lines
    assert Identity.objects.filter(kind="phone").count() == 0


def test_products_come_in_off_the_shelves_and_without_a_name_carry_their_code(history: Path) -> None:
    Sku.objects.create(
        product=Product.objects.create(
            name="白色金属灯笼", status="on_sale", created_at=datetime.now(UTC), updated_at=datetime.now(UTC)
        ),
        code="71053",
        price_fen=9900,
    )
    bring_in(history)
    assert Product.objects.filter(status="on_sale").count() == 1  # the known one was used as it is
    assert set(Product.objects.filter(status="off").values_list("name", flat=True)) == {
        "RED WOOLLY HOTTIE WHITE HEART.",
        "HAND WARMER",
    }
    assert Sku.objects.get(code="22632").price_fen == 195


def test_a_cancellation_takes_back_the_latest_purchases_first(history: Path) -> None:
    bring_in(history)
    first, second = (Order.objects.get(external_id=number) for number in ("536365", "536366"))
    assert (second.refunded_fen, second.status) == (4 * 339, "refunded")
    assert (first.refunded_fen, first.status) == (339, "received")
    assert Order.objects.get(external_id="536368").status == "refunded"


def test_members_get_their_figures_and_facts_and_nobody_else_hears_of_it(history: Path) -> None:
    bring_in(history, "--source", "gifts")
    figures = MemberStats.objects.get(member__identities__value="gifts:17850")
    assert (figures.orders_count, figures.paid_fen, figures.refunded_fen) == (2, 4684 + 1356, 1356 + 339)
    assert figures.last_paid_at == datetime(2010, 12, 2, 9, tzinfo=UTC)
    assert figures.last_active_at == figures.last_paid_at
    facts = Activity.objects.filter(member_id=figures.pk).order_by("at").values_list("kind", flat=True)
    assert sorted(facts) == ["joined", "paid", "paid", "refunded", "refunded"]
    assert EventDelivery.objects.count() == 0
    assert StockMovement.objects.count() == 0
    assert run_audit()[1] == []


def test_a_second_run_changes_nothing_and_says_the_same(history: Path) -> None:
    first = bring_in(history)
    before = state()
    second = bring_in(history)
    assert state() == before
    assert second["imported"] == 0
    assert second["skipped"] == first["imported"]
    for name in ("rows", "refused", "members", "products", "orders"):
        assert second[name] == first[name], name
    remember_erased_numbers(values=[f"{ImportRun.objects.latest('pk').source}:13047"])
    bring_in(history)
    lines = ImportLine.objects.filter(run=ImportRun.objects.latest("pk"))
    assert set(lines.values_list("customer", flat=True)) == {"17850", ""}, "who was erased is not noted again"


def test_a_longer_export_of_the_same_shop_brings_only_what_is_new(history: Path, tmp_path: Path) -> None:
    bring_in(history, "--source", "gifts")
    longer = tmp_path / "gifts-january.csv"
    more = (
        "536500,71053,WHITE METAL LANTERN,1,2011-01-02 09:00:00,3.39,17850,UK\n"
        "536365,71053,WHITE METAL LANTERN,7,2010-12-01 08:26:00,3.39,17850,UK\n"
    )
    longer.write_text(f"{HEADER}\n{LINES}{more}")
    result = bring_in(longer, "--source", "gifts")
    assert (result["imported"], result["skipped"]) == (1, 9)
    assert verdicts()[25] == "order_differs"
    assert run_audit()[1] == []


def test_two_shops_with_the_same_numbers_do_not_meet(history: Path) -> None:
    bring_in(history, "--source", "one")
    bring_in(history, "--source", "two")
    assert Order.objects.count() == 8
    assert Member.objects.count() == 4


def test_the_report_names_every_line_and_why(history: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.csv"
    bring_in(history, "--report", str(target))
    rows = list(csv.reader(target.read_text(encoding="utf-8-sig").splitlines()))
    assert len(rows) == 24
    assert rows[0][:3] == ["行号", "结果", "原因代码"]
    assert rows[9][2] == "cancels_nothing"
    assert rows[9][3]
    assert ImportRun.objects.get().report.size == target.stat().st_size


def test_cells_of_the_report_cannot_run_as_formulas(tmp_path: Path) -> None:
    path = tmp_path / "evil.csv"
    path.write_text(f'{HEADER}\n1,A1,=HYPERLINK("x"),0,2020-01-01,1,,\n')
    target = tmp_path / "report.csv"
    bring_in(path, "--report", str(target))
    assert "'=HYPERLINK" in target.read_text(encoding="utf-8-sig")


def test_a_chinese_file_in_gb18030_is_understood_by_its_headers(tmp_path: Path) -> None:
    path = tmp_path / "laodian.csv"
    text = (
        "订单号;商品编码;商品名称;数量;下单时间;单价;会员号\nA1;X9;桂花香水;2;2024/05/01 10:30;¥1,299.00;V8\n"
    )
    path.write_bytes(text.encode("gb18030"))
    result = bring_in(path)
    assert (result["imported"], result["members"]) == (1, 1)
    order = Order.objects.get()
    assert (order.total_fen, order.currency) == (259_800, "CNY")
    assert order.placed_at == datetime(2024, 5, 1, 2, 30, tzinfo=UTC)
    assert OrderLine.objects.get().product_name == "桂花香水"


def test_a_workbook_with_its_own_columns_comes_in_by_a_mapping(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    sheet.append(["Beleg", "Artikel", "Menge", "Datum", "Preis", "Kunde"])
    sheet.append([1001.0, "X9", 2.0, datetime(2024, 5, 1, 10, 30), 12.5, 77.0])
    sheet.append([1002, "X9", None, datetime(2024, 5, 1, 10, 30), 12.5, 77])
    path = tmp_path / "shop.xlsx"
    book.save(path)
    with pytest.raises(CommandError, match="订单号"):
        bring_in(path)
    chosen = tmp_path / "mapping.json"
    columns = {
        "order_number": "Beleg",
        "code": "Artikel",
        "quantity": "Menge",
        "placed_at": "Datum",
        "price": "Preis",
        "customer": "Kunde",
    }
    chosen.write_text(json.dumps({"columns": columns, "currency": "EUR", "time_zone": "Europe/Berlin"}))
    result = bring_in(path, "--mapping", str(chosen))
    assert (result["imported"], result["refused"]) == (1, 1)
    order = Order.objects.get()
    assert (order.external_id, order.total_fen, order.currency) == ("1001", 2_500, "EUR")
    # A comma that is no thousand is not passed over: 2,55 are not 255.
    assert [rules.smallest_unit(text) for text in ("2,55", "€1,299.50", "-1,000")] == [
        None,
        129_950,
        -100_000,
    ]
    assert [rules.whole_number(text) for text in ("1,5", "1,200", "6.0")] == [None, 1_200, 6]
    assert Identity.objects.get(kind="import").value == "shop:77"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "空"), (b"\x00\x01\x02", "CSV"), (b"a,b\n1,2\n", "订单号"), (b"\xff\xfe\xff\n", "编码")],
)
def test_a_file_that_cannot_be_read_is_refused_whole(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=words):
        bring_in(path)
    assert ImportRun.objects.count() == 0


def test_a_run_that_broke_goes_on_where_it_stopped(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STAGE_LINES", 4)
    monkeypatch.setattr(runner, "CHUNK_ORDERS", 1)
    report, calls = jobs.Progress.report, [0]

    def power_cut(self: jobs.Progress, **moves: Any) -> None:
        report(self, **moves)
        calls[0] += 1
        if calls[0] in (3, 11):
            raise MemoryError("the plug")

    monkeypatch.setattr(jobs.Progress, "report", power_cut)
    for _ in range(2):
        with pytest.raises(CommandError, match="plug"):
            bring_in(history)
    result = bring_in(history)
    assert (result["rows"], result["imported"], result["refused"]) == (23, 9, 14)
    assert ImportRun.objects.count() == 1
    assert Job.objects.get().status == "done"
    assert run_audit()[1] == []


def test_a_line_is_judged_alone() -> None:
    assert rules.smallest_unit("3.39") == 339
    assert rules.smallest_unit("3.3") == 330
    assert rules.smallest_unit("1,299.00") == 129_900
    assert rules.smallest_unit("-0.5") == -50
    assert [rules.smallest_unit(text) for text in ("", "3.391", "x", "1e5", ".", "--3", "３")] == [None] * 7
    assert [rules.whole_number(text) for text in ("6", "-6", "6.0", "1,200", "6.5", "")] == [
        6,
        -6,
        6,
        1200,
        None,
        None,
    ]


def test_the_known_columns_are_found_by_name() -> None:
    found = mapping.detect(HEADER.split(","))
    assert (found.currency, found.cancellation_prefix) == ("GBP", "C")
    assert mapping.detect(["Order ID", "SKU", "Qty", "Order Date", "Price"]).columns == {
        "order_number": "Order ID",
        "code": "SKU",
        "quantity": "Qty",
        "placed_at": "Order Date",
        "price": "Price",
    }


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample does not lie beside this checkout")
def test_the_sample_comes_in_and_adds_up(tmp_path: Path) -> None:
    lines, members = (40_000, 3_621) if WHOLE else (8_000, 1_311)
    file = tmp_path / "sample.csv"
    with SAMPLE.open() as sample:
        file.write_text("".join(itertools.islice(sample, lines + 1)))
    result = bring_in(file, "--source", "uci")
    assert result["rows"] == lines == result["imported"] + result["skipped"] + result["refused"]
    assert result["members"] == Member.objects.count() == members
    assert result["orders"] == Order.objects.count()
    assert result["products"] == Product.objects.count()
    with file.open() as lines_in:
        rows = list(csv.DictReader(lines_in))
    pence = sum(
        round(float(row["UnitPrice"]) * 100) * int(row["Quantity"])
        for row, verdict in zip(rows, [reason for _number, reason in sorted(verdicts().items())], strict=True)
        if verdict == "imported"
    )
    paid = Order.objects.aggregate(paid=Sum("paid_fen"), back=Sum("refunded_fen"))
    assert paid["paid"] - paid["back"] == pence
    lifecycle_equals_a_count_by_hand(rows)
    assert run_audit()[1] == []


def lifecycle_equals_a_count_by_hand(rows: list[dict[str, str]]) -> None:
    """RFM and stages of the sample, recomputed from the file alone, row for row (docs/sample_by_hand.md)."""
    today = max(Order.objects.values_list("placed_at", flat=True)).date() + timedelta(days=2)
    with clock.travel(clock.day_start(today) + timedelta(hours=10)):
        fit = crm_services.refresh_lives().fit
    customers = dict(Identity.objects.filter(kind="import").values_list("member_id", "value"))
    kept = {customers[life.pk].removeprefix("uci:"): life for life in MemberLife.objects.all()}
    buyers = sample_by_hand.buyers_of(rows, today)
    assert {
        customer: sample_by_hand.Buyer(
            life.frequency, life.first_day, life.last_day, life.spent_fen, life.repeat_fen
        )
        for customer, life in kept.items()
    } == buyers
    assert {customer: life.rfm for customer, life in kept.items()} == sample_by_hand.rfm_of(buyers, today)
    rhythm = sample_by_hand.Rhythm(fit.r, fit.alpha, fit.a, fit.b)
    assert {
        customer: sample_by_hand.Life(life.chance_bps, life.vigour_bps, life.orders_milli, life.stage)
        for customer, life in kept.items()
    } == sample_by_hand.lives_of(buyers, today, rhythm)
