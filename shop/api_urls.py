from django.urls import path

from shop import api, oms_api

urlpatterns = [
    path("products/", api.ProductList.as_view(), name="products"),
    path("products/<int:pk>/", api.ProductDetail.as_view(), name="product"),
    path("stock/", api.StockList.as_view(), name="stocks"),
    path("stock/deltas/", oms_api.StockDeltas.as_view(), name="stock-deltas"),
    path("stock/<str:sku>/<str:store>/", api.StockDetail.as_view(), name="stock"),
    path("stock/<str:sku>/<str:store>/adjustments/", api.StockAdjustments.as_view(), name="stock-adjust"),
    path("orders/", api.OrderList.as_view(), name="orders"),
    path("orders/<str:number>/", api.OrderDetail.as_view(), name="order"),
    path("orders/<str:number>/shipments/", api.OrderShipments.as_view(), name="order-ship"),
    path("fulfilments/", oms_api.FulfilmentList.as_view(), name="fulfilments"),
    path("fulfilments/<int:pk>/", oms_api.FulfilmentDetail.as_view(), name="fulfilment"),
    path("fulfilments/<int:pk>/shipments/", oms_api.FulfilmentShipments.as_view(), name="fulfilment-ship"),
    path("fulfilments/<int:pk>/ready/", oms_api.FulfilmentReady.as_view(), name="fulfilment-ready"),
    path("fulfilments/<int:pk>/reject/", oms_api.FulfilmentReject.as_view(), name="fulfilment-reject"),
    path("shipments/", oms_api.Parcels.as_view(), name="parcels"),
    path("pickups/", oms_api.Pickups.as_view(), name="pickups"),
    path("sales/", oms_api.Sales.as_view(), name="sales"),
]
