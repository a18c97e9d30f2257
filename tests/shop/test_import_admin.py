"""An operator brings a file in: upload, columns, a look at the first lines, progress, report."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from core import jobs
from core.models import Job
from shop.models import ImportLine, ImportRun, Order
from tests.shop.test_import import HEADER, LINES

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def private_files(settings: Any, tmp_path: Path) -> None:
    settings.PRIVATE_ROOT = tmp_path / "private"


@pytest.fixture
def office(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


def upload(office: Client, content: bytes, name: str = "gifts.csv", source: str = "gifts") -> Any:
    file = SimpleUploadedFile(name, content, content_type="text/csv")
    return office.post(reverse("admin:shop_importrun_add"), {"file": file, "source": source}, follow=True)


def page(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


def form_of(answer: Any, **changes: str) -> dict[str, str]:
    form = answer.context["form"]
    return {name: str(form.initial.get(name) or "") for name in form.fields} | changes


def test_a_known_file_needs_two_clicks(office: Client, django_assert_max_num_queries) -> None:
    assert "CSV" in page(office.get(reverse("admin:shop_importrun_add")))
    answer = upload(office, f"{HEADER}\n{LINES}".encode())
    text = page(answer)
    assert "WHITE METAL LANTERN" in text
    assert "非商品编码" in text
    assert (ImportLine.objects.count(), Order.objects.count()) == (0, 0)
    run = ImportRun.objects.get()
    address = reverse("admin:shop_importrun_columns", args=[run.pk])
    progress = page(office.post(address, form_of(answer, start="1"), follow=True))
    assert "导入会继续进行" in progress
    assert Job.objects.get().kind == "import_orders"
    office.post(address, form_of(answer, start="1"))  # a double click
    jobs.run(job_id=Job.objects.get().pk)
    with django_assert_max_num_queries(8):
        done = page(office.get(reverse("admin:shop_importrun_progress", args=[run.pk])))
    assert "下载报告" in done
    assert "历史中找不到被取消的购买记录" in done
    run.refresh_from_db()
    assert (run.rows, run.imported, run.refused) == (23, 9, 14)
    assert run.created_by is not None
    report = b"".join(office.get(reverse("admin:shop_importrun_report", args=[run.pk])).streaming_content)
    assert report.startswith(b"\xef\xbb\xbf")
    assert len(report.decode().splitlines()) == 24
    with django_assert_max_num_queries(10):
        assert "gifts.csv" in page(office.get(reverse("admin:shop_importrun_changelist")))


def test_unknown_columns_are_chosen_and_looked_at_before_anything_is_written(office: Client) -> None:
    answer = upload(office, b"Beleg,Artikel,Menge,Datum,Preis\nA1,X9,2,2024-05-01 10:30,12.50\n")
    assert "以下字段没有对应的列" in page(answer)
    address = reverse("admin:shop_importrun_columns", args=[ImportRun.objects.get().pk])
    columns = {
        "order_number": "Beleg",
        "code": "Artikel",
        "quantity": "Menge",
        "placed_at": "Datum",
        "price": "Preis",
    }
    looked = page(office.post(address, form_of(answer, look="1", currency="EUR", **columns)))
    assert "12.50" in looked
    assert Job.objects.count() == 0
    wrong = page(office.post(address, form_of(answer, start="1", currency="EURO", **columns)))
    assert "币种" in wrong
    assert Job.objects.count() == 0
    office.post(address, form_of(answer, start="1", currency="EUR", **columns))
    jobs.run(job_id=Job.objects.get().pk)
    assert Order.objects.get().currency == "EUR"


@pytest.mark.parametrize(
    ("content", "source"), [(b"", "gifts"), (b"\x00\x01", "gifts"), (f"{HEADER}\n".encode(), "Not A Name")]
)
def test_what_cannot_be_brought_in_is_refused_at_the_upload(
    office: Client, content: bytes, source: str
) -> None:
    answer = upload(office, content, source=source)
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors
    assert ImportRun.objects.count() == 0


def test_the_file_has_no_public_address_and_the_report_needs_the_permission(
    office: Client, client: Client
) -> None:
    upload(office, f"{HEADER}\n{LINES}".encode())
    run = ImportRun.objects.get()
    with pytest.raises(ValueError, match="no address"):
        run.file.url  # noqa: B018
    other = Client()
    user = User.objects.create_user("xiaoli", is_staff=True)
    other.force_login(user)
    assert other.get(reverse("admin:shop_importrun_report", args=[run.pk])).status_code == 403
    assert other.get(reverse("admin:shop_importrun_columns", args=[run.pk])).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_importrun"))
    assert other.get(reverse("admin:shop_importrun_progress", args=[run.pk])).status_code == 200
    assert other.get(reverse("admin:shop_importrun_columns", args=[run.pk])).status_code == 403
