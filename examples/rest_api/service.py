"""A small HTTP service: an image in, class, box and confidence out. See README.md."""

import os
from io import BytesIO

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image, UnidentifiedImageError

from spg_lightning import Localizer, UserError

MAX_BYTES = 10_000_000  # of a request's body
MAX_PIXELS = 25_000_000  # of an image, once decoded
KINDS = ("JPEG", "PNG", "WEBP")


def decode(body: bytes) -> Image.Image:
    """Return the image of a body.

    Raises:
        HTTPException: 415 for another kind of file, 413 for too many pixels, 400 for a damaged file.
    """
    try:
        image = Image.open(BytesIO(body), formats=KINDS)
    except UnidentifiedImageError:
        raise HTTPException(415, f"send an image as {', '.join(KINDS)}") from None
    except Image.DecompressionBombError:
        raise HTTPException(413, f"an image may have {MAX_PIXELS} pixels") from None
    if image.width * image.height > MAX_PIXELS:  # known before anything is decoded
        raise HTTPException(413, f"an image may have {MAX_PIXELS} pixels; this one has {image.width * image.height}")
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise HTTPException(400, f"the image is damaged: {error}") from None
    return image


async def read(request: Request) -> bytes:
    """Return the body of a request, and stop reading at the limit.

    Raises:
        HTTPException: 413 for a body that is too large, 400 for none.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(413, f"a body may have {MAX_BYTES} bytes")
    if not body:
        raise HTTPException(400, "send the image as the body of the request")
    return bytes(body)


def create_app(model: str) -> FastAPI:
    """Return the service of a checkpoint or an exported model.

    Raises:
        UserError: the model cannot be used.
    """
    localizer = Localizer.load(model)
    app = FastAPI(title="spg_lightning")

    @app.get("/health")
    def health() -> dict:
        return {"status": "ok", "classes": len(localizer.class_names), "score_map": localizer.name}

    @app.post("/localize")
    async def localize(request: Request, top_k: int = 1) -> list[dict]:
        if not 1 <= top_k <= len(localizer.class_names):
            raise HTTPException(422, f"top_k={top_k}: choose 1 to {len(localizer.class_names)}")
        image = await run_in_threadpool(decode, await read(request))
        try:
            found = await run_in_threadpool(localizer, image, top_k)
        except UserError as error:  # e.g. more classes than the model was exported with
            raise HTTPException(422, str(error)) from None
        return [
            {
                "class": one.class_name,
                "score": one.score,
                "box": one.box,
                "box_confidence": one.box_confidence(),
                "is_present": one.is_present,
            }
            for one in found
        ]

    return app


def app() -> FastAPI:
    """Return the service of the model that the environment names; for uvicorn."""
    return create_app(os.environ["SPG_MODEL"])
