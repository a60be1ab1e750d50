"""JSON Schemas of types, in words for people who read the descriptions."""

from collections.abc import Callable
from typing import Any

from msgspec.json import schema_components

Json = dict[str, Any]


def schemas_of(types: list[Any]) -> tuple[list[Json], Json]:
    """The schema of each type, and the named schemas that they refer to."""
    found, named = schema_components(types, ref_template="#/components/schemas/{name}")
    return [changed(schema, _in_markdown) for schema in found], changed(named, _in_markdown)


def changed(schema: Any, change: Callable[[Json], Json]) -> Any:
    """The schema with every object in it changed, from the inside out."""
    if isinstance(schema, list):
        return [changed(item, change) for item in schema]
    if isinstance(schema, dict):
        return change({key: changed(value, change) for key, value in schema.items()})
    return schema


def _in_markdown(schema: Json) -> Json:
    """Descriptions come from docstrings, which mark code with two backticks; Markdown does with one."""
    description = schema.get("description")
    return {**schema, "description": description.replace("``", "`")} if isinstance(description, str) else schema
