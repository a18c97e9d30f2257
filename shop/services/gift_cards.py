"""Gift cards: made in batches, their codes exported once, bound by whoever types the code first.

A bound card stays a card and is spent directly instead of becoming stored value: it keeps its own expiry, a refund
goes back to the card it came from, and the books tell money that members paid in from cards that were sold or given.
"""

import hashlib
import hmac
import secrets
import unicodedata
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from core import clock, ledger
from core.ledger import HOUSE, CauseTaken
from shop.errors import BadAmount, GiftCardRefused, TooManyGuesses, WrongState
from shop.models import GiftCard, GiftCardBatch, GiftCardGuess
from shop.queries.stored_value import GIFT_CARD

# No 0, O, 1, I, L: codes are read from cards. 31^16 codes, so one in 10^19 guesses hits one of ten thousand cards.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_LENGTH = 16
GUESSES, GUESS_TIME = 5, timedelta(hours=1)
MOST_CARDS, MOST_FEN = 5_000, 1_000_000


class ExportedCard(NamedTuple):
    """A row of the file; of a card without a code any more only the end of it, as on the card's page."""

    code: str
    state: str


@transaction.atomic
def make_gift_cards(
    *,
    name: str,
    value_fen: int,
    count: int,
    idempotency_key: str,
    expires_at: datetime | None = None,
    user_id: int | None = None,
) -> GiftCardBatch:
    """Make `count` new cards of `value_fen` each.

    Idempotent on: idempotency_key. Raises BadAmount, CauseTaken (the key stands for another batch).
    """
    name = " ".join(name.split())[:60]
    if not name:
        raise BadAmount(_("Give the batch a name."))
    if not 1 <= value_fen <= MOST_FEN:
        raise BadAmount(_("A gift card is worth between ¥0.01 and ¥10,000."))
    if not 1 <= count <= MOST_CARDS:
        raise BadAmount(_("Between 1 and %(most)d cards at once.") % {"most": MOST_CARDS})
    is_over = expires_at is not None and expires_at <= clock.now()
    if is_over and not GiftCardBatch.objects.filter(idempotency_key=idempotency_key[:64]).exists():
        raise BadAmount(_("The cards would be expired already."))
    batch, created = GiftCardBatch.objects.get_or_create(
        idempotency_key=idempotency_key[:64],
        defaults={
            "name": name,
            "value_fen": value_fen,
            "count": count,
            "expires_at": expires_at,
            "created_by_id": user_id,
            "created_at": clock.now(),
        },
    )
    made = (batch.name, batch.value_fen, batch.count, batch.expires_at)
    if not created and made != (name, value_fen, count, expires_at):
        raise CauseTaken(_("This form was already sent with other values. Please open it anew."))
    if created:
        codes = {_new_code() for _number in range(count)}
        while len(codes) < count:
            codes.add(_new_code())
        GiftCard.objects.bulk_create(
            GiftCard(
                batch=batch,
                code_hash=_hash(code, settings.FIELD_KEYS[0]),
                code=code,
                code_end=code[-4:],
                value_fen=value_fen,
                expires_at=expires_at,
            )
            for code in codes
        )
    return batch


@transaction.atomic
def export_gift_cards(*, batch_id: int, user_id: int | None = None) -> list[ExportedCard]:
    """The cards of a batch with their codes ("ABCD-EFGH-…"), once; afterwards the shop itself does not know them any
    more. The code of a card that was bound or ended before is gone already: it would be of use to nobody but a thief.

    Locks: the batch, by conditional update. Raises WrongState when they were exported before.
    """
    taken = GiftCardBatch.objects.filter(pk=batch_id, exported_at__isnull=True).update(
        exported_at=clock.now(), exported_by_id=user_id
    )
    if not taken:
        raise WrongState(_("These codes were exported before. They are shown once only."))
    cards = GiftCard.objects.filter(batch_id=batch_id)
    exported = [
        ExportedCard(
            code=shown_code(card.code) if card.code else f"****-****-****-{card.code_end}",
            state=str(card.get_state_display()),
        )
        for card in cards.order_by("pk")
    ]
    cards.update(code="")
    return exported


@transaction.atomic
def void_gift_cards(*, batch_id: int) -> int:
    """End every card of a batch that nobody has bound yet; returns how many. Idempotent."""
    return GiftCard.objects.filter(batch_id=batch_id, state=GiftCard.NEW).update(state=GiftCard.VOID, code="")


def bind_gift_card(*, member_id: int, code: str) -> GiftCard:
    """Make the card with this code the member's; from now on only she can spend it.

    Idempotent for the same member. At most five wrong codes an hour: a try is counted before it is looked at, so that
    many at once are not more. Raises GiftCardRefused (unknown, used, void, expired), TooManyGuesses.
    """
    cleaned = _cleaned(code)
    _count_guess(member_id)
    card = _bind(member_id, cleaned)
    # This one was right; those before it stay counted, or a card of her own would be a licence to go on guessing.
    GiftCardGuess.objects.filter(member_id=member_id, wrong__gt=0).update(wrong=F("wrong") - 1)
    return card


@transaction.atomic
def _bind(member_id: int, code: str) -> GiftCard:
    hashes = [_hash(code, key) for key in settings.FIELD_KEYS]
    card = GiftCard.objects.filter(code_hash__in=hashes).first()
    if card is None or card.state == GiftCard.VOID or card.member_id not in (None, member_id):
        # One answer for all three: it must not tell which codes exist.
        raise GiftCardRefused(
            _("This code is not valid, or the card belongs to somebody already. Please check it.")
        )
    if card.expires_at is not None and card.expires_at <= clock.now():
        raise GiftCardRefused(_("This gift card has expired."))
    if card.member_id == member_id:
        return card
    bound = GiftCard.objects.filter(pk=card.pk, state=GiftCard.NEW).update(
        state=GiftCard.BOUND, member_id=member_id, bound_at=clock.now(), code=""
    )
    card.refresh_from_db()
    if not bound and card.member_id != member_id:
        raise GiftCardRefused(
            _("This code is not valid, or the card belongs to somebody already. Please check it.")
        )
    ledger.transfer(
        cause=f"gift_card:{card.pk}",
        debit=ledger.open_account(kind=GIFT_CARD, owner_id=HOUSE),
        credit=ledger.open_account(kind=GIFT_CARD, owner_id=card.pk),
        amount=card.value_fen,
        expires_at=card.expires_at,
    )
    return card


def _count_guess(member_id: int) -> None:
    """Commits by itself before the code is looked at. Raises TooManyGuesses."""
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO shop_giftcardguess AS g (member_id, since, wrong) VALUES (%(member)s, %(now)s, 1)
            ON CONFLICT (member_id) DO UPDATE SET
                wrong = CASE WHEN g.since <= %(past)s THEN 1 ELSE g.wrong + 1 END,
                since = CASE WHEN g.since <= %(past)s THEN %(now)s ELSE g.since END
            WHERE g.wrong < %(most)s OR g.since <= %(past)s
            """,
            {"member": member_id, "now": moment, "past": moment - GUESS_TIME, "most": GUESSES},
        )
        counted = cursor.rowcount
    if not counted:
        raise TooManyGuesses(_("Too many wrong codes. Please try again in an hour."))


def shown_code(code: str) -> str:
    """ "ABCDEFGH…" → "ABCD-EFGH-…"."""
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))


def _cleaned(code: str) -> str:
    """What a person types or pastes, as the code. Raises GiftCardRefused when it cannot be one."""
    folded = unicodedata.normalize("NFKC", code[:100]).upper()
    cleaned = "".join(sign for sign in folded if sign.isalnum())
    if len(cleaned) != CODE_LENGTH or any(sign not in ALPHABET for sign in cleaned):
        raise GiftCardRefused(_("A gift card's code has 16 letters and digits, such as ABCD-EFGH-JKMN-PQRS."))
    return cleaned


def _new_code() -> str:
    return "".join(secrets.choice(ALPHABET) for _place in range(CODE_LENGTH))


def _hash(code: str, key: str) -> str:
    return hmac.new(f"gift-card:{key}".encode(), code.encode(), hashlib.sha256).hexdigest()
