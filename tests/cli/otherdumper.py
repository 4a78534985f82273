"""The lab's other dumper, by its own statements: it selects what is free, and marks that later without a condition.

Arguments: the socket, the database, how many rows at a time, how many times. It says so when it has selected, and waits
for a line before it marks. In the end it writes where they lie, and prints their sources.
"""

from __future__ import annotations

import sys
from itertools import count
from typing import Any

import pymysql

FREE = "select source from File where is_tapeable = 1 and tape_index is null group by source order by filename limit %s"
MARK = "update File set tape_index = %s where source = %s"
PLACED = "update File set tape_index = %s, is_deletable = 1 where source = %s"


def choose(connection: Any, many: int) -> list[str]:
    """Select what is free."""
    with connection.cursor() as cursor:
        cursor.execute(FREE, (many,))
        return [source for (source,) in cursor.fetchall()]


def write(connection: Any, statement: str, named: list[tuple[str, str]]) -> None:
    """Update row by row."""
    with connection.cursor() as cursor:
        for value, source in named:
            cursor.execute(statement, (value, source))


def main() -> None:
    """Take heap after heap."""
    socket, database, many, heaps = sys.argv[1:]
    connection = pymysql.connect(
        unix_socket=socket, user="papertape", database=database, charset="utf8mb4", autocommit=True
    )
    taken: list[str] = []
    for number in range(int(heaps)):
        chosen = choose(connection, int(many))
        print("chosen", len(chosen), flush=True)
        sys.stdin.readline()
        write(connection, MARK, [(f"1004711{number:03}", source) for source in chosen])
        taken += chosen
    numbers = count(1)
    write(connection, PLACED, [(f"20261123[OLD10001,OLD20001]-0:{next(numbers)}", source) for source in taken])
    print(*taken, sep="\n", flush=True)
    connection.close()


main()
