from django.urls import path

from wechat import webhooks

urlpatterns = [
    path("oa/<slug:key>/", webhooks.oa, name="oa"),
    path("work/<slug:key>/", webhooks.work, name="work"),
    path("pay/<slug:key>/notify/", webhooks.pay_notify, name="pay_notify"),
]
