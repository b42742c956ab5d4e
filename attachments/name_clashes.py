"""Tables and indexes of others that have the names of ours: told before anything is changed.

The guide's FastAPI back end has a table ``attachments`` of its own. Without this, ``migrate`` would
fail half-way, after it has changed the tables of other apps.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error
from django.core.management.base import CommandError
from django.db import connections, router
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import UniqueConstraint

CHECK_ID = "attachments.E010"
APP = "attachments"
_EXIT_STATUS = 2
# What the models do not name: migrations and triggers make them.
_OTHER_NAMES = {"attachments_filename", "attachments_usage_changes"}
_KINDS = {"i": "index", "I": "index", "v": "view", "m": "view", "S": "sequence"}
_ON_POSTGRESQL = """
SELECT relation.relname, relation.relkind::text, coalesce(owner.relname, '')
FROM pg_class AS relation
LEFT JOIN pg_index ON indexrelid = relation.oid
LEFT JOIN pg_class AS owner ON owner.oid = indrelid
WHERE relation.relnamespace = current_schema()::regnamespace AND relation.relname = ANY(%s)
ORDER BY relation.relname
"""
_ON_SQLITE = "SELECT name, type, tbl_name FROM sqlite_master WHERE name IN ({}) ORDER BY name"


class Relation(NamedTuple):
    """What has a name that only one thing in the database can have."""

    name: str
    kind: str
    table: str
    """Of an index."""


def check_names(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that nothing of others has our names, in databases where we are not at home yet."""
    return [
        Error(_describe(clash), hint=_advise(clash), id=CHECK_ID)
        for alias in databases or ()
        if router.allow_migrate(alias, APP) and not _is_migrated(alias)
        for clash in find_clashes(alias)
    ]


def stop_at_clashes(using: str, plan: Iterable[tuple[Any, bool]], **kwargs: Any) -> None:
    """Before a migrate that would make our tables: raise ``CommandError``, also without checks."""
    is_first = any(
        migration.app_label == APP and migration.initial and not is_backwards
        for migration, is_backwards in plan
    )
    if is_first and router.allow_migrate(using, APP) and (clashes := find_clashes(using)):
        lines = [f"{_describe(clash)} {_advise(clash)}" for clash in clashes]
        text = f"({CHECK_ID}) Nothing was changed. " + "\n".join(lines)
        raise CommandError(text, returncode=_EXIT_STATUS)


def find_clashes(using: str) -> list[Relation]:
    """What has the name of a table or an index of ours, and is not ours: its columns tell."""
    connection = connections[using]
    with connection.cursor() as cursor:
        found = _find_relations(connection, cursor, _list_names())
        columns = {
            relation.name: _read_columns(connection, cursor, relation.name)
            for relation in found
            if relation.kind != "index"
        }
    ours = {
        table
        for table, wanted in _list_columns().items()
        if table in columns and wanted <= columns[table]
    }
    known = ours | {"attachments_usage_changes"} if "attachments_usage" in ours else ours
    return [item for item in found if not {item.name, item.table} & known]


def _list_columns() -> dict[str, set[str]]:
    """The columns of each of our tables."""
    return {
        model._meta.db_table: {str(field.column) for field in model._meta.local_concrete_fields}
        for model in apps.get_app_config(APP).get_models()
    }


def _list_names() -> list[str]:
    names = _OTHER_NAMES | _list_columns().keys()
    for model in apps.get_app_config(APP).get_models():
        names |= {index.name for index in model._meta.indexes}
        names |= {
            constraint.name
            for constraint in model._meta.constraints
            if isinstance(constraint, UniqueConstraint)
        }
    return sorted(names)


def _find_relations(connection: Any, cursor: Any, names: list[str]) -> list[Relation]:
    if connection.vendor == "postgresql":
        cursor.execute(_ON_POSTGRESQL, [names])
        rows = [(name, _KINDS.get(kind, "table"), table) for name, kind, table in cursor.fetchall()]
    else:
        cursor.execute(_ON_SQLITE.format(", ".join(["%s"] * len(names))), names)
        rows = [
            (name, kind, table if kind == "index" else "")
            for name, kind, table in cursor.fetchall()
        ]
    return [Relation(*row) for row in rows]


def _read_columns(connection: Any, cursor: Any, table: str) -> set[str]:
    if connection.vendor == "postgresql":  # also where we may not read the table
        cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s)", [table])
    else:
        cursor.execute("SELECT name FROM pragma_table_info(%s)", [table])
    return {name for (name,) in cursor.fetchall()}


def _is_migrated(using: str) -> bool:
    applied = MigrationRecorder(connections[using]).applied_migrations()
    return any(app == APP for app, _name in applied)


def _describe(clash: Relation) -> str:
    of_table = f" of the table '{clash.table}'" if clash.table else ""
    return f"The {clash.kind} '{clash.name}'{of_table} is there already, and is not of this app."


def _advise(clash: Relation) -> str:
    new_name = f"{clash.name}_fastapi"
    if clash.kind == "index":
        return (
            f"Rename it (ALTER INDEX {clash.name} RENAME TO {new_name}; on SQLite drop it), then "
            "migrate."
        )
    rename = f"ALTER {clash.kind.upper()} {clash.name} RENAME TO {new_name}"
    if clash.name != "attachments":
        return f"Rename it ({rename}), then migrate."
    return (
        f"Rename it ({rename}), migrate, then take its files over: `manage.py adopt_attachments "
        f"--table {new_name} --dry-run`. docs/taking-over.md tells more."
    )
