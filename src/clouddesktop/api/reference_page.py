"""GET /openapi.json, and a page at /docs/ that shows the same to people, without scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from clouddesktop.api.openapi_schemas import Json

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
details { border: 1px solid #bbb; border-radius: 4px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
code, .verb { font-family: ui-monospace, monospace; }
.verb { display: inline-block; width: 4.5rem; font-weight: bold; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; }
"""


def reference_routes(document: Json) -> list[Route]:
    """Build the routes of the description; both are open, as gRPC's reflection is."""
    body = json.dumps(document, ensure_ascii=False).encode()
    page = "".join(_page(document))

    async def get_document(_request: Request) -> Response:
        return Response(body, media_type="application/json")

    async def get_page(_request: Request) -> Response:
        return HTMLResponse(page, headers={"content-security-policy": _POLICY})

    return [
        Route("/openapi.json", get_document, methods=["GET"]),
        Route("/docs/", get_page, methods=["GET"]),
        Route("/docs", get_page, methods=["GET"]),
    ]


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{escape(info['description'])}"
    yield ' The same for programs: <a href="/openapi.json">openapi.json</a>.</p>'
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><p><code>{escape(tag['description'])}</code></p>"
        for path, verbs in document["paths"].items():
            for verb, operation in verbs.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(path, verb, operation)
    yield "<h2>Messages</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        yield f"{_fields(schema)}</details>"
    yield "</body></html>"


def _operation(path: str, verb: str, operation: Json) -> Iterator[str]:
    yield f'<details id="{escape(operation["operationId"])}"><summary>'
    yield f'<span class="verb">{verb.upper()}</span> <code>{escape(path)}</code> '
    yield f"{escape(operation['summary'])}</summary>"
    if not operation["security"]:
        yield "<p>Needs no token.</p>"
    rows = [
        _row(each["name"], each["schema"], place=each["in"], is_required=each.get("required"))
        for each in operation["parameters"]
    ]
    yield f"<h4>Parameters</h4><table>{''.join(rows)}</table>"
    if "requestBody" in operation:
        yield f"<h4>Body</h4>{_fields(_schema_of(operation['requestBody']))}"
    answer = operation["responses"]["200"]
    yield f"<h4>Answer</h4><p>{_type(_schema_of(answer))}</p></details>"


def _schema_of(content: Json) -> Json:
    schema: Json = content["content"]["application/json"]["schema"]
    return schema


def _fields(schema: Json) -> str:
    required = schema.get("required", ())
    rows = [
        _row(name, each, is_required=name in required)
        for name, each in schema.get("properties", {}).items()
    ]
    return f"<table>{''.join(rows)}</table>" if rows else "<p>Nothing is in it.</p>"


def _row(name: str, schema: Json, *, place: str = "", is_required: Any = False) -> str:
    notes = ", ".join(
        [*([place] if place else []), *(["required"] if is_required else []), *_rules(schema)]
    )
    return f"<tr><td><code>{escape(name)}</code></td><td>{_type(schema)}</td><td>{notes}</td></tr>"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_type(schema['additionalProperties'])}"
    return escape(str(schema.get("format") or schema.get("type", "any")))


def _rules(schema: Json) -> Iterator[str]:
    for name, value in schema.items():
        if name in ("enum", "pattern", "description") or name.startswith(("min", "max")):
            shown = ", ".join(value) if isinstance(value, list) else value
            yield escape(f"{name}: {shown}")
