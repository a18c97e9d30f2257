"""What is sold: categories, products, their pictures and SKUs."""

import pghistory
from django.contrib.postgres.fields import ArrayField
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


@pghistory.track(exclude=["search", "sound", "value_ids", "is_in_stock", "sold_count"])
class Product(models.Model):
    """What the shopper looks at; what she buys is one of its SKUs.

    `min_price_fen`, `max_price_fen`, `search`, `sound`, `value_ids` and `is_in_stock` are derived:
    `services.refresh_products` alone writes them; `is_in_stock` is also counted again every minute, because no
    order may wait for it.
    """

    DRAFT, ON_SALE, OFF = "draft", "on_sale", "off"
    STATUSES = [(DRAFT, _("draft")), (ON_SALE, _("on sale")), (OFF, _("taken off"))]
    GOODS, VIRTUAL, SERVICE, BUNDLE = "goods", "virtual", "service", "bundle"
    KINDS = [
        (GOODS, _("goods")),
        (VIRTUAL, _("virtual goods")),
        (SERVICE, _("service in a store")),
        (BUNDLE, _("bundle")),
    ]

    name = models.CharField(_("name"), max_length=120)
    subtitle = models.CharField(_("selling line"), max_length=160, blank=True)
    category = models.ForeignKey(
        Category, models.PROTECT, null=True, blank=True, related_name="products", verbose_name=_("category")
    )
    kind = models.CharField(_("kind"), max_length=8, choices=KINDS, default=GOODS)
    brand = models.ForeignKey(
        "shop.Brand", models.PROTECT, null=True, blank=True, related_name="products", verbose_name=_("brand")
    )
    values = models.ManyToManyField(
        "shop.AttributeValue", blank=True, related_name="products", verbose_name=_("attributes")
    )
    related = models.ManyToManyField(
        "self",
        symmetrical=False,
        blank=True,
        related_name="+",
        verbose_name=_("goes with"),
        help_text=_("Shown below it; empty: others of its category."),
    )
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=DRAFT)
    on_shelf_at = models.DateTimeField(
        _("on the shelf at"), null=True, blank=True, help_text=_("Goes on sale by itself then.")
    )
    off_shelf_at = models.DateTimeField(
        _("off the shelf at"), null=True, blank=True, help_text=_("Is taken off by itself then.")
    )
    limit_per_order = models.PositiveIntegerField(
        _("most per order"), null=True, blank=True, help_text=_("Pieces of all its SKUs; empty: no limit.")
    )
    limit_per_member = models.PositiveIntegerField(
        _("most per member"), null=True, blank=True, help_text=_("Pieces she may ever buy; empty: no limit.")
    )
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
    video = models.FileField(
        _("video file"),
        upload_to="products/%Y/%m/",
        max_length=200,
        blank=True,
        help_text=_("MP4 or WebM of at most 50 MB."),
    )
    video_url = models.URLField(
        _("video address"),
        max_length=400,
        blank=True,
        help_text=_("https; instead of a file."),
    )
    video_poster = models.ImageField(
        _("video's first picture"), upload_to="products/%Y/%m/", max_length=200, blank=True
    )
    search = SearchVectorField(null=True, editable=False)
    sound = models.CharField(max_length=400, default="", blank=True, editable=False)  # "fashilianyiqun"
    value_ids: "ArrayField[list[int], list[int]]" = ArrayField(
        models.BigIntegerField(), default=list, blank=True, editable=False
    )
    is_in_stock = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(_("created at"), editable=False)
    updated_at = models.DateTimeField(_("changed at"), editable=False)

    class Meta:
        verbose_name = _("product")
        verbose_name_plural = _("products")
        constraints = [
            models.CheckConstraint(
                condition=Q(min_price_fen__gte=0) & Q(max_price_fen__gte=F("min_price_fen")),
                name="product_price_range_is_ordered",
            ),
            models.CheckConstraint(
                condition=(Q(limit_per_order__isnull=True) | Q(limit_per_order__gte=1))
                & (Q(limit_per_member__isnull=True) | Q(limit_per_member__gte=1)),
                name="product_limits_allow_a_piece",
            ),
            models.CheckConstraint(
                condition=Q(on_shelf_at__isnull=True)
                | Q(off_shelf_at__isnull=True)
                | Q(off_shelf_at__gt=F("on_shelf_at")),
                name="product_leaves_the_shelf_after_it_came",
            ),
        ]
        indexes = [
            GinIndex(fields=["search"], name="product_search"),
            models.Index(
                fields=["min_price_fen", "-id"], name="product_by_price", condition=Q(status="on_sale")
            ),
            models.Index(
                fields=["max_price_fen"], name="product_by_top_price", condition=Q(status="on_sale")
            ),
            models.Index(
                fields=["-sold_count", "-id"], name="product_by_sales", condition=Q(status="on_sale")
            ),
            models.Index(
                fields=["on_shelf_at"], name="products_to_shelve", condition=Q(on_shelf_at__isnull=False)
            ),
            models.Index(
                fields=["off_shelf_at"], name="products_to_take_off", condition=Q(off_shelf_at__isnull=False)
            ),
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
    """One buyable variant: a colour and a size. `spec` is {"颜色": "雾蓝", "尺码": "M"} in display order.

    `supply` says where its pieces come from: stock of stores, the counted pieces of its terms, or the parts of a
    bundle. It follows from the kind of its product: `services.refresh_products` alone writes it.
    """

    STOCK, PIECES, PARTS = "stock", "pieces", "parts"
    SUPPLIES = [(STOCK, _("stock")), (PIECES, _("pieces of its terms")), (PARTS, _("parts of a bundle"))]

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
    supply = models.CharField(
        _("comes from"), max_length=8, choices=SUPPLIES, default=STOCK, db_default=STOCK, editable=False
    )

    class Meta:
        verbose_name = _("SKU")
        verbose_name_plural = _("SKUs")
        ordering = ["position", "id"]
        indexes = [models.Index(fields=["product"], name="skus_without_stock", condition=~Q(supply="stock"))]
        constraints = [
            models.CheckConstraint(condition=Q(price_fen__gte=0), name="sku_price_never_negative"),
            models.CheckConstraint(
                condition=Q(list_price_fen__isnull=True) | Q(list_price_fen__gte=0),
                name="sku_list_price_never_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.name}".strip()
