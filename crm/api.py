"""REST: members for ERP, POS and mini programs to read, their tags to read and change. Amounts are integer fen."""

from typing import Any

import django_filters
from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import idempotent
from crm import queries, services
from crm.models import Identity, Member, MemberStats, MemberTag, Segment, Tag
from wechat import queries as wechat_queries
from wechat import services as wechat
from wechat.models import Account


class IdentitySerializer(serializers.ModelSerializer[Identity]):
    account = serializers.CharField(source="account.key", default="", read_only=True)
    value = serializers.SerializerMethodField(method_name="shown_value")

    class Meta:
        model = Identity
        fields = ["kind", "account", "value", "is_verified", "is_following", "followed_at", "unfollowed_at"]

    def shown_value(self, identity: Identity) -> str:
        """Whole phone numbers only for keys with the scope members:phone."""
        if identity.hidden == identity.value:
            return identity.value
        return services.phone_for(self.context["request"], identity.value)


class StatsSerializer(serializers.ModelSerializer[MemberStats]):
    class Meta:
        model = MemberStats
        fields = [
            "orders_count",
            "paid_fen",
            "refunded_fen",
            "first_paid_at",
            "last_paid_at",
            "last_active_at",
            "last_touch_at",
            "visits_count",
            "marketing_consent",
        ]


class TagSerializer(serializers.ModelSerializer[Tag]):
    group = serializers.CharField(source="group.name", read_only=True)

    class Meta:
        model = Tag
        fields = ["id", "name", "group"]


class MemberSerializer(serializers.ModelSerializer[Member]):
    source_name = serializers.CharField(source="source.name", default="", read_only=True)
    stats = StatsSerializer(read_only=True)
    tags = serializers.SerializerMethodField()

    class Meta:
        model = Member
        fields = [
            "id",
            "name",
            "avatar_url",
            "birthday",
            "tier",
            "joined_via",
            "source_name",
            "created_at",
            "stats",
            "tags",
        ]

    @extend_schema_field(TagSerializer(many=True))
    def get_tags(self, member: Member) -> list[dict[str, Any]]:
        return [
            {"id": carried.tag_id, "name": carried.tag.name, "group": carried.tag.group.name}
            for carried in member.member_tags.all()
        ]


class MemberDetailSerializer(MemberSerializer):
    identities = IdentitySerializer(many=True, read_only=True)

    class Meta(MemberSerializer.Meta):
        fields = [*MemberSerializer.Meta.fields, "identities"]


class MemberFilter(django_filters.FilterSet):
    identity = django_filters.CharFilter(method="by_identity", help_text="An identity's whole value.")
    tag = django_filters.NumberFilter(method="by_tag", help_text="A tag's id.")
    segment = django_filters.NumberFilter(method="by_segment", help_text="A segment's id.")
    created_after = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    paid_after = django_filters.IsoDateTimeFilter(field_name="stats__last_paid_at", lookup_expr="gte")

    class Meta:
        model = Member
        fields: list[str] = []

    def by_identity(self, members: QuerySet[Member], name: str, value: str) -> QuerySet[Member]:
        return members.filter(Exists(Identity.objects.filter(member=OuterRef("pk"), value=value)))

    def by_tag(self, members: QuerySet[Member], name: str, value: int) -> QuerySet[Member]:
        return members.filter(Exists(MemberTag.objects.filter(member=OuterRef("pk"), tag=int(value))))

    def by_segment(self, members: QuerySet[Member], name: str, value: int) -> QuerySet[Member]:
        segment = Segment.objects.filter(pk=int(value)).first()
        return members.filter(pk__in=queries.members_in(segment)) if segment else members.none()


def member_rows() -> QuerySet[Member]:
    tags = MemberTag.objects.select_related("tag__group").order_by("pk")
    rows = Member.objects.known().select_related("stats", "source")
    return rows.prefetch_related(Prefetch("member_tags", queryset=tags))


def member_details() -> QuerySet[Member]:
    identities = Identity.objects.select_related("account").order_by("pk")
    return member_rows().prefetch_related(Prefetch("identities", queryset=identities))


class MemberList(generics.ListAPIView[Member]):
    """Living members by id; merged ones are gone from here."""

    required_scopes = {"GET": "members:read"}
    serializer_class = MemberSerializer
    filterset_class = MemberFilter
    queryset = member_rows()


class MemberDetail(generics.RetrieveAPIView[Member]):
    """One member with her identities. The number of a merged member answers 404: ask by an identity instead."""

    required_scopes = {"GET": "members:read"}
    serializer_class = MemberDetailSerializer

    def get_queryset(self) -> QuerySet[Member]:
        return member_details()


class MiniLoginSerializer(serializers.Serializer[Any]):
    account = serializers.SlugField(max_length=40, help_text="Key of the mini program's account.")
    code = serializers.CharField(max_length=128, help_text="What wx.login gave; works once.")


class MiniLogin(APIView):
    """Who uses the mini program: its backend hands over the code of `wx.login`. A member is born when nobody knows
    her, and is one with the follower of an official account of the same Open Platform.
    """

    required_scopes = {"POST": "members:write"}

    @extend_schema(request=MiniLoginSerializer, responses={200: MemberDetailSerializer})
    def post(self, request: Request) -> Response:
        asked = MiniLoginSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        account = wechat_queries.find_account(Account.MINI, asked.validated_data["account"])
        if account is None:
            raise Http404
        person = wechat.mini_person(account_id=account.pk, code=asked.validated_data["code"])
        member = services.member_for_openid(
            account_id=account.pk, openid=person.openid, unionid=person.unionid, via=Member.LOGIN
        )
        shown = member_details().get(pk=member.pk)
        return Response(MemberDetailSerializer(shown, context={"request": request}).data)


class TagChangeSerializer(serializers.Serializer[Any]):
    add = serializers.ListField(child=serializers.IntegerField(min_value=1), default=list, max_length=50)
    remove = serializers.ListField(child=serializers.IntegerField(min_value=1), default=list, max_length=50)


class MemberTags(APIView):
    """Put tags on a member and take them off; says how many changed. Unknown tags change nothing."""

    required_scopes = {"POST": "members:write"}

    @extend_schema(request=TagChangeSerializer, responses={200: TagSerializer(many=True)})
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        change = TagChangeSerializer(data=request.data)
        change.is_valid(raise_exception=True)
        member = services.living_member(pk)
        origin = f"api:{request.auth.pk}"
        services.add_tags(member_ids=[member.pk], tag_ids=change.validated_data["add"], origin=origin)
        services.remove_tags(member_ids=[member.pk], tag_ids=change.validated_data["remove"], origin=origin)
        tags = Tag.objects.filter(member_tags__member=member).select_related("group")
        return Response(TagSerializer(tags, many=True).data)


class TagList(generics.ListAPIView[Tag]):
    required_scopes = {"GET": "members:read"}
    serializer_class = TagSerializer
    filterset_fields = ["group"]
    queryset = Tag.objects.select_related("group")
