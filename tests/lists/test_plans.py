"""Which list is served by which index: SQLite's own query plans."""

import itertools
import sqlite3
from typing import Any, get_args

import pytest

from projections.lists import COLUMNS, UNIQUE, Key, Selection, SortField, list_queries
from projections.notes import Notes
from projections.search import Search

FILTERS: list[dict[str, Any]] = [
    {},
    {"created_by": "mara"},
    {"priority": 4},
    {"priority_min": 1},
    {"priority_max": 3},
    {"priority_min": 1, "priority_max": 3, "created_by": "mara"},
]
# What the docs say is sorted: created_at has no index of its own, and what a search found has none either.
SORTED: list[SortField] = ["created_at"]


@pytest.fixture
def tables() -> sqlite3.Connection:
    """The tables as a runner makes them."""
    connection = sqlite3.connect(":memory:")
    for projection in (Notes(), Search()):
        projection.create(connection)
        projection.index(connection)
    return connection


def plan(connection: sqlite3.Connection, selection: Selection, after: Key | None) -> str:
    """The plans of all parts of the list."""
    return "; ".join(
        row[3]
        for sql, values in list_queries(selection, after)
        for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [*values, 101])
    )


@pytest.mark.parametrize("sort", get_args(SortField))
def test_orders_are_served_without_a_sort(tables: sqlite3.Connection, sort: SortField) -> None:
    """Every order with every filter, from the start and from a key on, walks an index; but for those the docs name."""
    key: Key = [5] if COLUMNS[sort] in UNIQUE else [1, 5]
    for descending, filters, after in itertools.product((False, True), FILTERS, (None, key)):
        selection = Selection(sort=sort, descending=descending, **filters)
        assert ("TEMP B-TREE" in plan(tables, selection, after)) == (sort in SORTED), (selection, after)


@pytest.mark.parametrize("descending", [False, True])
def test_a_search_in_the_order_of_ids_is_not_sorted(tables: sqlite3.Connection, descending: bool) -> None:
    """What a search finds comes in the order of ids by itself."""
    selection = Selection(words="bread", descending=descending)
    assert "TEMP B-TREE" not in plan(tables, selection, [5])


def test_the_notes_have_at_most_three_indexes(tables: sqlite3.Connection) -> None:
    """Each index costs every write: there are three, beside the ids."""
    indexes = tables.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'notes'")
    assert indexes.fetchone()[0] <= 3
