from django.urls import path

from crm import pages

urlpatterns = [
    path("login/", pages.login, name="login"),
    path("login/callback/", pages.login_callback, name="login_callback"),
    path("logout/", pages.logout, name="logout"),
    path("me/privacy/", pages.privacy, name="privacy"),
]
