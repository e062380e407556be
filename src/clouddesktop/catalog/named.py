"""What the resources with a name share: it is one of a kind where they lie, and can be changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sa

from clouddesktop.catalog.prepared import Prepared
from clouddesktop.errors import AlreadyExistsError
from clouddesktop.model.compute import ComputeImageChanges, ImportedImage
from clouddesktop.model.folder import Folder, FolderChanges
from clouddesktop.model.image import Image, ImageChanges
from clouddesktop.model.service_account import ServiceAccount, ServiceAccountChanges

Named = TypeVar("Named", Image, ImportedImage, ServiceAccount, Folder)
Changes = ImageChanges | ComputeImageChanges | ServiceAccountChanges | FolderChanges


class NamedRows:
    """The rows of `table`; `word` is what the API calls one, `within` the column it lies in by.

    Rows of a table that may be nameless have no name in common by having none.
    """

    def __init__(
        self,
        table: sa.Table,
        *,
        word: str,
        within: str = "folder_id",
        may_be_nameless: bool = False,
    ) -> None:
        self._table = table
        self._word = word
        self._within = within
        self._may_be_nameless = may_be_nameless
        self._find_name = Prepared(
            sa.select(table.c.id).where(
                table.c[within] == sa.bindparam("parent_id"), table.c.name == sa.bindparam("name")
            )
        )

    def check_name(self, connection: sa.Connection, row: Named, name: str) -> None:
        """See that none has a name where `row` lies.

        Raises:
            AlreadyExistsError: one has; names it.
        """
        if not name and self._may_be_nameless:
            return
        parent_id = getattr(row, self._within)
        taken = self._find_name.first(connection, parent_id=parent_id, name=name)
        if taken is not None:
            raise AlreadyExistsError(
                f"{self._word} with name {name} already exists",
                remedy="Choose another name.",
                facts={"resource_type": self._word, "resource_id": taken.id, "name": name},
            )

    def update(self, connection: sa.Connection, row: Named, changes: Changes) -> Named:
        """Change a row by what is not None, and give it as it is then.

        Raises:
            AlreadyExistsError: another one has the new name; nothing was changed.
        """
        values: dict[str, Any] = {
            name: value
            for name in changes.__dataclass_fields__
            if (value := getattr(changes, name)) is not None
        }
        if "labels" in values:
            values["labels"] = dict(values["labels"])
        if not values:
            return row
        if changes.name is not None and changes.name != row.name:
            self.check_name(connection, row, changes.name)
        connection.execute(sa.update(self._table).where(self._table.c.id == row.id).values(values))
        return replace(row, **values)
