"""What became of the rows of a file of members, for people: a CSV of those that did not come in, and sums by reason."""

import tempfile
from typing import Any

from django.core.files.base import File
from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.secrets import hidden_phones
from core.sheets import csv_text
from crm import imports_rules, imports_writing
from crm.models import MemberImport, MemberImportLine

BATCH = 5_000
REASONS: dict[str, Any] = {
    imports_rules.BAD_ROW: gettext_lazy("The line has fewer columns than the header."),
    imports_rules.NO_NUMBER: gettext_lazy("It has no member number."),
    imports_rules.BAD_PHONE: gettext_lazy("The phone is not a phone number."),
    imports_rules.BAD_BIRTHDAY: gettext_lazy(
        "The birthday is not a day that somebody may have been born on."
    ),
    imports_rules.BAD_JOINED: gettext_lazy("The moment of joining cannot be read, or lies ahead."),
    imports_rules.BAD_TAGS: gettext_lazy("More than 20 tags, or one longer than 30 characters."),
    imports_rules.TOO_MANY_TAGS: gettext_lazy(
        "A tag that the house does not know, after this source has brought 100 new ones."
    ),
    imports_rules.BAD_CONSENT: gettext_lazy("Whether and when she agreed cannot be read (yes or no)."),
    imports_rules.BAD_FIELD: gettext_lazy("A member field does not take the value."),
    imports_writing.ALREADY_THERE: gettext_lazy("The member with this number is there already."),
    imports_writing.WAS_ERASED: gettext_lazy(
        "This person asked to be forgotten, so she does not come in again."
    ),
    imports_writing.STANDS_TWICE: gettext_lazy("An earlier line of this file has the same number."),
}


def as_file(run: MemberImport) -> "File[Any]":
    """Every row that did not become a member, with its reason; with a mark so that Excel reads it as UTF-8."""
    target = tempfile.TemporaryFile("w+b")  # noqa: SIM115  the caller closes it by dropping the File
    head = [_("Line"), _("Verdict"), _("Reason code"), _("Reason"), _("Member number")]
    target.write(b"\xef\xbb\xbf" + csv_text([head]).encode())
    verdicts = {verdict: str(label) for verdict, label in MemberImportLine.VERDICTS}
    labels = {code: str(label) for code, label in REASONS.items()}
    lines = MemberImportLine.objects.filter(run=run).order_by("number")
    batch: list[list[Any]] = []
    fields = ("number", "verdict", "reason", "external_id")
    for number, verdict, reason, external_id in lines.values_list(*fields).iterator(BATCH):
        batch.append([number, verdicts[verdict], reason, labels[reason], hidden_phones(external_id)])
        if len(batch) == BATCH:
            target.write(csv_text(batch).encode())
            batch = []
    target.write(csv_text(batch).encode())
    target.seek(0)
    return File(target)


def sums(run: MemberImport) -> list[tuple[str, str, int]]:
    """(verdict, reason in words, rows), the most frequent first."""
    counted = (
        MemberImportLine.objects.filter(run=run)
        .values_list("verdict", "reason")
        .annotate(count=Count("number"))
        .order_by("-count")
    )
    verdicts = {verdict: str(label) for verdict, label in MemberImportLine.VERDICTS}
    return [(verdicts[verdict], str(REASONS[reason]), count) for verdict, reason, count in counted]
