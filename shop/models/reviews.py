"""What buyers say of what they received, with photos (晒图), and a product's stars as one row."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Review(models.Model):
    """A buyer's word on one line of her order. Shoppers see it once it is shown; the seller may answer it."""

    PENDING, SHOWN, HIDDEN = "pending", "shown", "hidden"
    STATES = [(PENDING, _("to be looked at")), (SHOWN, _("shown")), (HIDDEN, _("not shown"))]

    line = models.OneToOneField(
        "shop.OrderLine", models.PROTECT, related_name="review", verbose_name=_("order line")
    )
    product = models.ForeignKey(
        "shop.Product", models.PROTECT, related_name="reviews", verbose_name=_("product")
    )
    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    stars = models.PositiveSmallIntegerField(_("stars"))
    text = models.CharField(_("text"), max_length=500, blank=True)
    is_anonymous = models.BooleanField(_("without her name"), default=False)
    state = models.CharField(_("state"), max_length=8, choices=STATES, default=PENDING)
    written_at = models.DateTimeField(_("written at"))
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decided_by = models.CharField(_("decided by"), max_length=80, blank=True)
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    answer = models.CharField(_("answer of the shop"), max_length=500, blank=True)
    answered_at = models.DateTimeField(_("answered at"), null=True, blank=True)
    answered_by = models.CharField(_("answered by"), max_length=80, blank=True)

    class Meta:
        verbose_name = _("review")
        verbose_name_plural = _("reviews")
        constraints = [
            models.CheckConstraint(
                condition=Q(stars__gte=1, stars__lte=5), name="review_has_one_to_five_stars"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "shown", "hidden"]), name="review_state_is_a_known_word"
            ),
        ]
        indexes = [
            models.Index(fields=["product", "-written_at"], name="reviews_shown", condition=Q(state="shown")),
            models.Index(fields=["-written_at"], name="reviews_pending", condition=Q(state="pending")),
            models.Index(fields=["member", "-written_at"], name="reviews_of_member"),
        ]

    def __str__(self) -> str:
        return f"{'★' * self.stars} {self.text[:20]}".strip()


class ReviewPhoto(models.Model):
    """A photo of a review, drawn anew by us: without its place and camera, at most 1,600 px."""

    review = models.ForeignKey(Review, models.CASCADE, related_name="photos", verbose_name=_("review"))
    image = models.ImageField(
        _("image"), upload_to="reviews/%Y/%m/", width_field="width", height_field="height", max_length=200
    )
    thumbnail = models.ImageField(_("thumbnail"), upload_to="reviews/%Y/%m/", max_length=200)
    width = models.PositiveIntegerField(_("width"), default=0, editable=False)
    height = models.PositiveIntegerField(_("height"), default=0, editable=False)
    position = models.PositiveSmallIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("review photo")
        verbose_name_plural = _("review photos")
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["review", "position"], name="review_photo_has_its_place")
        ]

    def __str__(self) -> str:
        return self.image.name or ""


class ProductRating(models.Model):
    """A product's shown reviews as numbers, refreshed in the transaction that shows or hides one."""

    product = models.OneToOneField(
        "shop.Product", models.CASCADE, primary_key=True, related_name="rating", verbose_name=_("product")
    )
    reviews_count = models.PositiveIntegerField(_("reviews"), default=0)
    stars_sum = models.PositiveIntegerField(_("sum of stars"), default=0)
    good_count = models.PositiveIntegerField(_("with four or five stars"), default=0)
    photos_count = models.PositiveIntegerField(_("reviews with photos"), default=0)

    class Meta:
        verbose_name = _("product rating")
        verbose_name_plural = _("product ratings")
        constraints = [
            models.CheckConstraint(
                condition=Q(stars_sum__gte=F("reviews_count"))
                & Q(stars_sum__lte=F("reviews_count") * 5)
                & Q(good_count__lte=F("reviews_count"))
                & Q(photos_count__lte=F("reviews_count")),
                name="rating_is_within_its_reviews",
            )
        ]

    def __str__(self) -> str:
        return f"{self.product_id} {self.stars_sum}/{self.reviews_count}"
