from django.urls import path

from shop import api

urlpatterns = [
    path("products/", api.ProductList.as_view(), name="products"),
    path("products/<int:pk>/", api.ProductDetail.as_view(), name="product"),
    path("stock/", api.StockList.as_view(), name="stocks"),
    path("stock/<str:sku>/<str:store>/", api.StockDetail.as_view(), name="stock"),
    path("stock/<str:sku>/<str:store>/adjustments/", api.StockAdjustments.as_view(), name="stock-adjust"),
    path("orders/", api.OrderList.as_view(), name="orders"),
    path("orders/<str:number>/", api.OrderDetail.as_view(), name="order"),
    path("orders/<str:number>/shipments/", api.OrderShipments.as_view(), name="order-ship"),
]
