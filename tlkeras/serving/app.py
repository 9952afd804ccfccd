"""The addresses of the service: predictions, labels, health, metrics, maps, and a page for people."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import generate_latest
from pydantic import BaseModel

from tlkeras import __version__
from tlkeras.serving.metrics import Observed
from tlkeras.serving.receive import receive_files
from tlkeras.serving.service import Service

PAGE = Path(__file__).with_name("templates") / "page.html"
# Of the page: nothing from elsewhere.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Score(BaseModel):
    """A label and its probability; for regression "value" and the number."""

    label: str
    score: float


class FilePrediction(BaseModel):
    """What is predicted for one file, or why it cannot be read."""

    path: str
    predictions: list[Score] | None = None
    unsure: bool | None = None
    error: str | None = None


class Problem(BaseModel):
    """What is wrong with a request, in a sentence."""

    detail: str


class Labels(BaseModel):
    """What the model predicts."""

    name: str
    task: str
    labels: list[str]
    maps: bool  # whether /explain answers


REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"description": "No file, too many of them, or a damaged form", "model": Problem},
    408: {"description": "The request did not arrive in time", "model": Problem},
    413: {"description": "The request is too large", "model": Problem},
    415: {"description": "The request is no form", "model": Problem},
    503: {"description": "There are too many requests at once", "model": Problem},
}


def form_of(field: str, several: bool) -> dict[str, Any]:
    """Return how OpenAPI describes a form with a file, or with several."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    schema = {"type": "object", "properties": {field: {"type": "array", "items": file} if several else file}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def create_app(service: Service) -> FastAPI:
    """Return the service as an ASGI application; its documentation is /openapi.json alone, as pages load scripts."""
    run, options = service.run, service.options
    app = FastAPI(title=f"tlkeras: {run.path.name}", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(Observed, metrics=service.metrics)
    page = PAGE.read_text(encoding="utf-8")

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        """Say what is wrong with the query."""
        first = error.errors()[0]
        return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}."}, 422)

    @app.get("/", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        """Return a page on which images are dropped."""
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    @app.post(
        "/predict",
        response_model=list[FilePrediction],
        responses=REFUSED | {422: {"description": "No file can be read", "model": list[FilePrediction] | Problem}},
        openapi_extra=form_of("files", several=True),
    )
    async def predict(request: Request, top_k: Annotated[int, Query(ge=1, le=1000)] = 3) -> Response:
        """Predict the labels of uploaded images, in their order."""
        files = await receive_files(request, options, options.max_files)
        predictions = await service.predict(files, top_k)
        status = 422 if all(prediction.error for prediction in predictions) else 200
        return JSONResponse([prediction.as_dict() for prediction in predictions], status)

    @app.post(
        "/explain",
        response_class=Response,
        responses=REFUSED
        | {
            200: {"content": {"image/png": {}}},
            404: {"description": "This model has no maps", "model": Problem},
            422: {"description": "The image cannot be read, or there is no such label", "model": Problem},
        },
        openapi_extra=form_of("file", several=False),
    )
    async def explain(request: Request, label: str | None = None) -> Response:
        """Return the uploaded image, and in red what speaks for a label in it, or for the most likely one."""
        (upload,) = await receive_files(request, options, max_files=1)
        return Response(await service.explain(upload, label), media_type="image/png")

    add_information(app, service)
    return app


def add_information(app: FastAPI, service: Service) -> None:
    """Add what tells about the service and its model."""
    run = service.run

    @app.get("/labels")
    async def labels() -> Labels:
        """Return what the model predicts."""
        return Labels(name=run.path.name, task=run.task, labels=run.classes, maps=service.has_maps)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Return that the service is there, with its model."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Return the counts of requests, images and batches for Prometheus."""
        return PlainTextResponse(generate_latest(service.metrics.registry), media_type="text/plain; version=0.0.4")
