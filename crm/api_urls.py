from django.urls import path

from crm import api

urlpatterns = [
    path("members/", api.MemberList.as_view(), name="members"),
    path("members/by-mini-code/", api.MiniLogin.as_view(), name="member-by-mini-code"),
    path("members/<int:pk>/", api.MemberDetail.as_view(), name="member"),
    path("members/<int:pk>/tags/", api.MemberTags.as_view(), name="member-tags"),
    path("tags/", api.TagList.as_view(), name="tags"),
]
