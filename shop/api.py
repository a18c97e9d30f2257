"""REST: products and stock for ERP and POS, orders and parcels for the warehouse. Amounts are integer fen."""

import uuid
from datetime import datetime
from typing import Any

import django_filters
from django.apps import apps
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import idempotent
from crm import services as crm_services
from shop import services
from shop.models import Order, OrderLine, PresaleOrder, Product, ProductImage, Shipment, Sku, Stock
from shop.queries import rest


class SkuSerializer(serializers.ModelSerializer[Sku]):
    class Meta:
        model = Sku
        fields = ["id", "code", "name", "spec", "price_fen", "list_price_fen", "weight_grams", "is_active"]


class ImageSerializer(serializers.ModelSerializer[ProductImage]):
    url = serializers.SerializerMethodField()

    class Meta:
        model = ProductImage
        fields = ["url", "width", "height", "alt"]

    def get_url(self, image: ProductImage) -> str:
        address = image.image.url
        return str(self.context["request"].build_absolute_uri(address))


class ProductSerializer(serializers.ModelSerializer[Product]):
    category = serializers.CharField(source="category.name", default="", read_only=True)
    skus = SkuSerializer(many=True, read_only=True)

    class Meta:
        model = Product
        fields = [
            "id",
            "code",
            "name",
            "subtitle",
            "kind",
            "category",
            "category_id",
            "status",
            "min_price_fen",
            "max_price_fen",
            "sold_count",
            "updated_at",
            "skus",
        ]


class ProductDetailSerializer(ProductSerializer):
    images = ImageSerializer(many=True, read_only=True)

    class Meta(ProductSerializer.Meta):
        fields = [*ProductSerializer.Meta.fields, "detail", "images"]


class StockSerializer(serializers.ModelSerializer[Stock]):
    sku = serializers.CharField(source="sku.code", read_only=True)
    store = serializers.CharField(source="store.code", read_only=True)
    available = serializers.IntegerField(read_only=True)

    class Meta:
        model = Stock
        fields = ["sku", "store", "on_hand", "reserved", "available"]


class CountSerializer(serializers.Serializer[Any]):
    on_hand = serializers.IntegerField(min_value=0, max_value=10_000_000, help_text="As counted.")
    note = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class AdjustmentSerializer(serializers.Serializer[Any]):
    change = serializers.IntegerField(min_value=-10_000_000, max_value=10_000_000, help_text="±, not 0.")
    note = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class LineSerializer(serializers.ModelSerializer[OrderLine]):
    sku = serializers.CharField(source="sku.code", read_only=True)
    bundle = serializers.IntegerField(
        source="bundle_id", read_only=True, allow_null=True, help_text="Lines of one bundle share it."
    )

    class Meta:
        model = OrderLine
        fields = [
            "sku",
            "product_name",
            "sku_name",
            "unit_price_fen",
            "quantity",
            "discount_fen",
            "total_fen",
            "kind",
            "bundle",
        ]


class ShipmentSerializer(serializers.ModelSerializer[Shipment]):
    class Meta:
        model = Shipment
        fields = ["carrier", "tracking_number", "shipped_at"]
        read_only_fields = ["shipped_at"]
        validators: list[Any] = []  # the service answers a repeated parcel with the first one


class PresaleTermsSerializer(serializers.ModelSerializer[PresaleOrder]):
    class Meta:
        model = PresaleOrder
        fields = ["balance_starts_at", "balance_ends_at", "ships_by", "keeps_deposit", "outcome"]


class OrderSerializer(serializers.ModelSerializer[Order]):
    store = serializers.CharField(source="store.code", default=None, read_only=True, allow_null=True)
    phone = serializers.SerializerMethodField(help_text="Masked without the scope members:phone.")
    lines = LineSerializer(many=True, read_only=True)
    shipments = ShipmentSerializer(many=True, read_only=True)
    payment_stage = serializers.SerializerMethodField(
        help_text="What is to be paid next: full, deposit or balance; empty when nothing is."
    )
    due_fen = serializers.SerializerMethodField(
        help_text="What the next payment costs; 0 when there is none."
    )
    due_until = serializers.SerializerMethodField(help_text="Until when it has to be paid.")
    presale = PresaleTermsSerializer(
        default=None,
        read_only=True,
        allow_null=True,
        help_text="Terms of an order paid as deposit and balance.",
    )

    class Meta:
        model = Order
        fields = [
            "id",
            "number",
            "member_id",
            "status",
            "channel",
            "external_id",
            "currency",
            "store",
            "items_fen",
            "shipping_fen",
            "discount_fen",
            "total_fen",
            "paid_fen",
            "refunded_fen",
            "payment_stage",
            "due_fen",
            "due_until",
            "deposit_fen",
            "deposit_paid_at",
            "presale",
            "receiver",
            "phone",
            "region",
            "street",
            "postal_code",
            "note",
            "placed_at",
            "paid_at",
            "shipped_at",
            "received_at",
            "cancelled_at",
            "refunded_at",
            "lines",
            "shipments",
        ]

    def get_payment_stage(self, order: Order) -> str:
        return (order.payment_stage or "full") if order.status == Order.PENDING_PAYMENT else ""

    def get_due_fen(self, order: Order) -> int:
        return order.due_fen if order.status == Order.PENDING_PAYMENT else 0

    def get_due_until(self, order: Order) -> datetime | None:
        return order.expires_at if order.status == Order.PENDING_PAYMENT else None

    @extend_schema_field(str)
    def get_phone(self, order: Order) -> str:
        return crm_services.phone_for(self.context["request"], order.phone)


class ProductFilter(django_filters.FilterSet):
    updated_since = django_filters.IsoDateTimeFilter("updated_at", "gte", label="Changed at or after")
    sku = django_filters.CharFilter("skus__code", distinct=True, label="Code of one of its SKUs")

    class Meta:
        model = Product
        fields = ["status", "category", "code"]


class StockFilter(django_filters.FilterSet):
    sku = django_filters.CharFilter("sku__code", label="Code of the SKU")
    store = django_filters.CharFilter("store__code", label="Code of the store")

    class Meta:
        model = Stock
        fields: list[str] = []


class OrderFilter(django_filters.FilterSet):
    placed_since = django_filters.IsoDateTimeFilter("placed_at", "gte", label="Placed at or after")
    placed_before = django_filters.IsoDateTimeFilter("placed_at", "lt", label="Placed before")
    paid_since = django_filters.IsoDateTimeFilter("paid_at", "gte", label="Paid at or after")

    class Meta:
        model = Order
        fields = ["status", "channel", "member"]


class ProductList(generics.ListAPIView[Product]):
    """Products of any status, with their SKUs."""

    required_scopes = {"GET": "products:read"}
    serializer_class = ProductSerializer
    filterset_class = ProductFilter
    queryset = Product.objects.none()

    def get_queryset(self) -> QuerySet[Product]:
        return rest.products_for(self.request.user)


class ProductDetail(generics.RetrieveAPIView[Product]):
    """One product with its pictures and text."""

    required_scopes = {"GET": "products:read"}
    serializer_class = ProductDetailSerializer
    queryset = Product.objects.none()

    def get_queryset(self) -> QuerySet[Product]:
        return rest.products_for(self.request.user)


class StockList(generics.ListAPIView[Stock]):
    """How many lie where. `available` is what may still be sold."""

    required_scopes = {"GET": "stock:read"}
    serializer_class = StockSerializer
    filterset_class = StockFilter
    queryset = Stock.objects.none()

    def get_queryset(self) -> QuerySet[Stock]:
        return rest.stocks_for(self.request.user)


class StockDoor(APIView):
    """A stock by the codes of its SKU and store; a stock that was never counted is made by the first write."""

    serializer_class = StockSerializer

    def sku_id(self, code: str) -> int:
        return self._pk(Sku.objects.filter(code=code))

    def store_id(self, code: str) -> int:
        return self._pk(apps.get_model("crm", "Store").objects.filter(code=code))

    def cause(self, request: Request) -> str:
        """One movement per key of this token, also when the stored answer has been forgotten."""
        key = request.headers.get("Idempotency-Key", "").strip() or uuid.uuid4().hex
        return f"api:{request.auth.pk}:{key}"

    def _pk(self, rows: QuerySet[Any]) -> int:
        pk = rows.values_list("pk", flat=True).first()
        if pk is None:
            raise Http404
        return int(pk)


class StockDetail(StockDoor):
    required_scopes = {"GET": "stock:read", "PUT": "stock:write"}

    @extend_schema(operation_id="stock_retrieve", responses=StockSerializer)
    def get(self, request: Request, sku: str, store: str) -> Response:
        """How many lie there."""
        stock = rest.stocks_for(request.user).filter(sku__code=sku, store__code=store).first()
        if stock is None:
            raise Http404
        return Response(StockSerializer(stock).data)

    @extend_schema(operation_id="stock_set", request=CountSerializer, responses=StockSerializer)
    @idempotent
    def put(self, request: Request, sku: str, store: str) -> Response:
        """Say how many were counted. Refused with 409 when open orders have reserved more."""
        counted = CountSerializer(data=request.data)
        counted.is_valid(raise_exception=True)
        stock = services.set_stock(
            sku_id=self.sku_id(sku),
            store_id=self.store_id(store),
            on_hand=counted.validated_data["on_hand"],
            note=counted.validated_data["note"],
            cause=self.cause(request),
            by=str(request.user),
        )
        return Response(StockSerializer(stock).data)


class StockAdjustments(StockDoor):
    required_scopes = {"POST": "stock:write"}

    @extend_schema(
        operation_id="stock_adjust", request=AdjustmentSerializer, responses={201: StockSerializer}
    )
    @idempotent
    def post(self, request: Request, sku: str, store: str) -> Response:
        """Add to or take from what lies there, once per Idempotency-Key."""
        adjustment = AdjustmentSerializer(data=request.data)
        adjustment.is_valid(raise_exception=True)
        stock = services.adjust_stock(
            sku_id=self.sku_id(sku),
            store_id=self.store_id(store),
            change=adjustment.validated_data["change"],
            note=adjustment.validated_data["note"],
            cause=self.cause(request),
            by=str(request.user),
        )
        return Response(StockSerializer(stock).data, status=201)


class OrderList(generics.ListAPIView[Order]):
    """Orders with their lines and parcels, oldest first."""

    required_scopes = {"GET": "orders:read"}
    serializer_class = OrderSerializer
    filterset_class = OrderFilter
    queryset = Order.objects.none()

    def get_queryset(self) -> QuerySet[Order]:
        return rest.orders_for(self.request.user)


class OrderDetail(generics.RetrieveAPIView[Order]):
    """One order by its number."""

    required_scopes = {"GET": "orders:read"}
    serializer_class = OrderSerializer
    queryset = Order.objects.none()
    lookup_field = "number"

    def get_queryset(self) -> QuerySet[Order]:
        return rest.orders_for(self.request.user)


class OrderShipments(APIView):
    required_scopes = {"POST": "orders:write"}
    serializer_class = ShipmentSerializer

    @extend_schema(operation_id="order_ship", request=ShipmentSerializer, responses={201: ShipmentSerializer})
    @idempotent
    def post(self, request: Request, number: str) -> Response:
        """Note a parcel: a paid order becomes shipped and its goods leave the stock. More parcels may follow."""
        parcel = ShipmentSerializer(data=request.data)
        parcel.is_valid(raise_exception=True)
        order_id = rest.orders_for(request.user).filter(number=number).values_list("pk", flat=True).first()
        if order_id is None:
            raise Http404
        shipment = services.ship_order(
            order_id=order_id,
            carrier=parcel.validated_data["carrier"],
            tracking_number=parcel.validated_data["tracking_number"],
            by=str(request.user),
        )
        return Response(ShipmentSerializer(shipment).data, status=201)
