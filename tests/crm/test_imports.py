"""Members of another system come in by a file: nobody twice, nothing invented, every row accounted for."""

import io
import json
import re
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from core import jobs
from core.audits import run_audit
from core.models import EventDelivery, Job
from crm import imports_writing, queries, services
from crm.models import (
    Activity,
    Consent,
    ErasedNumber,
    Identity,
    Member,
    MemberField,
    MemberImport,
    MemberImportLine,
    MemberStats,
    MemberTag,
    Tag,
    TagGroup,
)
from crm.services import imports

pytestmark = pytest.mark.django_db

HEADER = "会员号,姓名,手机号,生日,注册时间,标签,营销同意,口味"
LINES = """\
A1,陈晓,+86 138 0000 0001,1990-05-01,2021-03-04 10:00:00,老客、香水,是,木质
A2.0,林🌲,,,2020/1/2 08:30,香水,否,
A3,"O'Neil, \\tab",13800000001,,,,,
A1,又一个,,,,,,
13800000004,坏电话,12,,,,,
A5,坏生日,,2990-01-01,,,,
A6,未来,,,2090-01-01,,,
A7,坏同意,,,,,也许,
A8,长标签,,,,一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一,,
,无号,,,,,,
A9
A10,字段,,,,,,x%s
A11,"two
lines",,,,,,
""" % ("x" * 200)


@pytest.fixture(autouse=True)
def private_files(settings: Any, tmp_path: Path) -> None:
    settings.PRIVATE_ROOT = tmp_path / "private"


@pytest.fixture
def till(tmp_path: Path) -> Path:
    """A file of a till; the house has a field of its own and one of the tags."""
    MemberField.objects.create(name="口味")
    Tag.objects.create(group=TagGroup.objects.create(name="偏好"), name="香水")
    path = tmp_path / "till.csv"
    path.write_text(f"{HEADER}\n{LINES}", encoding="utf-8")
    return path


def bring_in(path: Path, *arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("import_members", str(path), "--consent-text", "2021 版会员章程", *arguments, stdout=out)
    return dict(json.loads(out.getvalue().splitlines()[-1]))


def reasons(run: MemberImport | None = None) -> dict[int, str]:
    lines = MemberImportLine.objects.filter(run=run or MemberImport.objects.latest("pk"))
    return {line.number: line.reason for line in lines}


def test_every_row_has_its_verdict_and_its_members_are_as_they_were(till: Path, tmp_path: Path) -> None:
    result = bring_in(till, "--report", str(tmp_path / "report.csv"))
    assert list(result) == ["rows", "imported", "skipped", "refused", "members", "seconds"]
    assert [result[name] for name in ("rows", "imported", "skipped", "refused", "members")] == [
        13,
        4,
        1,
        8,
        4,
    ]
    assert reasons() == {
        4: "stands_twice",
        5: "bad_phone",
        6: "bad_birthday",
        7: "bad_joined",
        8: "bad_consent",
        9: "bad_tags",
        10: "no_number",
        11: "bad_row",
        12: "bad_field",
    }
    report = (tmp_path / "report.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(report) == 10
    assert "手机" in report[2]
    people = {
        one.value: one.member for one in Identity.objects.filter(kind="import").select_related("member")
    }
    assert set(people) == {"till:A1", "till:A2", "till:A3", "till:A11"}
    chen, lin = people["till:A1"], people["till:A2"]
    assert (chen.name, chen.birthday, chen.joined_via) == ("陈晓", date(1990, 5, 1), Member.IMPORT)
    assert chen.created_at.isoformat() == "2021-03-04T02:00:00+00:00"
    assert (lin.name, people["till:A3"].name, people["till:A11"].name) == (
        "林🌲",
        "O'Neil, \\tab",
        "two\nlines",
    )
    # A phone from a file proves nothing: it may stand with two, and merges nobody.
    phones = Identity.objects.filter(kind="phone")
    assert {(one.value, one.is_verified) for one in phones} == {("13800000001", False)}
    assert phones.count() == 2
    assert {(one.kind, one.source, one.confidence_bps) for one in Identity.objects.all()} == {
        ("import", "file", 8_000),
        ("phone", "file", 3_000),
    }
    assert {(tag.tag.name, tag.origin) for tag in chen.member_tags.all()} == {
        ("老客", "import:till"),
        ("香水", "import:till"),
    }
    assert Tag.objects.count() == 2
    assert chen.field_values.get().text == "木质"
    assert {(one.member_id, one.is_given, one.text_version, one.proof) for one in Consent.objects.all()} == {
        (chen.pk, True, "2021 版会员章程", "till.csv:1"),
        (lin.pk, False, "2021 版会员章程", "till.csv:2"),
    }
    assert [s.marketing_consent for s in MemberStats.objects.order_by("pk")] == [True, False, None, None]
    assert set(Activity.objects.values_list("kind", "subject")) == {("joined", "import")}
    assert EventDelivery.objects.count() == 0
    assert run_audit()[1] == []
    MemberImportLine.objects.filter(number=4).delete()
    assert [finding.check for finding in run_audit()[1]] == ["crm.member_imports"]
    # They are in segments as anybody, before and after folding.
    rules = {"field": "tags", "op": "any", "value": [Tag.objects.get(name="香水").pk]}
    assert set(queries.segment_member_ids(rules)) == {chen.pk, lin.pk}
    services.fold_bitmaps()
    assert set(queries.segment_member_ids(rules)) == {chen.pk, lin.pk}


def test_the_same_file_again_and_a_corrected_one_double_nobody(till: Path) -> None:
    bring_in(till)
    Member.objects.filter(name="陈晓").update(name="陈晓晓")
    again = bring_in(till)
    assert [again[name] for name in ("rows", "imported", "skipped", "refused", "members")] == [13, 0, 5, 8, 4]
    assert sorted(reasons().values())[:4] == ["already_there"] * 4
    till.write_text(till.read_text(encoding="utf-8").replace(",12,", ",13900000002,"), encoding="gb18030")
    corrected = bring_in(till)
    assert (corrected["imported"], corrected["members"]) == (1, 5)
    assert bring_in(till, "--source", "other")["imported"] == 5
    assert Member.objects.filter(name="陈晓晓").count() == 1
    assert Activity.objects.count() == Member.objects.count() == MemberStats.objects.count() == 10


def test_who_asked_to_be_forgotten_does_not_come_in_again(till: Path, tmp_path: Path) -> None:
    bring_in(till)
    she = Identity.objects.get(value="till:A1").member
    request = services.ask_to_erase(member_id=she.pk)
    services.erase_member(request_id=request.pk)
    stored = ErasedNumber.objects.get()
    assert stored.source == "till"
    assert "A1" not in stored.digest
    again = bring_in(till, "--report", str(tmp_path / "report.csv"))
    assert [again[name] for name in ("rows", "imported", "skipped", "refused", "members")] == [13, 0, 4, 9, 3]
    line = MemberImportLine.objects.get(run=MemberImport.objects.latest("pk"), reason="was_erased")
    assert (line.number, line.external_id) == (1, ""), "nor does the log know her number"
    assert "不再导入" in (tmp_path / "report.csv").read_text(encoding="utf-8-sig")
    # Her old orders stay nameless; a purchase at the till is her own doing; another system knows nobody of this name.
    assert set(
        services.members_for_import(source="till", rows=[{"external_id": "A1"}, {"external_id": "A2"}])
    ) == {"A2"}
    assert bring_in(till, "--source", "other")["imported"] == 4
    assert services.member_for_import(source="till", external_id="A1").pk != she.pk
    assert not ErasedNumber.objects.exists()
    assert bring_in(till)["refused"] == 8


def test_a_worker_that_died_is_gone_on_with(till: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "FIRST_ROWS", 2)
    monkeypatch.setattr(imports, "CHUNK_ROWS", 2)
    write, died = imports_writing.write, []

    def die(run: MemberImport, lane: int, lines: Any, *rest: Any) -> imports_writing.Written:
        if lines and lines[0][0] == 3 and not died:
            died.append(lane)
            raise RuntimeError("the power is gone")
        return write(run, lane, lines, *rest)

    monkeypatch.setattr(imports_writing, "write", die)
    with pytest.raises(CommandError, match="power"):
        bring_in(till)
    assert Member.objects.count() == 2
    result = bring_in(till)
    assert MemberImport.objects.count() == 1
    assert [result[name] for name in ("rows", "imported", "skipped", "refused", "members")] == [
        13,
        4,
        1,
        8,
        4,
    ]
    assert reasons()[4] == "stands_twice"
    assert MemberTag.objects.count() == 3
    jobs.run(job_id=Job.objects.get().pk)  # over: nothing happens
    Job.objects.update(status=Job.QUEUED)
    jobs.run(job_id=Job.objects.get().pk)  # died between the end and saying so
    assert Job.objects.get().result["imported"] == 4


@pytest.mark.parametrize(
    ("header", "arguments"),
    [("姓名", ()), ("会员号,营销同意", ("--consent-text", "")), ("会员号", ("--source", "Not A Name"))],
)
def test_a_file_that_says_too_little_is_refused(
    tmp_path: Path, header: str, arguments: tuple[str, ...]
) -> None:
    path = tmp_path / "file.csv"
    path.write_text(f"{header}\n1,是\n", encoding="utf-8")
    with pytest.raises(CommandError):
        bring_in(path, *arguments)
    assert (Member.objects.count(), MemberImport.objects.count()) == (0, 0)


def test_a_column_of_something_else_makes_no_thousand_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MOST_NEW_TAGS", 3)
    path = tmp_path / "odd.csv"
    path.write_text("phone,tags\n" + "".join(f"1380000000{n},{n}\n" for n in range(5)), encoding="utf-8")
    assert bring_in(path)["imported"] == 3
    assert (Tag.objects.count(), set(reasons().values())) == (3, {"too_many_tags"})
    assert Identity.objects.filter(kind="import").first() is not None  # the phone served as the number


def test_an_operator_brings_a_file_in(
    client: Client, admin_user: User, till: Path, django_assert_max_num_queries: Any
) -> None:
    client.force_login(admin_user)
    file = SimpleUploadedFile("till.csv", till.read_bytes(), content_type="text/csv")
    answer = client.post(reverse("admin:crm_memberimport_add"), {"file": file, "source": "till"}, follow=True)
    assert "请说明" in answer.content.decode()  # the consents need their text
    run = MemberImport.objects.get()
    address = reverse("admin:crm_memberimport_columns", args=[run.pk])
    form = answer.context["form"]
    given = {name: str(form.initial.get(name) or "") for name in form.fields}
    given["consent_text"] = "2021 版"
    looked = client.post(address, {**given, "look": "1"}).content.decode()
    assert "陈晓" in looked
    assert "手机号不是有效" in looked
    assert "138****0001" in looked
    assert not re.search(r"1380000000[14]|0000 0001", looked), (
        "who brings files in may not be who sees phones"
    )
    assert Tag.objects.count() == 1  # nothing is written before the start
    for _click in range(2):
        client.post(address, {**given, "start": "1"})
    jobs.run(job_id=Job.objects.get().pk)
    with django_assert_max_num_queries(8):
        done = client.get(reverse("admin:crm_memberimport_progress", args=[run.pk])).content.decode()
    assert "前面已有相同会员号" in done
    report = b"".join(client.get(reverse("admin:crm_memberimport_report", args=[run.pk])).streaming_content)
    assert report.startswith(b"\xef\xbb\xbf")
    assert (b"138****0004" in report, b"13800000004" in report) == (True, False)
    with django_assert_max_num_queries(10):
        assert "till.csv" in client.get(reverse("admin:crm_memberimport_changelist")).content.decode()
    other = Client()
    other.force_login(User.objects.create_user("xiaoli", is_staff=True))
    assert other.get(reverse("admin:crm_memberimport_report", args=[run.pk])).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_failed_leaves_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next rows are at hand already when it fails: they wait for those that are missing."""
    monkeypatch.setattr(imports, "FIRST_ROWS", 5)
    monkeypatch.setattr(imports, "CHUNK_ROWS", 5)
    path = tmp_path / "till.csv"
    path.write_text("会员号\n" + "".join(f"K{n}\n" for n in range(60)), encoding="utf-8")
    write, calls = imports_writing.write, [0, 0]

    def fail_once(run: MemberImport, lane: int, *rest: Any) -> imports_writing.Written:
        calls[lane] += 1
        if (lane, calls[lane]) == (1, 3):
            raise RuntimeError("the line is cut")
        return write(run, lane, *rest)

    monkeypatch.setattr(imports_writing, "write", fail_once)
    with pytest.raises(CommandError, match="cut"):
        bring_in(path)
    assert bring_in(path)["imported"] == Member.objects.count() == 60


@pytest.mark.django_db(transaction=True)
def test_the_same_file_at_once_doubles_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "FIRST_ROWS", 5)
    monkeypatch.setattr(imports, "CHUNK_ROWS", 10)
    path = tmp_path / "till.csv"
    path.write_text("会员号,标签\n" + "".join(f"K{n},老客\n" for n in range(60)), encoding="utf-8")
    told: list[dict[str, Any]] = []
    together = threading.Barrier(2)

    def bring(source_file: Path) -> None:
        try:
            run = services.new_member_import(path=source_file, source="till")
            together.wait(60)
            told.append(services.import_members_here(run=run, path=source_file)[1])
        finally:
            connection.close()

    other = tmp_path / "again.csv"  # under another name: the same name would be gone on with
    other.write_bytes(path.read_bytes())
    threads = [threading.Thread(target=bring, args=(file,)) for file in (path, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sum(result["imported"] for result in told) == Member.objects.count() == 60
    assert [result["members"] for result in told] == [60, 60]
    assert MemberTag.objects.count() == 60, "each chunk knows the tags of those before it"
    assert run_audit()[1] == []
