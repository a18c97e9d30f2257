"""Two small REST doors to try the shared ground on, alone."""

from typing import Any

from django.urls import path
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core import clock, pages
from core.api import idempotent
from core.errors import Conflict
from core.models import Job

handler404, handler500 = pages.not_found, pages.server_error


class PotSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField(read_only=True)
    kind = serializers.CharField(max_length=20)


class Pots(generics.ListAPIView[Job]):
    required_scopes = {"GET": "stock:read", "POST": "stock:write"}
    serializer_class = PotSerializer
    queryset = Job.objects.all()

    @idempotent
    def post(self, request: Request) -> Response:
        pot = PotSerializer(data=request.data)
        pot.is_valid(raise_exception=True)
        job = Job.objects.create(kind=pot.validated_data["kind"], created_at=clock.now())
        if job.kind == "broken":
            raise Conflict("这个花瓶碎了。", code="pot_broken")
        if job.kind == "explosive":
            raise ZeroDivisionError
        return Response({"id": job.pk, "kind": job.kind}, status=201)


class Kiln(APIView):
    """Names no scope for DELETE: that stays closed."""

    required_scopes = {"GET": "members:phone"}

    def get(self, request: Request) -> Response:
        return Response({"phone": request.user.has_perm("crm.view_phone"), "who": str(request.user)})

    def delete(self, request: Request) -> Response:
        raise AssertionError("closed")


urlpatterns = [path("api/v1/pots/", Pots.as_view()), path("api/v1/kiln/", Kiln.as_view())]
