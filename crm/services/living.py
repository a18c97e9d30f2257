"""Who is meant by a member's number: she herself, or whom she was merged into; and that this stays so for a while."""

from django.db import connection, transaction
from django.utils.translation import gettext as _

from core.locks import lock_row
from crm.errors import NoSuchMember
from crm.models import Member


def held_member(member_id: int) -> Member:
    """The same for who writes of her: no merge goes on until the transaction ends, so nothing stays with a tombstone.

    Locks: the member (key share), as every row that names her does. Raises NoSuchMember.
    """
    wanted = member_id
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT merged_into_id FROM crm_member WHERE id = %s FOR KEY SHARE", [wanted])
            found = cursor.fetchone()
        if found is None:
            raise NoSuchMember(_("There is no such member."))
        if found[0] is None:
            return Member.objects.get(pk=wanted)
        wanted = int(found[0])


def living_member(member_id: int) -> Member:
    """The member herself, or the one she was merged into. Raises NoSuchMember."""
    member = Member.objects.select_related("merged_into").filter(pk=member_id).first()
    if member is None:
        raise NoSuchMember(_("There is no such member."))
    return member.merged_into or member


def locked_member(member_id: int) -> Member:
    """The living member, locked until the transaction ends: who writes of her by what he has read waits for the others.

    Locks: the member, and no tombstone. Raises NoSuchMember.
    """
    while True:
        wanted = living_member(member_id).pk
        with transaction.atomic():  # a savepoint: going back to it gives the lock of a tombstone back
            row = lock_row(Member.objects.filter(pk=wanted))
            if row is not None and row.merged_into_id is None:
                return row
            transaction.set_rollback(True)
