"""The latest sync of each kind and account, for the doctor's board."""

from crm.models import SyncRun


def latest_syncs() -> dict[tuple[str, int], SyncRun]:
    """(kind, account id) → its latest row. One statement."""
    rows = (
        SyncRun.objects.select_related("job").order_by("kind", "account", "-pk").distinct("kind", "account")
    )
    return {(run.kind, run.account_id): run for run in rows}
