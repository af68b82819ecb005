"""`/v1/files`."""

from __future__ import annotations

import shutil
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.responses import FileResponse

from craft_ray.service.meter.terms import Caller
from craft_ray.service.tunings.api_error import ApiError, bad_request, not_found
from craft_ray.service.tunings.body import read_form
from craft_ray.service.tunings.checking import take_upload_apart
from craft_ray.service.tunings.desk import Desk
from craft_ray.service.tunings.jobs import (
    PURPOSE,
    FileDeleted,
    FileObject,
    file_object,
    page_of,
)
from craft_ray.service.tunings.rows import FileRecord, new_id
from craft_ray.service.tunings.upload import MB, UploadBounds

FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"const": PURPOSE},
                    },
                }
            }
        },
    }
}


def add_file_routes(router: APIRouter, desk: Desk) -> None:
    """Upload, list, retrieve, download, delete."""

    @router.post("/v1/files", openapi_extra=FORM)
    async def create_file(request: Request) -> FileObject:
        caller = await run_in_threadpool(desk.authenticate, request)
        most = desk.config.tuning.file_mb * MB
        await run_in_threadpool(_check_room, desk, caller, request)
        async with read_form(request, most, most_files=1) as form:
            return await run_in_threadpool(_take, desk, caller, form)

    @router.get("/v1/files")
    def list_files(
        request: Request,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
        purpose: str | None = None,
    ) -> dict[str, Any]:
        caller = desk.authenticate(request)
        found = desk.records.files(caller.key_id, purpose, after, limit + 1, order == "desc")
        if found is None:
            raise not_found("after: file", str(after))
        return page_of([file_object(each) for each in found], limit)

    @router.get("/v1/files/{file_id}")
    def retrieve_file(request: Request, file_id: str) -> FileObject:
        return file_object(_find(desk, desk.authenticate(request), file_id))

    @router.get("/v1/files/{file_id}/content", response_class=FileResponse)
    def file_content(request: Request, file_id: str) -> FileResponse:
        file = _find(desk, desk.authenticate(request), file_id)
        path = desk.layout.file(file)
        if not path.is_file():
            raise not_found("file", file_id)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    @router.delete("/v1/files/{file_id}")
    def delete_file(request: Request, file_id: str) -> FileDeleted:
        caller = desk.authenticate(request)
        file = _find(desk, caller, file_id)
        if not desk.records.remove_file(caller.key_id, file.id):
            raise not_found("file", file_id)
        desk.layout.file(file).unlink(missing_ok=True)
        return FileDeleted(id=file.id)


def _find(desk: Desk, caller: Caller, file_id: str) -> FileRecord:
    file = desk.records.file(caller.key_id, file_id)
    if file is None:
        raise not_found("file", file_id)
    return file


def _check_room(desk: Desk, caller: Caller, request: Request) -> None:
    """Before anything is read."""
    length = request.headers.get("content-length", "0")
    coming = int(length[:20]) if length.isdecimal() else 0
    if desk.records.bytes_of_files(caller.key_id) + coming > _most_bytes(desk) + MB:
        raise _no_room(desk)


def _take(desk: Desk, caller: Caller, form: FormData) -> FileObject:
    """Check an upload, keep what is kept of it, and note it; what is refused leaves nothing."""
    if strangers := sorted(form.keys() - {"file", "purpose"}):
        raise bad_request(f"a file has file and purpose, but got {strangers[0][:60]!r}")
    purpose, upload = form.get("purpose"), form.get("file")
    if purpose != PURPOSE:
        raise bad_request(f"purpose must be {PURPOSE}, but got {purpose!r:.60}", "purpose")
    if not isinstance(upload, UploadFile):
        raise bad_request("file must be given, as a part with a file name", "file")
    file_id = new_id("file")
    layout, key_id = desk.layout, caller.key_id
    raw, kept = layout.upload(key_id, file_id), layout.file_of(key_id, file_id)
    raw.parent.mkdir(parents=True, exist_ok=True)
    try:
        with raw.open("wb") as copy:
            shutil.copyfileobj(upload.file, copy, MB)
        bounds = UploadBounds.of(desk.config.tuning, desk.config.bounds)
        facts = take_upload_apart(raw, kept, bounds)
        name = (upload.filename or "file")[:200]
        file = desk.records.add_file(
            key_id,
            file_id,
            name,
            PURPOSE,
            kept.stat().st_size,
            facts.as_dict(),
            _most_bytes(desk),
            time.time(),
        )
        if file is None:
            raise _no_room(desk)
    except BaseException:
        kept.unlink(missing_ok=True)
        raise
    finally:
        raw.unlink(missing_ok=True)
    return file_object(file)


def _most_bytes(desk: Desk) -> int:
    return desk.config.tuning.files_mb_per_key * MB


def _no_room(desk: Desk) -> ApiError:
    return ApiError(
        403,
        f"the files of a key must have at most {_most_bytes(desk):,} bytes together, and would "
        "have more: delete some of them",
        "files_quota_exhausted",
        "file",
    )
