"""The description, as the tests ask it."""

import json
import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from msgspec import Struct
from referencing import Registry, Resource

Json = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "patch")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Operation(Struct, frozen=True):
    """A method on a path as the description names it."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Description:
    """What ``/openapi.json`` says."""

    def __init__(self, document: Json) -> None:
        self.document = document
        closed = {"$schema": DIALECT, "components": {"schemas": _closed(document["components"]["schemas"])}}
        self._registry: Any = Registry().with_resource("urn:closed", Resource.from_contents(closed))

    def operations(self) -> Iterator[tuple[Operation, Json]]:
        """Each operation and what is said of it."""
        for path, methods in self.document["paths"].items():
            for method in METHODS:
                if method in methods:
                    yield Operation(method.upper(), path), methods[method]

    def responses(self) -> Iterator[tuple[Operation, int, Json]]:
        """Each status of each operation."""
        for operation, described in self.operations():
            for status, response in described["responses"].items():
                yield operation, int(status), response

    def response(self, operation: Operation, status: int) -> Json | None:
        """What is said of an answer; None: nothing."""
        described = self.document["paths"][operation.path][operation.method.lower()]
        found: Json | None = described["responses"].get(str(status))
        return found

    def operation(self, method: str, path: str) -> Operation | None:
        """Which operation a request is; None for one that is not described."""
        fitting = [one for one, _ in self.operations() if one.method == method and _fits(one.path, path)]
        return min(fitting, key=lambda operation: operation.path.count("{"), default=None)

    def parameters(self, operation: Operation, place: str) -> set[str]:
        """The names of the parameters in ``query`` or ``header``."""
        described = self.document["paths"][operation.path][operation.method.lower()]
        parameters = [self._followed(parameter) for parameter in described["parameters"]]
        return {parameter["name"] for parameter in parameters if parameter["in"] == place}

    def headers(self, response: Json) -> Iterator[tuple[str, bool]]:
        """The headers of an answer, and whether it always has them."""
        for name, header in response["headers"].items():
            yield name, self._followed(header)["required"]

    def misfits(self, schema: Json, value: Any) -> Iterator[str]:
        """What of the value does not fit; a field that is not named does not."""
        for error in self._validator(schema).iter_errors(value):
            yield f"{error.json_path}: {error.message[:200]}"

    def named_fields(self, schema: Any) -> set[tuple[str, str]]:
        """Type and name of every field that a schema leads to."""
        types = set(_types_in(schema))
        seen: set[str] = set()
        while types - seen:
            name = min(types - seen)
            seen.add(name)
            types |= set(_types_in(self._type(name)))
        return {(name, field) for name in seen for field in self._type(name).get("properties", {})}

    def fields_of(self, schema: Json, value: Any) -> Iterator[tuple[str, str]]:
        """Type and name of every field that the value has."""
        if "$ref" in schema:
            (name,) = set(_types_in({"$ref": schema["$ref"]}))
            fields = self._type(name).get("properties", {})
            yield from ((name, field) for field in value if field in fields)
            schema = self._type(name)
        for choice in schema.get("anyOf", []):
            if self._validator(choice).is_valid(value):
                yield from self.fields_of(choice, value)
        for inner, inside in _inner(schema, value):
            yield from self.fields_of(inner, inside)

    def _validator(self, schema: Json) -> Draft202012Validator:
        there = json.loads(json.dumps(schema).replace('"#/', '"urn:closed#/'))
        return Draft202012Validator(there, registry=self._registry)

    def _type(self, name: str) -> Json:
        found: Json = self.document["components"]["schemas"][name]
        return found

    def _followed(self, item: Json) -> Json:
        if "$ref" not in item:
            return item
        _, kind, name = item["$ref"].rsplit("/", 2)
        found: Json = self.document["components"][kind][name]
        return found


def kinds_of_problem(response: Json) -> set[str]:
    """The kinds of problem that an answer may be."""
    schema = response["content"].get("application/problem+json", {}).get("schema", {})
    types = schema.get("properties", {}).get("type", {}).get("enum", [])
    return {type_.rpartition("/")[2] for type_ in types}


def bare(path: str) -> str:
    """A path without the patterns of its parameters."""
    return re.sub(r"{(\w+):[^}]*}", r"{\1}", path)


def _fits(template: str, path: str) -> bool:
    pattern = re.escape(template).replace(r"\{tile\}", ".+")
    return re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", pattern), path) is not None


def _types_in(schema: Any) -> Iterator[str]:
    yield from re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(schema))


def _inner(schema: Json, value: Any) -> Iterator[tuple[Json, Any]]:
    """The schemas of what is in an object or array, each with what is there."""
    if isinstance(value, dict):
        named = schema.get("properties", {})
        others = schema.get("additionalProperties")
        inner = [(named.get(field, others), inside) for field, inside in value.items()]
    else:
        inner = [(schema.get("items"), inside) for inside in value] if isinstance(value, list) else []
    yield from ((one, inside) for one, inside in inner if isinstance(one, dict))


def _closed(schema: Any) -> Any:
    """The schema with every object closed: no field but those that are named."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    is_object = schema.get("type") == "object" and "properties" in schema
    return {"additionalProperties": False, **closed} if is_object else closed
