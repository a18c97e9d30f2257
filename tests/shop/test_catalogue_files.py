"""Catalogue by file: the difference is shown before anything is written; the SKU table in the admin."""

import contextlib
import csv
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from openpyxl import Workbook, load_workbook

from core import jobs
from core.audits import run_audit
from core.errors import UnreadableFile
from crm.models import Store
from shop import catalogue_files, services
from shop.errors import BadMatrix
from shop.models import (
    Attribute,
    Brand,
    CatalogueFile,
    Category,
    CostPrice,
    MemberPrice,
    Product,
    Sku,
    Stock,
    StockMovement,
)
from shop.services import catalogue_files as catalogue_files_service
from tests.shop import builders, goods
from tests.shop.stores import HUBIN, lay, level, store

pytestmark = pytest.mark.django_db

HEADER = "SKU编码,商品名称,商品编码,分类,品牌,售价,划线价,库存,规格,状态,可售"


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.PRIVATE_ROOT = tmp_path


def bring(*lines, header=HEADER, name="goods.csv"):
    text = "\n".join([header, *lines])
    file = services.bring_catalogue_file(upload=SimpleUploadedFile(name, text.encode("gb18030")))
    jobs.run(job_id=file.job_id)
    file.refresh_from_db()
    return file


def apply(file):
    services.apply_catalogue_file(file_id=file.pk)
    file.refresh_from_db()
    jobs.run(job_id=file.job_id)
    file.refresh_from_db()
    return file


def counts(file):
    return (file.fresh, file.changed, file.same, file.refused)


def test_the_difference_is_shown_before_it_is_written_and_then_written_once():
    shelf = Category.objects.create(name="连衣裙", parent=Category.objects.create(name="女装"))
    brand = Brand.objects.create(name="池塘")
    sku = builders.sku(price_fen=9_900, stock=10)
    lines = [
        f"{sku.code},,,连衣裙,池塘,129.00,,25,,,",
        "NEW-1,新裙子,ST-9,女装/连衣裙,,88,99.5,3,颜色：雾蓝，尺码：M,在售,是",
        "NEW-2,,ST-9,,,89,,,颜色：雾蓝，尺码：L,,",
        f"{sku.code},,,,,1,,,,,",
        "BAD-1,裙,,,,-3,,,,,",
        "BAD-2,裙,,没有的分类,,3,,,,,",
        "BAD-3,裙,,,没有的品牌,3,,,,,",
        "BAD-4,,,,,3,,,,,",
        ",裙,,,,3,,,,,",
        "BAD-5😀,裙,,,,99999999999999,,,,,",
    ]
    file = bring(*lines)
    assert (file.status, counts(file), file.rows) == ("looked", (2, 1, 0, 7), 10)
    texts = {line: text for line, _code, _kind, text in file.preview}
    assert "99.00 → 129.00" in texts[2]
    assert "10 → 25" in texts[2]
    sku.refresh_from_db()
    assert (sku.price_fen, Sku.objects.count()) == (9_900, 1)  # nothing was written

    apply(file)
    assert (file.status, counts(file)) == ("applied", (2, 1, 0, 7))
    sku.refresh_from_db()
    assert (sku.price_fen, builders.stock_of(sku)) == (12_900, (25, 0))
    assert (sku.product.category, sku.product.brand) == (shelf, brand)
    made = Product.objects.get(code="ST-9")
    assert (made.status, made.skus.count(), made.min_price_fen, made.max_price_fen) == (
        "on_sale",
        2,
        8_800,
        8_900,
    )
    assert made.skus.get(code="NEW-1").spec == {"颜色": "雾蓝", "尺码": "M"}

    moves = StockMovement.objects.count()
    again = apply(bring(*lines))
    assert counts(again) == (0, 0, 3, 7)
    services.apply_catalogue_file(file_id=file.pk)
    jobs.retry(job_id=file.job_id)
    assert StockMovement.objects.count() == moves


def test_stock_that_orders_hold_is_not_taken_away():
    sku = builders.sku(stock=5)
    builders.order(builders.member(), (sku, 3))
    file = apply(bring(f"{sku.code},2", header="sku_code,stock"))
    assert counts(file) == (0, 0, 0, 1)
    assert builders.stock_of(sku) == (5, 3)
    assert file.preview[0][2] == "refused"


def test_what_is_not_as_it_was_shown_is_not_written():
    sku, other = builders.sku(price_fen=9_900), builders.sku(price_fen=5_000)
    file = bring(f"{sku.code},129", f"{other.code},60", header="sku_code,price")
    Sku.objects.filter(pk=sku.pk).update(price_fen=15_000)  # a colleague was faster
    apply(file)
    sku.refresh_from_db(), other.refresh_from_db()
    assert (sku.price_fen, other.price_fen) == (15_000, 6_000)
    assert (counts(file), file.preview[0][2]) == ((0, 1, 0, 1), "refused")


def test_an_untouched_cell_of_an_old_export_does_not_turn_the_stock_back():
    sku, other, third = builders.sku(stock=10), builders.sku(stock=10), builders.sku(stock=10)
    lines = [f"{sku.code},79,10,10", f"{other.code},79,25,10", f"{third.code},79,25,10"]
    services.adjust_stock(sku_id=sku.pk, change=-3, cause="shipped")
    services.adjust_stock(sku_id=third.pk, change=-3, cause="shipped")
    for expected in ((0, 2, 0, 1), (0, 0, 2, 1)):
        file = apply(bring(*lines, header="sku_code,price,stock,stock_at_export"))
        assert counts(file) == expected
        assert [builders.stock_of(one)[0] for one in (sku, other, third)] == [7, 25, 7]
    assert "7" in file.preview[0][3]


def test_lines_of_one_product_agree_and_the_last_sku_takes_it_off_the_shelf():
    sku = builders.sku(product_name="旧名")
    other = builders.sku(product=sku.product)
    Product.objects.filter(pk=sku.product_id).update(code="ST-1")
    header = "SKU编码,商品编码,商品名称,售价,可售,状态"
    file = apply(
        bring(
            f"{sku.code},,新名,,否,",
            f"{other.code},,别名,,,",
            "NEW-1,ST-1,再改名,5,,",
            f"{other.code.lower()}-x,,新名,5,否,在售",
            header=header,
        )
    )
    assert counts(file) == (0, 1, 0, 3)
    sku.product.refresh_from_db()
    assert (sku.product.name, sku.product.status) == ("新名", "on_sale")
    apply(bring(f"{other.code},,,,否,", header=header))
    sku.product.refresh_from_db()
    assert sku.product.status == "off"
    assert run_audit()[1] == []


def test_what_an_earlier_batch_wrote_of_a_product_is_as_it_was_shown(monkeypatch):
    first = builders.sku(price_fen=9_900, product_name="旧名", stock=5)
    second = builders.sku(price_fen=9_900, product=first.product, stock=5)
    monkeypatch.setattr("shop.services.catalogue_files.BATCH", 1)
    lines = [f"{sku.code},新名,下架,79,8" for sku in (first, second)]
    file = bring(*lines, header="SKU编码,商品名称,状态,售价,库存")
    with CaptureQueriesContext(connection) as asked:
        apply(file)
    assert counts(file) == (0, 2, 0, 0)
    assert set(Sku.objects.values_list("price_fen", "product__name", "product__status")) == {
        (7_900, "新名", "off")
    }
    # What is compared stays so until it is written: the pieces are held before they are looked at.
    held = next(place for place, one in enumerate(asked) if "FOR UPDATE OF k" in one["sql"])
    assert held < next(place for place, one in enumerate(asked) if "AS on_hand_was" in one["sql"])


def test_stores_tiers_and_costs_come_by_the_same_file_and_go_out_in_it(admin_client):
    lake, dress, other = store(HUBIN), builders.sku(price_fen=9_900, stock=0), builders.sku(stock=0)
    voucher = goods.service()
    lay(other, lake, 5)
    builders.order(builders.member(), (other, 3))
    MemberPrice.objects.create(sku=other, tier="金卡", price_fen=100)
    header = "sku_code,成本价,会员价＠金卡,库存@hubin,导出时库存@hubin,库存"
    lines = [
        f"{dress.code},30,80.5,7,,2",
        f"{other.code},40,无,2,,9",  # three are reserved: nothing of this row is written
        f"{voucher.code},50,,,,4",
        "NEW-1,60,,3,,",
    ]
    with pytest.raises(UnreadableFile, match="nowhere"):
        bring(*lines, header=header.replace("导出时库存@hubin", "库存@nowhere"))
    file = bring(*lines, header=header)
    Store.objects.filter(pk=lake.pk).update(
        is_active=False
    )  # closed meanwhile: what lies there can be counted
    apply(file)
    Store.objects.filter(pk=lake.pk).update(is_active=True)
    assert counts(file) == (0, 1, 0, 3)
    assert (level(dress, lake), level(dress, services.warehouse_id())) == ((7, 0), (2, 0))
    assert dict(CostPrice.objects.values_list("sku__code", "cost_fen")) == {dress.code: 3_000}
    assert set(MemberPrice.objects.values_list("sku", "price_fen")) == {(dress.pk, 8_050), (other.pk, 100)}
    assert level(other, lake) == (5, 3)
    assert not Stock.objects.filter(sku=voucher).exists()
    out = b"".join(admin_client.get(reverse("admin:shop_cataloguefile_export_csv")).streaming_content)
    rows = list(csv.reader(io.StringIO(out.decode("utf-8-sig"))))
    told = dict(zip(rows[0], rows[1], strict=True))
    assert (told["成本价"], told["会员价@金卡"], told["库存@hubin"]) == ("30.00", "80.50", "7")
    rows[1][rows[0].index("会员价@金卡")] = "无"
    rows[1][rows[0].index("成本价")] = "31"
    services.adjust_stock(sku_id=dress.pk, store_id=lake.pk, change=-1, cause="shipped")
    again = apply(bring(*(",".join(row) for row in rows[1:]), header=",".join(rows[0])))
    assert counts(again)[1] == 1
    assert level(dress, lake) == (6, 0)  # an untouched cell does not turn it back
    assert not MemberPrice.objects.filter(sku=dress).exists()
    assert CostPrice.objects.get().cost_fen == 3_100
    Product.objects.filter(pk=voucher.product_id).update(code="V-1")
    file = bring("V-1-NEW,V-1,12,5", header="sku_code,product_code,price,stock")
    assert counts(file) == (0, 0, 0, 1)  # refused before anybody agrees to it


def test_a_job_that_died_goes_on_where_it_was(monkeypatch):
    skus = [builders.sku(stock=1) for _number in range(5)]
    lines = [f"{sku.code},{70 + place},{place + 3}" for place, sku in enumerate(skus)]
    file = bring(*lines, header="sku_code,price,stock")
    monkeypatch.setattr("shop.services.catalogue_files.BATCH", 2)
    write, batches = catalogue_files_service.write_rows, []

    def dies(verdicts, *rest, **more):
        write(verdicts, *rest, **more)
        batches.append(len(verdicts))
        if len(batches) == 2:
            raise RuntimeError("the worker is gone")

    monkeypatch.setattr(catalogue_files_service, "write_rows", dies)
    apply(file)
    assert (file.status, [builders.stock_of(sku)[0] for sku in skus]) == ("applying", [3, 4, 1, 1, 1])
    apply(file)
    assert (file.status, counts(file)) == ("applied", (0, 5, 0, 0))
    assert [builders.stock_of(sku)[0] for sku in skus] == [3, 4, 5, 6, 7]
    assert batches == [2, 2, 2, 1]
    report = file.report.read().decode("utf-8-sig").splitlines()
    assert [row.split(",")[0] for row in report[1:]] == ["2", "3", "4", "5", "6"]


def test_a_damaged_workbook_is_told():
    book = Workbook()
    for number in range(400):
        book.worksheets[0].append(
            ["sku_code", "price", "x"] if not number else [f"A-{number}", number, "x" * 50]
        )
    out = io.BytesIO()
    book.save(out)
    whole = bytearray(out.getvalue())
    place = whole.index(b"xl/worksheets/sheet1.xml") + 1_500
    whole[place : place + 400] = bytes(400)
    with contextlib.suppress(UnreadableFile):  # at the door or later: where the hole is decides
        file = services.bring_catalogue_file(upload=SimpleUploadedFile("a.xlsx", bytes(whole)))
        jobs.run(job_id=file.job_id)
        file.refresh_from_db()
        assert (file.status, bool(file.problem)) == ("failed", True)
    assert Sku.objects.count() == 0


def test_what_is_no_catalogue_is_refused_at_the_door(admin_client):
    for content in (b"", b"a,b\n1,2", b"\0\0\0"):
        with pytest.raises(UnreadableFile):
            services.bring_catalogue_file(upload=SimpleUploadedFile("x.csv", content))
    assert "@门店编码" in admin_client.get(reverse("admin:shop_cataloguefile_add")).content.decode()
    answer = admin_client.post(
        reverse("admin:shop_cataloguefile_add"), {"file": SimpleUploadedFile("x.csv", b"a,b\n1,2")}
    )
    assert answer.status_code == 200
    assert "SKU编码" in answer.content.decode()
    assert CatalogueFile.objects.count() == 0


def test_an_operator_exports_edits_and_brings_it_back(admin_client, django_assert_max_num_queries):
    sku = builders.sku(price_fen=9_900, spec={"颜色": "雾蓝"}, list_price_fen=12_900)
    Product.objects.update(subtitle="=1+1\x0b")
    exported = b"".join(
        admin_client.get(reverse("admin:shop_cataloguefile_export_csv")).streaming_content
    ).decode()
    assert exported.startswith("\ufeff商品编码,")
    assert "'=1+1," in exported
    answer = admin_client.get(reverse("admin:shop_cataloguefile_export_xlsx"))
    sheet = load_workbook(io.BytesIO(b"".join(answer.streaming_content))).worksheets[0]
    rows = [list(row) for row in sheet.iter_rows(values_only=True)]
    rows[1][rows[0].index("售价")] = 99 * 0.9  # as a formula leaves it: 89.10000000000001
    book = Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    admin_client.post(
        reverse("admin:shop_cataloguefile_add"), {"file": SimpleUploadedFile("goods.xlsx", out.getvalue())}
    )
    file = CatalogueFile.objects.get()
    jobs.run(job_id=file.job_id)
    address = reverse("admin:shop_cataloguefile_look", args=[file.pk])
    with django_assert_max_num_queries(12):
        page = admin_client.get(address).content.decode()
    assert "99.00 → 89.10" in page
    file.refresh_from_db()
    assert counts(file) == (0, 1, 0, 0)
    assert admin_client.post(address).status_code == 302
    file.refresh_from_db()
    jobs.run(job_id=file.job_id)
    sku.refresh_from_db()
    assert sku.price_fen == 8_910
    report = admin_client.get(reverse("admin:shop_cataloguefile_report", args=[file.pk]))
    assert "89.10" in b"".join(report.streaming_content).decode("utf-8-sig")


def test_headers_and_cells_are_read_as_people_write_them():
    places = catalogue_files.positions(["sku_code", "售价", "重量（克）", "说明"])
    assert places == {"sku_code": 0, "price_fen": 1, "weight_grams": 2}
    wish = catalogue_files.read(2, ["A-1", "￥1,299.5", "300", "x"], places)
    assert wish.values == {"price_fen": 129_950, "weight_grams": 300}
    assert catalogue_files.read(2, ["A-1"], places).values == {}
    for amount in ("12.345", "12,50", "1,2345", "1.5e2"):
        assert catalogue_files.read(2, ["A-1", amount], places).problem


def test_the_sku_table_makes_what_is_missing_and_saves_prices_together(admin_client):
    Attribute.objects.create(name="颜色")
    sku = builders.sku(spec={"颜色": "雾蓝", "尺码": "S"}, name="雾蓝 S")
    address = reverse("admin:shop_product_sku_table", args=[sku.product_id])
    filled = {
        "fill": "1",
        "name1": "颜色",
        "values1": "雾蓝，米白",
        "name2": "尺码",
        "values2": "S,M",
        "price": "129",
    }
    for _twice in range(2):
        assert admin_client.post(address, filled).status_code == 302
    skus = list(sku.product.skus.order_by("position"))
    assert [one.name for one in skus] == ["雾蓝 S", "雾蓝 M", "米白 S", "米白 M"]
    assert skus[3].price_fen == 12_900
    page = admin_client.get(address).content.decode()
    assert page.count('name="sku"') == 4
    form = {"sku": [one.pk for one in skus]}
    for one in skus:
        form |= {
            f"code{one.pk}": one.code,
            f"price{one.pk}": "99",
            f"list{one.pk}": "",
            f"active{one.pk}": "on",
        }
    del form[f"active{skus[1].pk}"]
    admin_client.post(address, form)
    assert set(sku.product.skus.values_list("price_fen", "is_active")) == {(9_900, True), (9_900, False)}
    sku.product.refresh_from_db()
    assert (sku.product.min_price_fen, sku.product.max_price_fen) == (9_900, 9_900)
    form[f"code{skus[0].pk}"] = skus[1].code
    assert "已被其他规格使用" in admin_client.post(address, form, follow=True).content.decode()
    skus[0].refresh_from_db()
    assert skus[0].code == sku.code


@pytest.mark.parametrize(
    "dimensions",
    [[], [("", ["M"])], [("尺码", [])], [("尺码", ["M"]), ("尺码", ["L"])], [("尺码", ["长" * 31])],
     [("a", [str(n) for n in range(30)]), ("b", [str(n) for n in range(30)])]],
)  # fmt: skip
def test_a_table_that_makes_no_sense_is_refused(dimensions):
    sku = builders.sku()
    with pytest.raises(BadMatrix):
        services.fill_matrix(product_id=sku.product_id, dimensions=dimensions, price_fen=100)
    foreign = builders.sku()
    row = services.MatrixRow(foreign.pk, "X", 1, None, True)
    with pytest.raises(BadMatrix):
        services.save_matrix(product_id=sku.product_id, rows=[row])
    assert Sku.objects.count() == 2
