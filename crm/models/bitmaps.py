"""Which members share a value, as roaring bitmaps, and who has changed since they were written."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class SegmentBitmap(models.Model):
    """The members with one value of one dimension: a tag, a day of last order, a band of spending …

    `bits` is a serialised `pyroaring.BitMap` of member ids. `version` comes from a sequence, so that no two contents
    of a row share one, whatever commits or rolls back; `crm.bitmaps` says which dimensions there are.
    """

    dimension = models.CharField(max_length=60)
    value = models.BigIntegerField()
    bits = models.BinaryField()
    members_count = models.PositiveIntegerField()
    version = models.BigIntegerField()

    class Meta:
        verbose_name = "bitmap of members"
        verbose_name_plural = "bitmaps of members"
        indexes = [models.Index(fields=["version"], name="bitmap_by_version")]
        constraints = [
            models.UniqueConstraint(fields=["dimension", "value"], name="bitmap_once_per_value"),
            models.CheckConstraint(
                condition=models.Q(members_count__gt=0), name="bitmap_holds_somebody_or_is_not_there"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dimension} {self.value}"


class BitmapDelta(models.Model):
    """These members have changed since the bitmaps were written: what they say about them does not count.

    One row a statement, however many members it changes; the table has no index, not even of its key. Written by
    triggers in the transaction of the change, removed in the transaction that writes them into the bitmaps.
    """

    member_ids = ArrayField(models.BigIntegerField())
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "change for the bitmaps"
        verbose_name_plural = "changes for the bitmaps"

    def __str__(self) -> str:
        return f"{self.at}"


class BitmapFold(models.Model):
    """These members changed and were written into the bitmaps at that moment; NULL: everybody was written anew.

    With the pending changes it says who has changed since any moment of the last day.
    """

    at = models.DateTimeField()
    members = models.BinaryField(null=True)

    class Meta:
        verbose_name = "fold of the bitmaps"
        verbose_name_plural = "folds of the bitmaps"
        indexes = [models.Index(fields=["at"], name="bitmap_fold_by_time")]

    def __str__(self) -> str:
        return f"{self.at}"
