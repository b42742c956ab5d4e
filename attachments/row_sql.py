"""Single rows read and written in plain SQL.

Every upload needs these statements, and Django takes longer to write each of them than PostgreSQL
to run it. Here a statement is written once per process. Each column stands by its name: a newer
release may add some while this one runs.
"""
# ruff: noqa: S608 (no input in any of it)

from collections.abc import Sequence
from functools import cache
from typing import Any, Self

from django.db import connections, models, router

_ALWAYS = models.Q()


class PlainSqlModel(models.Model):
    """A model whose single rows are found, inserted and changed in plain SQL."""

    class Meta:
        abstract = True

    @classmethod
    def find(cls, pk: Any) -> Self | None:
        """The row with this key, whoever may see it.

        By the key alone: with the user, and without statistics, PostgreSQL walks through all that
        they have.
        """
        using = cls._default_manager.db
        connection = connections[using]
        key = cls._meta.pk.get_db_prep_value(pk, connection, prepared=False)
        with connection.cursor() as cursor:
            cursor.execute(_spell_find(cls, using), [key])
            row = cursor.fetchone()
        if row is None:
            return None
        values = list(row)
        for index, (converters, column) in _get_converters(cls, using).items():
            for convert in converters:
                values[index] = convert(values[index], column, connection)
        return cls.from_db(using, _get_attnames(cls), values)

    @classmethod
    def insert(cls, rows: Sequence[Self]) -> None:
        """Insert new rows, all or none, in one statement.

        As ``bulk_create``, it sends no signals. Raises ``IntegrityError``.
        """
        using = router.db_for_write(cls)
        connection = connections[using]
        values = [_collect(row, using) for row in rows]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql" and len(rows) > 1:
                columns = [list(column) for column in zip(*values, strict=True)]
                cursor.execute(_spell_insert_arrays(cls, using), columns)
            else:
                params = [value for row in values for value in row]
                cursor.execute(_spell_insert(cls, using, len(rows)), params)
        for row in rows:
            row._state.adding, row._state.db = False, using

    @classmethod
    def insert_if(cls, condition: str, params: Sequence[Any], row: Self) -> bool:
        """Insert a new row if this SQL is true, in one statement; give whether it was.

        ``condition`` is a constant of the caller: the statement is kept. Raises ``IntegrityError``.
        """
        using = router.db_for_write(cls)
        with connections[using].cursor() as cursor:
            cursor.execute(
                _spell_insert_if(cls, using, condition), [*_collect(row, using), *params]
            )
            is_there = bool(cursor.rowcount)
        if is_there:
            row._state.adding, row._state.db = False, using
        return is_there

    def change(
        self, *, where: dict[str, Any], and_where: models.Q = _ALWAYS, **fields: Any
    ) -> bool:
        """Change the row if its fields are as ``where`` has them, and ``and_where`` holds.

        Gives whether it was; then the instance is changed alike, but for values that the database
        computes. These and ``and_where`` are constants of the caller: their SQL is kept.
        """
        model, using = type(self), router.db_for_write(type(self))
        where = {self._meta.pk.attname: self.pk, **where}
        values = {name: value for name, value in fields.items() if not _is_expression(value)}
        expressions = tuple((name, fields[name]) for name in fields if name not in values)
        statement, of_expressions, of_and_where = _spell_change(
            model,
            using,
            values=tuple(values),
            expressions=expressions,
            where=tuple(where),
            and_where=and_where,
        )
        params = [
            *_prepare(model, using, values),
            *of_expressions,
            *_prepare(model, using, where),
            *of_and_where,
        ]
        with connections[using].cursor() as cursor:
            cursor.execute(statement, params)
            if not cursor.rowcount:
                return False
        for name, value in values.items():
            setattr(self, name, value)
        return True


def _collect(row: models.Model, using: str) -> list[Any]:
    """The values of a new row."""
    connection = connections[using]
    return [
        field.get_db_prep_save(field.pre_save(row, add=True), connection)
        for field in row._meta.concrete_fields
    ]


def _is_expression(value: Any) -> bool:
    return hasattr(value, "resolve_expression")


def _prepare(model: type[models.Model], using: str, values: dict[str, Any]) -> list[Any]:
    """The values as the database takes them."""
    return [
        model._meta.get_field(name).get_db_prep_save(value, connections[using])  # type: ignore[union-attr]
        for name, value in values.items()
    ]


@cache
def _spell_find(model: type[models.Model], using: str) -> str:
    pk = _spell_column(model, using, "pk")
    return (
        f"SELECT {_spell_columns(model, using)} FROM {_spell_table(model, using)} WHERE {pk} = %s"
    )


@cache
def _get_converters(model: type[models.Model], using: str) -> dict[int, tuple[list[Any], Any]]:
    """What makes values of the database those of the fields, by the place of the column."""
    compiler = model._default_manager.using(using).query.get_compiler(using)
    table = model._meta.db_table
    columns = [field.get_col(table) for field in model._meta.concrete_fields]
    return compiler.get_converters(columns)  # type: ignore[no-any-return]


@cache
def _get_attnames(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


@cache
def _spell_insert(model: type[models.Model], using: str, rows: int) -> str:
    row = f"({_spell_values(model)})"
    return f"{_spell_target(model, using)} VALUES {', '.join([row] * rows)}"


@cache
def _spell_insert_if(model: type[models.Model], using: str, condition: str) -> str:
    return f"{_spell_target(model, using)} SELECT {_spell_values(model)} WHERE {condition}"


@cache
def _spell_insert_arrays(model: type[models.Model], using: str) -> str:
    """The same for any number of rows, by columns: psycopg parses hundreds of %s anew each time."""
    fields = model._meta.concrete_fields
    arrays = ", ".join(f"%s::{field.db_type(connections[using])}[]" for field in fields)
    return f"{_spell_target(model, using)} SELECT * FROM unnest({arrays})"


def _spell_target(model: type[models.Model], using: str) -> str:
    return f"INSERT INTO {_spell_table(model, using)} ({_spell_columns(model, using)})"


@cache
def _spell_change(
    model: type[models.Model],
    using: str,
    *,
    values: tuple[str, ...],
    expressions: tuple[tuple[str, Any], ...],
    where: tuple[str, ...],
    and_where: models.Q,
) -> tuple[str, list[Any], list[Any]]:
    """The statement, and the parameters that its expressions and its condition bring."""
    query = model._default_manager.using(using).query
    compiler = query.get_compiler(using)
    changes = [f"{_spell_column(model, using, name)} = %s" for name in values]
    of_expressions: list[Any] = []
    for name, expression in expressions:
        sql, params = compiler.compile(expression.resolve_expression(query))
        changes.append(f"{_spell_column(model, using, name)} = {sql}")
        of_expressions += params
    conditions = [f"{_spell_column(model, using, name)} = %s" for name in where]
    of_and_where: list[Any] = []
    if and_where:
        sql, params = compiler.compile(query.build_where(and_where))
        conditions.append(f"({sql})")
        of_and_where += params
    statement = (
        f"UPDATE {_spell_table(model, using)} SET {', '.join(changes)} "
        f"WHERE {' AND '.join(conditions)}"
    )
    return statement, of_expressions, of_and_where


def _spell_values(model: type[models.Model]) -> str:
    return ", ".join(["%s"] * len(model._meta.concrete_fields))


def _spell_columns(model: type[models.Model], using: str) -> str:
    quote = connections[using].ops.quote_name
    return ", ".join(quote(str(field.column)) for field in model._meta.concrete_fields)


def _spell_column(model: type[models.Model], using: str, name: str) -> str:
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    return connections[using].ops.quote_name(str(field.column))  # type: ignore[union-attr]


def _spell_table(model: type[models.Model], using: str) -> str:
    return connections[using].ops.quote_name(model._meta.db_table)
