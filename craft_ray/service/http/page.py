"""What the OpenAPI page says of requests and answers, beside what FastAPI knows by itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from craft_ray.oracle.endpoints.tensor_body import MEDIA_TYPE
from craft_ray.service.http import problems as told

ADMISSION = (401, 403, 429, 503)
"""Any request may meet these."""
BODY = (400, 408, 413, 422)
"""Any request with a body."""
ANSWERS = (404, 409, 410, 415)
"""A question about what was registered, which is charged once."""
TENSORS = {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "for programs"},
        "detail": {"type": "string", "description": "for people"},
    },
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that may refuse with these."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {told.MEDIA_TYPE: {"schema": PROBLEM}},
        }
        for status in sorted(statuses)
    }


TASK = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["class_names", "template"],
                    "properties": {
                        "class_names": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "minLength": 1},
                        },
                        "template": {"type": "string", "pattern": r"\{\}"},
                        "prompts": {
                            "type": "array",
                            "items": {"type": "string", "minLength": 1},
                        },
                    },
                }
            }
        },
    }
}
IMAGE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
QUESTION = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
    ],
    "requestBody": {"required": True, **TENSORS},
}
