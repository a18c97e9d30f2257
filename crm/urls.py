from django.urls import path

from crm import guide_pages, mydata_pages, pages, phones_pages, sidebar_pages

urlpatterns = [
    path("login/", pages.login, name="login"),
    path("login/callback/", pages.login_callback, name="login_callback"),
    path("logout/", pages.logout, name="logout"),
    path("me/privacy/", pages.privacy, name="privacy"),
    path("me/data/", mydata_pages.my_data, name="my_data"),
    path("me/data/correct/", mydata_pages.my_data_correct, name="my_data_correct"),
    path("me/data/export/", mydata_pages.my_data_export, name="my_data_export"),
    path("me/data/withdraw/", mydata_pages.my_data_withdraw, name="my_data_withdraw"),
    path("me/data/erase/", mydata_pages.my_data_erase, name="my_data_erase"),
    path("me/phone/", phones_pages.phone, name="phone"),
    path("me/phone/confirm/", phones_pages.phone_confirm, name="phone_confirm"),
    path("me/phone/drop/", phones_pages.phone_drop, name="phone_drop"),
    path("guide/", guide_pages.guide, name="guide"),
    path("guide/members/<int:member_id>/", guide_pages.guide_member, name="guide_member"),
    path("guide/members/<int:member_id>/tags/", guide_pages.guide_tags, name="guide_tags"),
    path("guide/members/<int:member_id>/facts/", guide_pages.guide_facts, name="guide_facts"),
    path("guide/members/<int:member_id>/consent/", guide_pages.guide_consent, name="guide_consent"),
    path("guide/members/<int:member_id>/phones/", guide_pages.guide_phones, name="guide_phones"),
    path("guide/members/<int:member_id>/why/<int:segment_id>/", guide_pages.guide_why, name="guide_why"),
    path("crm/sidebar/<slug:key>/", sidebar_pages.sidebar, name="sidebar"),
    path("crm/sidebar/<slug:key>/login/", sidebar_pages.sidebar_login, name="sidebar_login"),
    path("crm/sidebar/<slug:key>/tags/", sidebar_pages.sidebar_tags, name="sidebar_tags"),
]
