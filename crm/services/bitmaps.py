"""Keeping the bitmaps of segments near to the tables they are made from."""

from crm import bitmap_folding


def fold_bitmaps() -> int:
    """Write the members who have changed into the bitmaps; returns how many.

    Nobody waits for it: readers judge changed members by their own rows. Locks: an advisory one; a second process
    folding at once does nothing. Idempotent: a member is written as she is now.
    """
    return bitmap_folding.fold()


def rebuild_bitmaps() -> int:
    """Write all bitmaps anew from the tables; returns how many there are. For rows that were loaded past the triggers,
    or when the audit finds a bitmap wrong. Locks: an advisory one. Idempotent.
    """
    return bitmap_folding.rebuild()
