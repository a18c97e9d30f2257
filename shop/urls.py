"""The shop's mobile pages. A page function, its URL and its template share one name."""

from django.urls import path

from shop.pages import browse, cart, checkout, finding, me, orders, pickup, tracking

urlpatterns = [
    path("", browse.home, name="home"),
    path("category/", browse.categories, name="categories"),
    path("category/<int:pk>/", browse.category, name="category"),
    path("search/", finding.search, name="search"),
    path("search/suggest/", finding.suggest, name="suggest"),
    path("search/filters/", finding.filters, name="filters"),
    path("search/forget/", finding.forget_words, name="forget_words"),
    path("p/<int:pk>/", browse.product, name="product"),
    path("p/<int:pk>/choose/", cart.choose, name="choose"),
    path("cart/", cart.cart, name="cart"),
    path("cart/lines/<int:sku_id>/", cart.cart_line, name="cart_line"),
    path("cart/checkout/", cart.cart_checkout, name="cart_checkout"),
    path("checkout/", checkout.checkout, name="checkout"),
    path("pay/<str:number>/", checkout.pay, name="pay"),
    path("pay/<str:number>/state/", checkout.pay_state, name="pay_state"),
    path("orders/", orders.orders, name="orders"),
    path("orders/<str:number>/", orders.order, name="order"),
    path("orders/<str:number>/tracking/", tracking.tracking, name="tracking"),
    path("orders/<str:number>/cancel/", orders.order_cancel, name="order_cancel"),
    path("orders/<str:number>/receive/", orders.order_receive, name="order_receive"),
    path("staff/pickup/", pickup.pickup, name="pickup"),
    path("me/", me.me, name="me"),
    path("addresses/", me.addresses, name="addresses"),
    path("addresses/new/", me.address_new, name="address_new"),
    path("addresses/<int:pk>/", me.address, name="address"),
    path("addresses/<int:pk>/default/", me.address_default, name="address_default"),
    path("addresses/<int:pk>/delete/", me.address_delete, name="address_delete"),
]
