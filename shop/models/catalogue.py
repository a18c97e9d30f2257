"""What is sold: categories, products, their pictures and SKUs."""

import pghistory
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


@pghistory.track()
class Category(models.Model):
    """A shelf; a tree by `parent`, shown in the order of `position`."""

    parent = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        verbose_name=_("parent category"),
    )
    name = models.CharField(_("name"), max_length=40)
    position = models.IntegerField(_("position"), default=0, help_text=_("Smaller comes first."))
    is_active = models.BooleanField(_("shown"), default=True)

    class Meta:
        verbose_name = _("category")
        verbose_name_plural = _("categories")
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["parent", "name"], name="category_name_once_per_parent", nulls_distinct=False
            ),
            models.CheckConstraint(condition=~Q(parent=F("id")), name="category_is_not_its_own_parent"),
        ]

    def __str__(self) -> str:
        return self.name


@pghistory.track(exclude=["search", "sold_count"])
class Product(models.Model):
    """What the shopper looks at; what she buys is one of its SKUs.

    `min_price_fen`, `max_price_fen` and `search` are derived: `services.refresh_products` alone writes them.
    """

    DRAFT, ON_SALE, OFF = "draft", "on_sale", "off"
    STATUSES = [(DRAFT, _("draft")), (ON_SALE, _("on sale")), (OFF, _("taken off"))]

    name = models.CharField(_("name"), max_length=120)
    subtitle = models.CharField(_("selling line"), max_length=160, blank=True)
    category = models.ForeignKey(
        Category, models.PROTECT, null=True, blank=True, related_name="products", verbose_name=_("category")
    )
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=DRAFT)
    detail = models.TextField(
        _("detail"), blank=True, help_text=_("HTML; what is not safe is removed on saving.")
    )
    sort = models.IntegerField(_("sort"), default=0, help_text=_("Larger comes first."))
    code = models.CharField(
        _("product code"),
        max_length=64,
        null=True,
        blank=True,
        unique=True,
        help_text=_("The brand's own style number."),
    )
    min_price_fen = models.BigIntegerField(_("lowest price"), default=0, editable=False)
    max_price_fen = models.BigIntegerField(_("highest price"), default=0, editable=False)
    sold_count = models.PositiveIntegerField(_("sold"), default=0, editable=False)
    search = SearchVectorField(null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), editable=False)
    updated_at = models.DateTimeField(_("changed at"), editable=False)

    class Meta:
        verbose_name = _("product")
        verbose_name_plural = _("products")
        constraints = [
            models.CheckConstraint(
                condition=Q(min_price_fen__gte=0) & Q(max_price_fen__gte=F("min_price_fen")),
                name="product_price_range_is_ordered",
            )
        ]
        indexes = [
            GinIndex(fields=["search"], name="product_search"),
            models.Index(fields=["-sort", "-id"], name="product_shelf", condition=Q(status="on_sale")),
            models.Index(
                fields=["category", "-sort", "-id"],
                name="product_category_shelf",
                condition=Q(status="on_sale"),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ProductImage(models.Model):
    """A picture with its size in pixels, so that pages keep its place free. The first by position is the cover."""

    product = models.ForeignKey(Product, models.CASCADE, related_name="images", verbose_name=_("product"))
    image = models.ImageField(
        _("image"), upload_to="products/%Y/%m/", width_field="width", height_field="height", max_length=200
    )
    thumbnail = models.ImageField(
        _("thumbnail"), upload_to="products/%Y/%m/", max_length=200, blank=True, editable=False
    )
    width = models.PositiveIntegerField(_("width"), default=0, editable=False)
    height = models.PositiveIntegerField(_("height"), default=0, editable=False)
    alt = models.CharField(_("description"), max_length=120, blank=True)
    position = models.IntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("product image")
        verbose_name_plural = _("product images")
        ordering = ["position", "id"]
        indexes = [models.Index(fields=["product", "position", "id"], name="product_images_in_order")]

    def __str__(self) -> str:
        return self.alt or self.image.name or ""


@pghistory.track()
class Sku(models.Model):
    """One buyable variant: a colour and a size. `spec` is {"颜色": "雾蓝", "尺码": "M"} in display order."""

    product = models.ForeignKey(Product, models.PROTECT, related_name="skus", verbose_name=_("product"))
    code = models.CharField(_("SKU code"), max_length=64, unique=True)
    name = models.CharField(
        _("variant"), max_length=80, blank=True, help_text=_("Shown to shoppers; empty for the only one.")
    )
    spec = models.JSONField(_("specification"), default=dict, blank=True)
    price_fen = models.BigIntegerField(_("price (fen)"))
    list_price_fen = models.BigIntegerField(
        _("list price (fen)"), null=True, blank=True, help_text=_("Shown struck through; empty: none.")
    )
    weight_grams = models.PositiveIntegerField(_("weight (g)"), default=0)
    position = models.IntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("for sale"), default=True)

    class Meta:
        verbose_name = _("SKU")
        verbose_name_plural = _("SKUs")
        ordering = ["position", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(price_fen__gte=0), name="sku_price_never_negative"),
            models.CheckConstraint(
                condition=Q(list_price_fen__isnull=True) | Q(list_price_fen__gte=0),
                name="sku_list_price_never_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.name}".strip()
