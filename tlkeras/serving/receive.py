"""Receive uploaded files within limits on bytes, files and time; who does not keep to them gets a 4xx."""

import asyncio
from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from tlkeras.config.serve import ServeOptions

MAX_FIELDS = 8  # of a form, beside the files; they are ignored


async def receive_files(request: Request, options: ServeOptions, max_files: int) -> list[UploadFile]:
    """Return the files of a form, in their order; large ones wait on disk."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise HTTPException(415, "Send images as multipart/form-data, as curl -F files=@ant.jpg does.")
    body = limited(request, round(options.max_megabytes * 1e6))
    parser = MultiPartParser(request.headers, body, max_files=max_files, max_fields=MAX_FIELDS)
    try:
        async with asyncio.timeout(options.receive_seconds):
            form = await parser.parse()
    except TimeoutError:
        raise HTTPException(408, f"The request did not arrive within {options.receive_seconds:g} seconds.") from None
    except MultiPartException as error:
        raise HTTPException(400, error.message) from None
    except ClientDisconnect:
        raise HTTPException(400, "The connection was closed.") from None  # nobody reads it
    except OSError:
        raise HTTPException(503, "There is no room for uploaded files at present.") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not files:
        raise HTTPException(400, "The form holds no file. Send images as curl -F files=@ant.jpg does.")
    return files


async def limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request until it is too large, which its header may tell before."""
    received = 0
    too_large = HTTPException(413, f"The request is larger than {max_bytes / 1e6:g} MB.")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise too_large
        yield chunk
