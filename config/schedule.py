"""Every periodic job of Pond on one page: name → task, seconds between runs, queue."""

from typing import Any

from django.conf import settings


def periodic_jobs() -> dict[str, dict[str, Any]]:
    sweep = settings.SWEEP_SECONDS

    def every(seconds: float, task: str, queue: str = "default") -> dict[str, Any]:
        # `expires`: a wake-up that waited longer than its interval has been overtaken by the next one.
        return {"task": task, "schedule": seconds, "options": {"queue": queue, "expires": max(seconds, 2)}}

    return {
        "deliver what no wake-up delivered": every(sweep, "core.tasks.sweep_events", "fast"),
        "resume jobs whose worker died": every(sweep * 5, "core.tasks.sweep_jobs", "bulk"),
    }
