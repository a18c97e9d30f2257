"""Tables that are made at once go away again, too."""

import pytest
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState
from pgtrigger.compiler import Trigger, UpsertTriggerSql
from pgtrigger.migrations import AddTrigger

from core.migrating import AllAtOnce


@pytest.mark.django_db
def test_what_was_made_at_once_is_taken_back_in_the_opposite_order() -> None:
    """A trigger asks for its model when it goes."""
    key = ("id", models.BigAutoField(primary_key=True))
    operation = AllAtOnce(
        [
            migrations.CreateModel("Pond", [key, ("depth", models.IntegerField())]),
            migrations.CreateModel("Frog", [key, ("home", models.ForeignKey("fen.pond", models.CASCADE))]),
            AddTrigger(
                "pond",
                Trigger(
                    name="stays",
                    sql=UpsertTriggerSql(
                        func="RETURN NULL;",
                        hash="1",
                        operation="DELETE",
                        pgid="pgtrigger_stays_fen",
                        table="fen_pond",
                        when="BEFORE",
                    ),
                ),
            ),
        ]
    )
    before, after = ProjectState(), ProjectState()
    operation.state_forwards("fen", after)
    for _twice in range(2):
        with connection.schema_editor() as editor:
            operation.database_forwards("fen", editor, before, after)
        assert {"fen_pond", "fen_frog"} <= set(connection.introspection.table_names())
        with connection.schema_editor() as editor:
            operation.database_backwards("fen", editor, after, before)
        assert not {"fen_pond", "fen_frog"} & set(connection.introspection.table_names())
