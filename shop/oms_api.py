"""REST for the systems of stores and warehouses (OMS, POS): stock in bulk, what is to be sent, and counter sales.

Stores and SKUs are named by their codes. Amounts are integer fen.
"""

from typing import Any

import django_filters
from django.apps import apps
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core import clock
from core.api import idempotent
from crm import services as crm_services
from shop import queries, services
from shop.api import OrderSerializer, ShipmentSerializer, StockSerializer
from shop.models import Fulfilment, Order, Sku, StockMovement
from shop.services.fulfilment_together import MOST_TOGETHER
from shop.services.oms import SoldLine

MOST_DELTAS = 1_000


class DeltaSerializer(serializers.Serializer[Any]):
    sku = serializers.CharField(max_length=64)
    change = serializers.IntegerField(min_value=-10_000_000, max_value=10_000_000, help_text="±, not 0.")


class DeltasSerializer(serializers.Serializer[Any]):
    store = serializers.SlugField(max_length=40)
    reason = serializers.ChoiceField(
        [StockMovement.ADJUST, StockMovement.RECEIVE, StockMovement.RETURN], default=StockMovement.ADJUST
    )
    note = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    deltas = DeltaSerializer(many=True, allow_empty=False, max_length=MOST_DELTAS)  # type: ignore[call-arg]


class FulfilmentLineSerializer(serializers.Serializer[Any]):
    sku = serializers.CharField(source="sku.code")
    product_name = serializers.CharField()
    sku_name = serializers.CharField()
    quantity = serializers.SerializerMethodField()

    def get_quantity(self, line: Any) -> int:
        """Pieces still to be handed over or handed over; what was given back before is left out."""
        return int(line.quantity - line.refunded_quantity)


class FulfilmentSerializer(serializers.ModelSerializer[Fulfilment]):
    order = serializers.CharField(source="order.number", read_only=True)
    store = serializers.CharField(source="store.code", read_only=True)
    receiver = serializers.CharField(source="order.receiver", read_only=True)
    phone = serializers.SerializerMethodField(help_text="Masked without the scope members:phone.")
    region = serializers.CharField(source="order.region", read_only=True)
    street = serializers.CharField(source="order.street", read_only=True)
    postal_code = serializers.CharField(source="order.postal_code", read_only=True)
    note = serializers.CharField(source="order.note", read_only=True)
    paid_at = serializers.DateTimeField(source="order.paid_at", read_only=True)
    is_held = serializers.SerializerMethodField(help_text="A refund is under way: do not send it.")
    lines = serializers.SerializerMethodField()
    shipments = ShipmentSerializer(many=True, read_only=True)

    class Meta:
        model = Fulfilment
        fields = [
            *(
                "id",
                "order",
                "store",
                "kind",
                "state",
                "reason",
                "is_held",
                "created_at",
                "paid_at",
                "ready_at",
                "due_at",
            ),
            *(
                "done_at",
                "receiver",
                "phone",
                "region",
                "street",
                "postal_code",
                "note",
                "lines",
                "shipments",
            ),
        ]

    def get_phone(self, part: Fulfilment) -> str:
        return crm_services.phone_for(self.context["request"], part.order.phone)

    def get_is_held(self, part: Fulfilment) -> bool:
        return part.order.is_refunding

    @extend_schema(responses=FulfilmentLineSerializer(many=True))
    def get_lines(self, part: Fulfilment) -> list[dict[str, Any]]:
        return list(FulfilmentLineSerializer(queries.lines_of(part), many=True).data)


class ParcelSerializer(ShipmentSerializer):
    """One parcel for several orders: one member, one address, one store."""

    store = serializers.SlugField(max_length=40, help_text="Code of the store that sends it.")
    orders = serializers.ListField(
        child=serializers.CharField(max_length=40),
        min_length=2,
        max_length=MOST_TOGETHER,
        help_text="Numbers of the orders, of which this store's part is in the parcel.",
    )

    class Meta(ShipmentSerializer.Meta):
        fields = ["store", "orders", *ShipmentSerializer.Meta.fields]


class HandOverSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(max_length=200, help_text="Eight digits, or what the QR code says.")
    store = serializers.SlugField(max_length=40)


class BuyerSerializer(serializers.Serializer[Any]):
    """One of them: Pond's member number, a phone, or the till's own number of the customer."""

    member_id = serializers.IntegerField(min_value=1, required=False)
    phone = serializers.CharField(max_length=20, required=False)
    external_id = serializers.CharField(max_length=80, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Name the member by member_id, phone or external_id.")
        return attrs


class SaleLineSerializer(serializers.Serializer[Any]):
    sku = serializers.CharField(max_length=64)
    quantity = serializers.IntegerField(min_value=1, max_value=99_999)
    total_fen = serializers.IntegerField(
        min_value=0, max_value=10_000_000_000, help_text="Paid for the line, discounts of the till taken off."
    )


class SaleSerializer(serializers.Serializer[Any]):
    store = serializers.SlugField(max_length=40)
    number = serializers.CharField(
        max_length=80, help_text="Of the receipt: a repeated one answers the first."
    )
    sold_at = serializers.DateTimeField(required=False, help_text="Now, when left out.")
    member = BuyerSerializer(required=False)
    lines = SaleLineSerializer(many=True, allow_empty=False, max_length=200)  # type: ignore[call-arg]
    note = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class FulfilmentFilter(django_filters.FilterSet):
    store = django_filters.CharFilter("store__code", label="Code of the store")
    created_since = django_filters.IsoDateTimeFilter("created_at", "gte", label="Paid at or after")
    order = django_filters.CharFilter("order__number", label="Number of the order")

    class Meta:
        model = Fulfilment
        fields = ["state", "kind"]


def _store_id(code: str) -> int:
    pk = apps.get_model("crm", "Store").objects.filter(code=code).values_list("pk", flat=True).first()
    if pk is None:
        raise Http404
    return int(pk)


def _sku_ids(codes: list[str]) -> dict[str, int]:
    """Code → id. Raises ValidationError naming the codes that nobody knows."""
    known = dict(Sku.objects.filter(code__in=codes).values_list("code", "pk"))
    unknown = sorted(set(codes) - known.keys())
    if unknown:
        raise serializers.ValidationError({"sku": [f"Unknown: {', '.join(unknown[:20])}"]})
    return known


class StockDeltas(APIView):
    required_scopes = {"POST": "stock:write"}
    serializer_class = DeltasSerializer

    @extend_schema(
        operation_id="stock_deltas", request=DeltasSerializer, responses={201: StockSerializer(many=True)}
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Add to or take from many SKUs of one store: all or nothing, once per Idempotency-Key."""
        sent = DeltasSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        values = sent.validated_data
        ids = _sku_ids([row["sku"] for row in values["deltas"]])
        stocks = services.change_stocks(
            store_id=_store_id(values["store"]),
            changes=[(ids[row["sku"]], row["change"]) for row in values["deltas"]],
            cause=f"api:{request.auth.pk}:{request.headers['Idempotency-Key'].strip()}",
            reason=values["reason"],
            note=values["note"],
            by=str(request.user),
        )
        return Response(StockSerializer(stocks, many=True).data, status=201)


class FulfilmentList(generics.ListAPIView[Fulfilment]):
    """What stores have to hand over, oldest first; `?state=waiting&store=CODE` is a store's work list."""

    required_scopes = {"GET": "orders:read"}
    serializer_class = FulfilmentSerializer
    filterset_class = FulfilmentFilter
    queryset = Fulfilment.objects.none()

    def get_queryset(self) -> QuerySet[Fulfilment]:
        return queries.fulfilments_for(self.request.user)


class FulfilmentDetail(generics.RetrieveAPIView[Fulfilment]):
    """One of them by its number."""

    required_scopes = {"GET": "orders:read"}
    serializer_class = FulfilmentSerializer
    queryset = Fulfilment.objects.none()

    def get_queryset(self) -> QuerySet[Fulfilment]:
        return queries.fulfilments_for(self.request.user)


class FulfilmentShipments(APIView):
    required_scopes = {"POST": "orders:write"}
    serializer_class = ShipmentSerializer

    @extend_schema(
        operation_id="fulfilment_ship", request=ShipmentSerializer, responses={201: ShipmentSerializer}
    )
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        """Note the parcel of this store's part; the order is shipped when every part has left."""
        parcel = ShipmentSerializer(data=request.data)
        parcel.is_valid(raise_exception=True)
        part = queries.fulfilments_for(request.user).filter(pk=pk).first()
        if part is None:
            raise Http404
        shipment = services.ship_order(
            order_id=part.order_id,
            store_id=part.store_id,
            carrier=parcel.validated_data["carrier"],
            tracking_number=parcel.validated_data["tracking_number"],
            by=str(request.user),
        )
        return Response(ShipmentSerializer(shipment).data, status=201)


class Parcels(APIView):
    required_scopes = {"POST": "orders:write"}
    serializer_class = ParcelSerializer

    @extend_schema(operation_id="parcel_ship", request=ParcelSerializer, responses={201: ParcelSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Send what a store has of several orders in one parcel: all of them or, with 409, none."""
        sent = ParcelSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        values = sent.validated_data
        numbers = sorted(set(values["orders"]))
        parts = queries.fulfilments_for(request.user).filter(
            store_id=_store_id(values["store"]), order__number__in=numbers
        )
        found = {part.order.number: part.pk for part in parts}
        if unknown := [number for number in numbers if number not in found]:
            raise serializers.ValidationError({"orders": [f"Not from this store: {', '.join(unknown)}"]})
        shipment = services.ship_together(
            fulfilment_ids=found.values(),
            carrier=values["carrier"],
            tracking_number=values["tracking_number"],
            by=str(request.user),
        )
        told = {"store": values["store"], "orders": numbers, **ShipmentSerializer(shipment).data}
        return Response(told, status=201)


class FulfilmentReady(APIView):
    required_scopes = {"POST": "orders:write"}
    serializer_class = FulfilmentSerializer

    @extend_schema(operation_id="fulfilment_ready", request=None, responses={201: FulfilmentSerializer})
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        """A pickup lies ready at the counter: the shopper is told."""
        services.mark_ready(fulfilment_id=pk, by=str(request.user))
        part = queries.fulfilments_for(request.user).get(pk=pk)
        return Response(FulfilmentSerializer(part, context={"request": request}).data, status=201)


class RejectionSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=200)
    store = serializers.SlugField(
        max_length=40, required=False, help_text="Who sends it instead; left out, routing decides."
    )


class FulfilmentReject(APIView):
    required_scopes = {"POST": "orders:write"}
    serializer_class = RejectionSerializer

    @extend_schema(
        operation_id="fulfilment_reject",
        request=RejectionSerializer,
        responses={201: FulfilmentSerializer(many=True)},
    )
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        """This store cannot serve its part: the answer says which stores do. Refused with 409 when none can."""
        sent = RejectionSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        if not queries.fulfilments_for(request.user).filter(pk=pk).exists():
            raise Http404
        code = sent.validated_data.get("store")
        served = services.reroute_fulfilment(
            fulfilment_id=pk,
            reason=sent.validated_data["reason"],
            store_id=_store_id(code) if code else None,
            by=str(request.user),
        )
        parts = queries.fulfilments_for(request.user).filter(pk__in=[one.pk for one in served])
        shown = FulfilmentSerializer(parts.order_by("pk"), many=True, context={"request": request})
        return Response(shown.data, status=201)


class Pickups(APIView):
    required_scopes = {"POST": "orders:write"}
    serializer_class = HandOverSerializer

    @extend_schema(
        operation_id="pickup_redeem", request=HandOverSerializer, responses={201: FulfilmentSerializer}
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Hand an order over against its code, once; a used code, another store or a refund is refused with 409."""
        sent = HandOverSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        part = services.redeem_pickup(
            code=services.pickup_code(sent.validated_data["code"]),
            store_id=_store_id(sent.validated_data["store"]),
            by=str(request.user),
        )
        shown = queries.fulfilments_for(request.user).get(pk=part.pk)
        return Response(FulfilmentSerializer(shown, context={"request": request}).data, status=201)


class Sales(APIView):
    required_scopes = {"POST": "sales:write"}
    serializer_class = SaleSerializer

    @extend_schema(operation_id="sale_record", request=SaleSerializer, responses={201: OrderSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """A sale over a store's counter: into the member's history, out of that store's stock. Once per receipt."""
        sent = SaleSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        values = sent.validated_data
        store_id = _store_id(values["store"])
        ids = _sku_ids([row["sku"] for row in values["lines"]])
        order = services.record_sale(
            store_id=store_id,
            number=values["number"],
            lines=[SoldLine(ids[row["sku"]], row["quantity"], row["total_fen"]) for row in values["lines"]],
            sold_at=values.get("sold_at") or clock.now(),
            member_id=services.buyer_of_sale(**values["member"]) if values.get("member") else None,
            note=values["note"],
            by=str(request.user),
        )
        shown = (
            Order.objects.prefetch_related("lines__sku", "shipments")
            .select_related("store", "presale")
            .get(pk=order.pk)
        )
        return Response(OrderSerializer(shown, context={"request": request}).data, status=201)
