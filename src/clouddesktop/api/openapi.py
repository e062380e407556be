"""The API's description as OpenAPI 3.1, made from the same descriptors that REST is served by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.descriptor import FieldDescriptor

from clouddesktop import __version__
from clouddesktop.api.calls import Method
from clouddesktop.api.openapi_schemas import Json, Schemas, json_name
from clouddesktop.api.rest import MOST_SECONDS, TIMEOUT_HEADER
from clouddesktop.api.rest_bindings import Binding

_DESCRIPTION = (
    "Images for cloud desktops. Errors are google.rpc.Status; int64 are strings in answers; fields "
    "with their default are left out. What takes time answers with an Operation, which "
    "OperationService.Get tells the state of."
)
_HEADERS: Sequence[Json] = (
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A UUID: the same request with the same key is done once.",
        "schema": {"type": "string", "format": "uuid"},
    },
    {
        "name": TIMEOUT_HEADER,
        "in": "header",
        "description": "Seconds after which the caller will have gone.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_SECONDS},
    },
)
_STATUS = "google.rpc.Status"


def build_openapi(bindings: Sequence[Binding], served: Iterable[Method]) -> Json:
    """Describe those bindings whose method is served."""
    methods = {each.path: each for each in served}
    schemas = Schemas()
    paths: dict[str, Json] = {}
    tags: dict[str, Json] = {}
    seen: set[str] = set()
    for binding in bindings:
        method = methods.get(binding.path)
        if method is None:
            continue
        service = binding.method.containing_service
        tags[service.name] = {"name": service.name, "description": service.full_name}
        operation = _operation(binding, schemas, is_open=method.is_open)
        if operation["operationId"] in seen:  # a further binding of the method
            operation["operationId"] += f"_{binding.verb.lower()}"
        seen.add(operation["operationId"])
        paths.setdefault(_path(binding), {})[binding.verb.lower()] = operation
    schemas.reference_by_name(_STATUS)
    return {
        "openapi": "3.1.0",
        "info": {"title": "clouddesktop", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [tags[name] for name in sorted(tags)],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "iamToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An IAM token, which IamTokenService.Create issues.",
                }
            },
        },
    }


def _path(binding: Binding) -> str:
    path = binding.template
    for name in binding.variables:
        path = path.replace(f"{{{name}}}", f"{{{json_name(name)}}}")
    return path


def _operation(binding: Binding, schemas: Schemas, *, is_open: bool) -> Json:
    method = binding.method
    operation: Json = {
        "operationId": f"{method.containing_service.name}_{method.name}",
        "summary": f"{method.containing_service.name}.{method.name}",
        "tags": [method.containing_service.name],
        "parameters": [*_parameters(binding, schemas), *_HEADERS],
        "responses": {
            "200": {
                "description": "The answer.",
                "content": _content(schemas.reference(method.output_type)),
            },
            "default": {
                "description": "What went wrong.",
                "content": _content({"$ref": f"#/components/schemas/{_STATUS}"}),
            },
        },
        "security": [] if is_open else [{"iamToken": []}],
    }
    if binding.body:
        schema = schemas.request_body(method.input_type, without=binding.variables)
        operation["requestBody"] = {
            "required": bool(schema.get("required")),
            "content": _content(schema),
        }
    return operation


def _parameters(binding: Binding, schemas: Schemas) -> Iterator[Json]:
    fields = binding.method.input_type.fields_by_name
    for name in binding.variables:
        yield {
            "name": json_name(name),
            "in": "path",
            "required": True,
            "schema": {**schemas.parameter(fields[name]), "minLength": 1},
        }
    if binding.body:
        return
    for field in binding.method.input_type.fields:
        if field.name not in binding.variables and _fits_the_query(field):
            yield {
                "name": json_name(field.name),
                "in": "query",
                "required": schemas.is_required(field),
                "schema": schemas.parameter(field),
            }


def _fits_the_query(field: FieldDescriptor) -> bool:
    return field.message_type is None or Schemas.has_one_value(field.message_type.full_name)


def _content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
