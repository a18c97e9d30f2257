"""Alarm clocks of the shop: each wakes a service that finds its own due rows."""

from celery import shared_task

from shop import services


@shared_task(name="shop.tasks.expire_orders")
def expire_orders() -> int:
    return services.expire_orders()


@shared_task(name="shop.tasks.query_lost_payments")
def query_lost_payments() -> int:
    return services.query_lost_payments() + services.query_lost_direct()


@shared_task(name="shop.tasks.send_refunds")
def send_refunds() -> int:
    return services.send_refunds() + services.send_direct_refunds()


@shared_task(name="shop.tasks.receive_due_orders")
def receive_due_orders() -> int:
    return services.receive_due_orders()


@shared_task(name="shop.tasks.reconcile")
def reconcile() -> int:
    return services.reconcile()


@shared_task(name="shop.tasks.refresh_sold_counts")
def refresh_sold_counts() -> int:
    return services.refresh_sold_counts()


@shared_task(name="shop.tasks.expire_coupons")
def expire_coupons() -> int:
    return services.expire_coupons()


@shared_task(name="shop.tasks.expire_vouchers")
def expire_vouchers() -> int:
    return services.expire_vouchers()


@shared_task(name="shop.tasks.remind_of_vouchers")
def remind_of_vouchers() -> int:
    return services.remind_of_vouchers()


@shared_task(name="shop.tasks.remind_unpaid")
def remind_unpaid() -> int:
    return services.remind_unpaid()


@shared_task(name="shop.tasks.remind_of_balances")
def remind_of_balances() -> int:
    return services.remind_of_balances()


@shared_task(name="shop.tasks.ask_carriers")
def ask_carriers() -> int:
    return services.ask_carriers()


@shared_task(name="shop.tasks.shelve_due_products")
def shelve_due_products() -> int:
    return services.shelve_due_products()


@shared_task(name="shop.tasks.refresh_stock_marks")
def refresh_stock_marks() -> int:
    return services.refresh_stock_marks()


@shared_task(name="shop.tasks.plan_slots")
def plan_slots() -> int:
    return services.plan_all_slots()


@shared_task(name="shop.tasks.send_booking_reminders")
def send_booking_reminders() -> int:
    return services.send_booking_reminders()


@shared_task(name="shop.tasks.send_stock_notices")
def send_stock_notices() -> int:
    return services.send_stock_notices()


@shared_task(name="shop.tasks.close_past_bookings")
def close_past_bookings() -> int:
    return services.mark_no_shows() + services.close_past_queues()


@shared_task(name="shop.tasks.settle_due_aftersales")
def settle_due_aftersales() -> int:
    return services.settle_due_aftersales()


@shared_task(name="shop.tasks.settle_uncollected")
def settle_uncollected() -> int:
    return services.settle_uncollected()


@shared_task(name="shop.tasks.ask_for_reviews")
def ask_for_reviews() -> int:
    return services.ask_for_reviews()


@shared_task(name="shop.tasks.free_due_points")
def free_due_points() -> int:
    return services.free_due_points()


@shared_task(name="shop.tasks.tell_waiting_again")
def tell_waiting_again() -> int:
    return services.tell_waiting_again()
