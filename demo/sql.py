"""``python -m demo.sql URL SQL``: one statement on MySQL, for a machine without a MySQL client."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated
from urllib.parse import urlsplit

import pymysql
import typer


def main(
    url: Annotated[str, typer.Argument(help="mysql://user:password@host:port/database")],
    sql: Annotated[str, typer.Argument(help="One statement.")],
) -> None:
    """Run one statement and commit it; rows come as tab-separated lines."""
    place = urlsplit(url)
    try:
        with (
            closing(
                pymysql.connect(
                    host=place.hostname or "127.0.0.1",
                    port=place.port or 3306,
                    user=place.username,
                    password=place.password or "",
                    database=place.path.strip("/"),
                    autocommit=True,
                    connect_timeout=5,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            count = cursor.execute(sql)
            for row in cursor.fetchall() if cursor.description else ():
                print(*("NULL" if value is None else value for value in row), sep="\t")
    except pymysql.MySQLError as error:
        print(f"demo.sql: {error.args[-1] if error.args else error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"{count} row{'' if count == 1 else 's'}", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
