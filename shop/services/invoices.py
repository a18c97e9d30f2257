"""Invoices: shoppers ask, staff issues them in the tax system and enters number and PDF here."""

import re
from typing import IO

from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.validators import EmailValidator
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from core import clock
from core.locks import lock_row
from shop import invoices_rules as rules
from shop.errors import BadInvoice, NoSuchOrder, WrongState
from shop.models import Invoice, Order

MAX_PDF_BYTES = 5 * 1024 * 1024
_NUMBER = re.compile(r"[0-9A-Za-z-]{6,30}")


@transaction.atomic
def request_invoice(
    *, order_id: int, member_id: int, kind: str, title: str, tax_number: str = "", email: str = ""
) -> Invoice:
    """A shopper asks for the invoice of her paid order, over what she has paid and not got back.

    Locks: order. Idempotent: the request that waits gets the new values. Raises NoSuchOrder, WrongState, BadInvoice.
    """
    order = lock_row(Order.objects.filter(pk=order_id, member_id=member_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    amount = order.paid_fen - order.refunded_fen
    if order.status not in (Order.PAID, Order.SHIPPED, Order.RECEIVED) or amount <= 0:
        raise WrongState(
            _("An invoice can be asked for once the order is paid; this one is: %(status)s.")
            % {"status": order.status_label}
        )
    values = _checked(kind, title, tax_number, email)
    invoice = Invoice.objects.filter(order=order).exclude(status=Invoice.REFUSED).first()
    if invoice is not None and invoice.status == Invoice.ISSUED:
        raise WrongState(_("The invoice of this order is already issued."))
    if invoice is None:
        return Invoice.objects.create(
            order=order, amount_fen=amount, requested_at=clock.now(), status=Invoice.REQUESTED, **values
        )
    for name, value in values.items():
        setattr(invoice, name, value)
    invoice.amount_fen = amount
    invoice.save(update_fields=[*values, "amount_fen"])
    return invoice


def _checked(kind: str, title: str, tax_number: str, email: str) -> dict[str, str]:
    """The values cleaned. Raises BadInvoice naming every field that is wrong."""
    faults: dict[str, str] = {}
    title, email = " ".join(title.split()), email.strip()
    tax_number = rules.cleaned_tax_number(tax_number) if kind == Invoice.COMPANY else ""
    if kind not in dict(Invoice.KINDS):
        faults["kind"] = _("Please choose a person or a company.")
    if not 2 <= len(title) <= 100:
        faults["title"] = _("Please enter the name that the invoice is made out to.")
    if kind == Invoice.COMPANY and not rules.is_tax_number(tax_number):
        faults["tax_number"] = _(
            "This is not a tax number: compare its 18 characters with the business licence."
        )
    if email:
        try:
            EmailValidator()(email)
        except ValidationError:
            faults["email"] = _("This is not an e-mail address.")
        if len(email) > 120:
            faults["email"] = _("This is not an e-mail address.")
    if faults:
        raise BadInvoice(faults)
    return {"kind": kind, "title": title, "tax_number": tax_number, "email": email}


@transaction.atomic
def issue_invoice(
    *, invoice_id: int, number: str, by: str, user_id: int | None = None, file: IO[bytes] | None = None
) -> Invoice:
    """Enter the number (and PDF) of the invoice that was issued.

    Locks: the invoice, by conditional update. Idempotent on: number. Raises WrongState, BadInvoice.
    """
    number = number.strip()
    if not _NUMBER.fullmatch(number):
        raise BadInvoice({"number": _("An invoice number has 6 to 30 digits or letters.")})
    content = file.read(MAX_PDF_BYTES + 1) if file is not None else b""
    if content and (len(content) > MAX_PDF_BYTES or not content.startswith(b"%PDF-")):
        raise BadInvoice({"file": _("Please choose a PDF of at most 5 MB.")})
    answer = {"number": number, "actor": by, "user_id": user_id, "answered_at": clock.now()}
    try:
        with transaction.atomic():
            issued = Invoice.objects.filter(pk=invoice_id, status=Invoice.REQUESTED).update(
                status=Invoice.ISSUED, **answer
            )
    except IntegrityError:
        raise BadInvoice({"number": _("This number belongs to another invoice.")}) from None
    invoice = Invoice.objects.filter(pk=invoice_id).first()
    if invoice is None or (not issued and invoice.number != number):
        raise WrongState(_("This request is already answered."))
    if content and not invoice.file:
        invoice.file.save(f"{number}.pdf", ContentFile(content), save=False)
        invoice.save(update_fields=["file"])
    return invoice


def follow_order_money(order: Order) -> None:
    """Money of an order went back: the invoice that waits is over what is left of it, and over nothing there is none.

    Call under the order's lock. What is issued stays: staff finds it in the list as one that needs a red invoice.
    """
    waiting = Invoice.objects.filter(order=order, status=Invoice.REQUESTED)
    left = order.paid_fen - order.refunded_fen
    if left > 0:
        waiting.update(amount_fen=left)
    else:
        waiting.update(
            status=Invoice.REFUSED,
            answer=_("The money of this order went back."),
            actor="system",
            answered_at=clock.now(),
        )


@transaction.atomic
def reverse_invoice(*, invoice_id: int, reason: str, by: str, user_id: int | None = None) -> Invoice:
    """The issued invoice was reversed in the tax system (红冲): its title was wrong, or money went back since. It keeps
    its number and file; the shopper reads why, and may ask anew, over what is left.

    Locks: the invoice, by conditional update. Idempotent. Raises WrongState.
    """
    reason = " ".join(reason.split())[:200]
    if not reason:
        raise WrongState(_("Please say why: the shopper reads it."), code="no_reason")
    reversed_now = Invoice.objects.filter(pk=invoice_id, status=Invoice.ISSUED).update(
        status=Invoice.REFUSED, answer=reason, actor=by, user_id=user_id, answered_at=clock.now()
    )
    invoice = Invoice.objects.filter(pk=invoice_id).first()
    if invoice is None or (not reversed_now and not invoice.is_reversed):
        raise WrongState(_("Only an invoice that was issued can be reversed."))
    return invoice


@transaction.atomic
def refuse_invoice(*, invoice_id: int, reason: str, by: str, user_id: int | None = None) -> Invoice:
    """Say no with a reason that the shopper reads; she may ask again. Idempotent. Raises WrongState."""
    refused = Invoice.objects.filter(pk=invoice_id, status=Invoice.REQUESTED).update(
        status=Invoice.REFUSED,
        answer=reason.strip()[:200],
        actor=by,
        user_id=user_id,
        answered_at=clock.now(),
    )
    invoice = Invoice.objects.filter(pk=invoice_id).first()
    if invoice is None or (not refused and invoice.status != Invoice.REFUSED):
        raise WrongState(_("This request is already answered."))
    return invoice
