"""How the REST interface describes itself: the key, the Idempotency-Key header, and the shape of errors."""

from typing import Any, Literal

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "core.api.TokenAuthentication"
    name = "ApiToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "Authorization: Bearer pond_… (后台 → 系统 → 接口令牌)",
        }


class ProblemSerializer(serializers.Serializer[dict[str, Any]]):
    """Every answer with a status of 400 or more."""

    code = serializers.CharField(help_text="Stable, for programs.")
    message = serializers.CharField(help_text="For people.")
    request_id = serializers.CharField(help_text="Quote it when you ask for help; it is in the logs.")
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="Per field what is wrong with it.",
    )


class Schema(AutoSchema):
    """Adds what all our doors share, so that no view repeats it."""

    def get_override_parameters(self) -> list[Any]:
        parameters = list(super().get_override_parameters())
        handler = getattr(self.view, self.method.lower(), None)
        action = getattr(self.view, getattr(self.view, "action", None) or "", handler)
        if getattr(action, "is_idempotent", False):
            parameters.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    str,
                    OpenApiParameter.HEADER,
                    required=self.method == "POST",
                    description="The same key has one effect and one answer for 7 days.",
                )
            )
        return parameters

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        refusals = ["401", "403", "429"]
        if self.method in ("POST", "PUT", "PATCH"):
            refusals += ["400", "409"]
        if "{" in self.path:
            refusals.append("404")
        for status in refusals:
            bodies.setdefault(status, self._get_response_for_code(ProblemSerializer, status))
        return bodies

    def get_tags(self) -> list[str]:
        """The noun after /api/v1/."""
        return [self.path.removeprefix("/api/v1/").split("/")[0]]
