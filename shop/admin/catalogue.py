"""Products with pictures and SKUs, and the tree of categories."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.files.storage import default_storage
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.contrib.forms.widgets import WysiwygWidget
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminURLInputWidget

from core import clock, money
from core.admin import BaseAdmin, TabularInline
from core.errors import Refusal
from shop import finding, queries, rules, services
from shop.admin import attributes_matrix
from shop.admin.fields import SpecField, YuanField, category_field
from shop.models import Category, Product, ProductImage, Sku, Stock
from shop.queries.routing import AVAILABLE


def _other(condition: str) -> RawSQL:
    """How many can be had of what has no stock of its own: virtual goods, services, bundles."""
    return RawSQL(  # noqa: S611
        f"""(
            SELECT coalesce(sum(st.available), 0)::int FROM shop_sku s {AVAILABLE}
            WHERE s.supply <> 'stock' AND {condition}
        )""",  # noqa: S608  our own words only
        [],
        output_field=IntegerField(),
    )


class ImageInline(TabularInline):
    model = ProductImage
    fields = ["preview", "image", "alt", "position"]
    readonly_fields = ["preview"]
    ordering_field = "position"
    extra = 0
    hide_title = True
    tab = True

    @admin.display(description=_("preview"))
    def preview(self, image: ProductImage) -> str:
        name = image.thumbnail.name or image.image.name
        if not name:
            return "–"
        return format_html(
            '<img src="{}" alt="" width="56" style="border-radius:6px">', default_storage.url(name)
        )


class SkuForm(forms.ModelForm):
    price_fen = YuanField(label=_("price (¥)"))
    list_price_fen = YuanField(label=_("list price (¥)"), required=False)
    spec = SpecField(label=_("specification"), required=False)

    class Meta:
        model = Sku
        fields = ["code", "spec", "name", "price_fen", "list_price_fen", "position", "is_active"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not values.get("name") and values.get("spec"):
            values["name"] = " ".join(values["spec"].values())[:80]
        return values


class SkuInline(TabularInline):
    """SKUs are switched off, not deleted: orders and movements point at them."""

    model = Sku
    form = SkuForm
    fields = ["code", "spec", "name", "price_fen", "list_price_fen", "position", "is_active", "available"]
    readonly_fields = ["available"]
    extra = 0
    can_delete = False
    hide_title = True
    tab = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sku]:
        stock = Stock.objects.filter(sku=OuterRef("pk")).values("sku")
        left = stock.annotate(left=Sum("on_hand") - Sum("reserved")).values("left")
        return (
            super()
            .get_queryset(request)
            .annotate(left=Coalesce(Subquery(left), 0), other=_other("s.id = shop_sku.id"))
        )

    @admin.display(description=_("available"))
    def available(self, sku: Sku) -> str:
        if sku.pk is None:
            return "–"
        if sku.supply != Sku.STOCK:
            page = "bundle" if sku.supply == Sku.PARTS else "goodsterms"
            address = reverse(f"admin:shop_{page}_changelist") + f"?q={sku.code}"
            return format_html('<a href="{}">{}</a>', address, getattr(sku, "other", 0))
        address = reverse("admin:shop_stock_changelist") + f"?q={sku.code}"
        return format_html('<a href="{}">{}</a>', address, getattr(sku, "left", 0))


class ProductForm(forms.ModelForm):
    class Meta:
        model = Product
        fields = [
            *(
                "name",
                "subtitle",
                "kind",
                "code",
                "category",
                "brand",
                "status",
                "sort",
                "on_shelf_at",
                "off_shelf_at",
            ),
            *(
                "values",
                "related",
                "video",
                "video_url",
                "video_poster",
            ),
            "detail",
        ]
        widgets = {"detail": WysiwygWidget()}

    video_url = forms.URLField(
        label=_("video address"),
        required=False,
        assume_scheme="https",
        max_length=400,
        widget=UnfoldAdminURLInputWidget(),
        help_text=_("https; instead of a file."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "kind" in self.fields:  # a colleague who may only look has no fields
            self.fields["kind"].required = False  # not sent: as it is

    def clean_video_url(self) -> str:
        url = str(self.cleaned_data["video_url"])
        if url and not url.startswith("https://"):
            raise forms.ValidationError(_("The address has to begin with https://."))
        return url

    def clean_video(self) -> Any:
        video = self.cleaned_data["video"]
        if video and getattr(video, "content_type", None) is not None:
            try:
                services.check_video(video)
            except Refusal as refusal:
                raise forms.ValidationError(refusal.message) from refusal
        return video

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        comes, goes = values.get("on_shelf_at"), values.get("off_shelf_at")
        if comes and goes and goes <= comes:
            self.add_error("off_shelf_at", _("It has to come before it goes."))
        if values.get("kind") == Product.BUNDLE and (
            values.get("limit_per_order") or values.get("limit_per_member")
        ):
            self.add_error(
                "kind", _("A bundle has no limits of its own: it is sold as long as its parts last.")
            )
        return values

    def clean_detail(self) -> str:
        return services.clean_detail(self.cleaned_data["detail"])

    def clean_kind(self) -> str:
        kind = str(self.cleaned_data["kind"] or self.instance.kind)
        if self.instance.pk and kind != self.instance.kind and services.is_kind_settled(self.instance.pk):
            raise forms.ValidationError(
                _(
                    "It was ordered, has stock or is part of a bundle: duplicate it to sell it as another kind."
                )
            )
        return kind

    def clean_code(self) -> str | None:
        return self.cleaned_data["code"] or None


class SoldOutFilter(admin.SimpleListFilter):
    title = _("stock")
    parameter_name = "stock"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("none", _("sold out")), ("few", _("fewer than 10")), ("some", _("in stock"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Product]) -> QuerySet[Product]:
        match self.value():
            case "none":
                return queryset.filter(Q(left__lte=0))
            case "few":
                return queryset.filter(Q(left__gt=0) & Q(left__lt=10))
            case "some":
                return queryset.filter(Q(left__gt=0))
        return queryset


@admin.register(Product)
class ProductAdmin(BaseAdmin):
    form = ProductForm
    list_display = [
        "shown",
        "category",
        "price_range",
        "available",
        "state",
        "sold_count",
        "sort",
        "updated_at",
    ]
    list_filter = ["status", "kind", SoldOutFilter, "category", "brand"]
    list_select_related = ["category"]
    list_per_page = 30
    search_fields = ["name"]
    search_help_text = _("Name, selling line, category, product or SKU code")
    ordering = ["-sort", "-pk"]
    autocomplete_fields = ["related"]
    inlines = [SkuInline, ImageInline]
    readonly_fields = ["price_range", "sold_count", "created_at", "updated_at"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    *("name", "subtitle", ("category", "brand"), ("kind", "code"), ("status", "sort")),
                    *("values", "detail"),
                ]
            },
        ),
        (
            _("Shelf and limits"),
            {"fields": [("on_shelf_at", "off_shelf_at"), ("limit_per_order", "limit_per_member")]},
        ),
        (_("Video and what goes with it"), {"fields": [("video", "video_url"), "video_poster", "related"]}),
        (_("Figures"), {"fields": [("price_range", "sold_count"), ("created_at", "updated_at")]}),
    ]
    actions = ["put_on_sale", "take_off", "put_on_tuesday"]
    actions_detail = ["matrix", "duplicate", "preview"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        stock = Stock.objects.filter(sku__product=OuterRef("pk"), sku__is_active=True).values("sku__product")
        left = stock.annotate(left=Sum("on_hand") - Sum("reserved")).values("left")
        cover = ProductImage.objects.filter(product=OuterRef("pk")).order_by("position", "pk")
        return (
            super()
            .get_queryset(request)
            .defer("search", "detail")
            .annotate(
                left=Coalesce(Subquery(left, output_field=IntegerField()), 0)
                + _other("s.product_id = shop_product.id AND s.is_active"),
                cover=Subquery(cover.values("thumbnail")[:1]),
                cover_full=Subquery(cover.values("image")[:1]),
            )
        )

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return category_field(field) if db_field.name == "category" else field

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Product], search_term: str
    ) -> tuple[QuerySet[Product], bool]:
        words = finding.words_query(search_term)
        if not search_term.strip():
            return queryset, False
        if not words:
            return queryset.none(), False
        return queryset.extra(
            where=["shop_product.search @@ %s::tsquery"], params=[finding.all_of(words)]
        ), False

    @display(description=_("product"), header=True, ordering="name")
    def shown(self, product: Product) -> list[Any]:
        name = getattr(product, "cover", "") or getattr(product, "cover_full", "")
        picture = {
            "path": default_storage.url(name) if name else None,
            "squared": True,
            "width": 40,
            "height": 40,
            "borderless": True,
        }
        return [product.name, product.subtitle or product.code or "", None, picture]

    @admin.display(description=_("price"), ordering="min_price_fen")
    def price_range(self, product: Product) -> str:
        low, high = money.yuan(product.min_price_fen), money.yuan(product.max_price_fen)
        return f"¥{low}" if low == high else f"¥{low} – ¥{high}"

    @admin.display(description=_("available"), ordering="left")
    def available(self, product: Product) -> int:
        return getattr(product, "left", 0)

    @display(
        description=_("status"),
        ordering="status",
        label={"draft": "warning", "on_sale": "success", "off": "info"},
    )
    def state(self, product: Product) -> tuple[str, str]:
        return product.status, str(product.get_status_display())

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:
        obj.updated_at = clock.now()
        if not change:
            obj.created_at = obj.updated_at
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """After pictures and SKUs are saved: thumbnails, price range, search words; no sale without a SKU."""
        super().save_related(request, form, formsets, change)
        product = form.instance
        for formset in formsets:
            if formset.model is ProductImage:
                for image in formset.new_objects + [
                    row for row, fields in formset.changed_objects if "image" in fields
                ]:
                    services.make_thumbnail(image)
        services.refresh_products(product_ids=[product.pk])
        self._say_what_is_next(request, product)
        if product.status == Product.ON_SALE and not product.skus.filter(is_active=True).exists():
            services.set_products_status(product_ids=[product.pk], status=Product.DRAFT)
            messages.warning(request, _("Saved as a draft: a product needs at least one SKU to be on sale."))

    def _say_what_is_next(self, request: HttpRequest, product: Product) -> None:
        """What is no goods of its own cannot be bought before it is said what a buyer gets."""
        if product.kind == Product.BUNDLE and product.skus.filter(items=None).exists():
            address, words = reverse("admin:shop_bundle_changelist"), _("Now choose the parts of the bundle.")
        elif product.kind in (Product.VIRTUAL, Product.SERVICE) and product.skus.filter(terms=None).exists():
            address, words = reverse("admin:shop_goodsterms_add"), _("Now say what the buyer gets.")
        else:
            return
        messages.warning(request, format_html('<a href="{}">{}</a>', address, words))

    @admin.action(description=_("Put on sale"), permissions=["change"])
    def put_on_sale(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        self._set_status(request, queryset, Product.ON_SALE)

    @admin.action(description=_("Take off the shelf"), permissions=["change"])
    def take_off(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        self._set_status(request, queryset, Product.OFF)

    @admin.action(description=_("On the shelf next Tuesday 10:00"), permissions=["change"])
    def put_on_tuesday(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        at = rules.next_arrival(clock.local(clock.now()))
        ids = list(queryset.values_list("pk", flat=True))
        count = services.schedule_products(product_ids=ids, at=at)
        message = ngettext(
            "%(count)d product goes on the shelf on %(when)s.",
            "%(count)d products go on the shelf on %(when)s.",
            count,
        ) % {"count": count, "when": f"{at:%m-%d %H:%M}"}
        self.message_user(request, message, messages.SUCCESS if count else messages.WARNING)

    def _set_status(self, request: HttpRequest, queryset: QuerySet[Product], status: str) -> None:
        ids = list(queryset.values_list("pk", flat=True))
        count, refused = services.set_products_status(product_ids=ids, status=status)
        messages.success(
            request,
            ngettext("%(count)d product changed.", "%(count)d products changed.", count) % {"count": count},
        )
        if refused:
            names = "、".join(refused[:10])
            messages.warning(request, _("Without a SKU and not put on sale: %(names)s") % {"names": names})

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(attributes_matrix.matrix_page(self))
        return [path("<int:pk>/skus/", page, name="shop_product_sku_table"), *super().get_urls()]

    @action(description=_("SKU table"), url_path="matrix", icon="grid_on", permissions=["change"])
    def matrix(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:shop_product_sku_table", args=[int(object_id)]))

    @action(
        description=_("Duplicate"),
        url_path="duplicate",
        icon="content_copy",
        permissions=["add"],
        dialog={
            "title": _("Duplicate this product?"),
            "description": _("Makes a draft with the same texts, pictures and SKUs, without stock."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Duplicate"),
        },
    )
    def duplicate(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        copy = services.duplicate_product(product_id=int(object_id))
        messages.success(request, _("This is the copy. Change what differs, then put it on sale."))
        return self.to_page(copy.pk)

    @action(
        description=_("Look at it in the shop"),
        url_path="look",
        icon="open_in_new",
        attrs={"target": "_blank"},
    )
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        from django.shortcuts import redirect

        return redirect("shop:product", pk=int(object_id))

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Products are taken off the shelf: orders point at their SKUs."""
        return False


@admin.register(Category)
class CategoryAdmin(BaseAdmin):
    list_display = ["name", "parent", "position", "is_active", "products_count"]
    list_editable = ["position", "is_active"]
    list_filter = ["is_active"]
    list_select_related = ["parent"]
    search_fields = ["name"]
    fields = ["name", "parent", "position", "is_active"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Category]:
        on_sale = Count("products", filter=Q(products__status=Product.ON_SALE))
        return super().get_queryset(request).annotate(on_sale=on_sale)

    @admin.display(description=_("products on sale"), ordering="on_sale")
    def products_count(self, category: Category) -> int:
        return getattr(category, "on_sale", 0)

    def save_model(self, request: HttpRequest, obj: Category, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and {"name", "parent"} & set(form.changed_data):
            services.refresh_below(category_id=obj.pk)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "parent":
            return super().formfield_for_foreignkey(db_field, request, **kwargs)
        own = str(request.resolver_match.kwargs.get("object_id") if request.resolver_match else "")
        allowed = queries.possible_parents(int(own) if own.isdecimal() else None)
        kwargs["queryset"] = Category.objects.filter(pk__in=allowed)
        return category_field(super().formfield_for_foreignkey(db_field, request, **kwargs), allowed)
