"""The least that an OpenAPI document lets a service answer."""

from typing import Any

ID = "01890000-0000-7000-8000-000000000001"
_BY_FORMAT = {"uuid": ID, "date-time": "2026-11-24T12:00:00Z"}
_BY_TYPE: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": False, "null": None}


def sample(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """One value that the schema allows, with every member that it describes and one item in every list."""
    if "$ref" in schema:
        return sample(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], document)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            return {name: sample(each, document) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [sample(schema["items"], document)]
        case "string":
            return _BY_FORMAT.get(schema.get("format", ""), "text")
        case kind:
            return _BY_TYPE.get(kind or "")


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"].get(
        schema.get("$ref", "").rpartition("/")[2], schema
    )
    return found
