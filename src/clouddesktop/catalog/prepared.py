"""Statements of the calls that are made most: compiled once, and on SQLite run by the driver.

    sa.Select, sa.Insert ── at the first run ──> text, conversions of values ──> sqlite3 ──> rows

SQLite finds a row by its key in 4 µs, and SQLAlchemy takes 25 more around that. A database that
answers over a network takes longer than both: there SQLAlchemy runs them as any other statement.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

_DIALECT = sqlite.dialect(paramstyle="named")

Convert = Callable[[Any], Any]


class Prepared:
    """A SELECT, or an INSERT of the same columns at each run; values go by their parameters' names.

    Rows are tuples that know their columns' names.
    """

    def __init__(self, statement: sa.Select[Any] | sa.Insert) -> None:
        self._statement = statement
        self._compiled: _Compiled | None = None

    def all(self, connection: sa.Connection, /, **values: Any) -> list[Any]:
        """Give every row."""
        compiled = self._find_compiled(connection, values)
        if compiled is None:
            return list(connection.execute(self._statement, values))
        return compiled.read(connection, values)

    def first(self, connection: sa.Connection, /, **values: Any) -> Any:
        """Give the first row, None if there is none."""
        rows = self.all(connection, **values)
        return rows[0] if rows else None

    def run(self, connection: sa.Connection, /, **values: Any) -> None:
        """Do what gives no rows."""
        compiled = self._find_compiled(connection, values)
        if compiled is None:
            connection.execute(self._statement, values)
        else:
            compiled.run(connection, values)

    def _find_compiled(
        self, connection: sa.Connection, values: Mapping[str, Any]
    ) -> _Compiled | None:
        """Give what the driver can run; None where SQLAlchemy has to."""
        if connection.dialect.name != _DIALECT.name:
            return None
        if self._compiled is None:
            self._compiled = _Compiled(self._statement, values)
        return self._compiled if self._compiled.is_whole else None


class _Compiled:
    """A statement as SQLite's driver takes it."""

    def __init__(self, statement: sa.Select[Any] | sa.Insert, values: Mapping[str, Any]) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT, column_keys=list(values))
        self._text = str(compiled)
        # A list of values has its text made anew for each length.
        self.is_whole = not compiled.post_compile_params
        self._constants = {
            name: bound.effective_value
            for name, bound in compiled.binds.items()
            if not bound.required
        }
        self._to_database = [
            (name, convert)
            for name, bound in compiled.binds.items()
            if (convert := bound.type.dialect_impl(_DIALECT).bind_processor(_DIALECT))
        ]
        columns = list(statement.selected_columns) if isinstance(statement, sa.Select) else []
        self._from_database = [
            (place, convert)
            for place, column in enumerate(columns)
            if (convert := column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None))
        ]
        self._row = _row_type(column.key or "" for column in columns)

    def read(self, connection: sa.Connection, values: dict[str, Any]) -> list[Any]:
        rows = self._execute(connection, values)
        if self._from_database:
            rows = [self._convert(row) for row in rows]
        return [self._row(*row) for row in rows]

    def run(self, connection: sa.Connection, values: dict[str, Any]) -> None:
        self._execute(connection, values)

    def _convert(self, row: tuple[Any, ...]) -> list[Any]:
        converted = list(row)
        for place, convert in self._from_database:
            converted[place] = convert(converted[place])
        return converted

    def _execute(self, connection: sa.Connection, values: dict[str, Any]) -> list[Any]:
        values = {**self._constants, **values}
        for name, convert in self._to_database:
            values[name] = convert(values[name])
        driver: Any = connection.connection.driver_connection
        try:
            rows: list[Any] = driver.execute(self._text, values).fetchall()
        except sqlite3.Error as error:
            # As SQLAlchemy raises it: sqlite.py finds words for those.
            raise sa.exc.DBAPIError.instance(
                self._text, values, error, sqlite3.Error, dialect=connection.dialect
            ) from error
        return rows


def _row_type(names: Iterable[str]) -> Any:
    return namedtuple("Row", list(names), rename=True)  # noqa: PYI024  (columns of any statement)
