from django.urls import path

from campaigns import pages

urlpatterns = [path("t/<str:token>/", pages.tracked_link, name="tracked_link")]
