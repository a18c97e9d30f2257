"""Prometheus figures: requests of this process, and the queues' depths read from their rows on each scrape."""

from django.db.models import Count
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core.models import EventDelivery, Job

registry = CollectorRegistry()
requests_total = Counter(
    "pond_requests_total",
    "Requests answered by this process",
    ["method", "view", "status"],
    registry=registry,
)
request_seconds = Histogram(
    "pond_request_seconds",
    "Time to answer",
    ["view"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=registry,
)


def observe_request(*, method: str, view: str, status: int, seconds: float) -> None:
    requests_total.labels(method, view, status).inc()
    request_seconds.labels(view).observe(seconds)


def exposition() -> bytes:
    """The text for `/metrics`: this process's counters and the depth of the queues that all processes share."""
    depths = CollectorRegistry()
    deliveries = Gauge("pond_event_deliveries", "Event deliveries not done", ["status"], registry=depths)
    for status, count in (
        EventDelivery.objects.exclude(status=EventDelivery.DONE)
        .values_list("status")
        .annotate(Count("pk"))
        .order_by("status")
    ):
        deliveries.labels(status).set(count)
    open_jobs = Gauge("pond_jobs_open", "Jobs queued or running", ["status"], registry=depths)
    for status, count in (
        Job.objects.filter(status__in=[Job.QUEUED, Job.RUNNING])
        .values_list("status")
        .annotate(Count("pk"))
        .order_by("status")
    ):
        open_jobs.labels(status).set(count)
    return generate_latest(registry) + generate_latest(depths)
