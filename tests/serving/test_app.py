"""The addresses of the service: what a client gets that behaves."""

import dataclasses
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from color_service import CLASSES, ColorModel, encoded


def test_one_image(start):
    answer = start().post("/predict?top_k=1", ("ant.png", encoded("red")))
    (found,) = answer.json()
    assert answer.status == 200 and found["path"] == "ant.png" and found["unsure"] is False
    assert [score["label"] for score in found["predictions"]] == ["red"] and found["predictions"][0]["score"] > 0.9


def test_many_images_keep_their_order_and_unreadable_ones_their_reason(start):
    files = [("a.png", encoded("blue")), ("b.txt", b"hello"), ("ü.jpg", encoded("green", format="jpeg")),
             ("d.png", encoded("gray")), ("e.png", b"")]  # fmt: skip
    answer = start().post("/predict", *files)
    found = answer.json()
    assert answer.status == 200 and [one["path"] for one in found] == [name for name, _ in files]
    assert [one["predictions"][0]["label"] for one in found if "predictions" in one][:2] == ["blue", "green"]
    assert [one.get("unsure") for one in found] == [False, None, False, True, None]
    assert found[1]["error"].startswith("not a valid JPEG") and found[4]["error"] == "empty file"


def test_where_nothing_can_be_read_it_is_the_clients_mistake(start):
    answer = start().post("/predict", ("a.txt", b"hello"))
    assert answer.status == 422 and answer.json()[0]["error"].startswith("not a valid JPEG")


def test_requests_of_many_clients_share_calls_of_the_model(start):
    model = ColorModel(seconds=0.05)
    client = start(model, batch_size=16)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda color: client.post("/predict", (color, encoded(color))), CLASSES * 16))
    assert all(answer.json()[0]["predictions"][0]["label"] == answer.json()[0]["path"] for answer in answers)
    calls = model.batches[2:]  # after the two that warm it up
    assert sum(calls) == 48 and len(calls) <= 16
    assert client.metric("tlkeras_batch_size_count") == len(calls)
    assert client.metric("tlkeras_batch_size_sum") == 48


def test_labels_health_and_what_there_is_not(start):
    client = start()
    about = {"name": "colors", "task": "single_label", "labels": CLASSES, "maps": False}
    assert client.get("/labels").json() == about
    assert client.get("/health").json() == {"status": "ok"}
    assert [client.get(path).status for path in ("/docs", "/redoc", "/nothing", "/../../etc/passwd")] == [404] * 4
    assert client.get("/predict").status == 405


@pytest.mark.parametrize(("given", "said"), [("0", "greater than or equal to 1"), ("many", "a valid integer")])
def test_what_is_wrong_with_a_query_is_a_sentence(start, given, said):
    answer = start().post(f"/predict?top_k={given}", ("a", encoded("red")))
    detail = answer.json()["detail"]
    assert answer.status == 422 and detail.startswith("top_k: Input should be ") and said in detail
    assert detail.endswith(".")


def test_metrics_count_requests_and_images(start):
    client = start()
    client.post("/predict", ("a", encoded("red")), ("b", encoded("gray")), ("c", b"no image"))
    client.get("/secret-path")
    assert client.metric('tlkeras_images_total{result="sure"}') == 1
    assert client.metric('tlkeras_images_total{result="unsure"}') == 1
    assert client.metric('tlkeras_images_total{result="unreadable"}') == 1
    assert client.metric('tlkeras_requests_total{path="/predict",status="200"}') == 1
    assert client.metric('tlkeras_requests_total{path="other",status="404"}') == 1
    assert client.metric("process_resident_memory_bytes") > 1e6


def test_openapi_describes_the_form_and_the_answer(start):
    document = start().get("/openapi.json").json()
    post = document["paths"]["/predict"]["post"]
    assert post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["files"]["type"] == "array"
    answers = {"200", "400", "408", "413", "415", "422", "503"}
    assert post["responses"].keys() == answers
    assert document["paths"]["/explain"]["post"]["responses"].keys() == answers | {"404"}
    assert "FilePrediction" in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]  # that is not what is answered


def test_the_log_has_no_more_than_the_path(start, caplog):
    caplog.set_level(logging.INFO, "tlkeras.serving")
    client = start()
    client.request(
        "GET", "/health%0d%0aforged?token=secret1", headers={"Authorization": "secret2", "Cookie": "secret3"}
    )
    client.post("/predict?top_k=secret4", ("secret5.png", b"secret6"))
    client.post("/predict", ("secret5.png", b"secret6"), name="secret7")
    client.get("/health")
    time.sleep(0.1)  # a line is printed once its answer is sent
    lines = [record.getMessage() for record in caplog.records if record.name == "tlkeras.serving"]
    assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in lines] == [
        "GET /health%0d%0aforged 404", "POST /predict 422", "POST /predict 422", "GET /health 200",
    ]  # fmt: skip
    assert "secret" not in caplog.text


def test_regression_and_several_labels(start):
    predictor = ColorModel().predictor()
    numbers = dataclasses.replace(predictor.run, task="regression", classes=[], reject_threshold=None)
    outputs = lambda images: (images.mean(axis=(1, 2, 3), dtype="float32")[:, None], None)  # noqa: E731
    (found,) = (
        start(dataclasses.replace(predictor, run=numbers, outputs=outputs))
        .post("/predict", ("a", encoded("gray")))
        .json()
    )
    assert found["predictions"] == [{"label": "value", "score": 128.0}] and found["unsure"] is None
    several = dataclasses.replace(predictor.run, task="multi_label", reject_threshold=None)
    outputs = lambda images: (np.full((len(images), 3), 0.7, "float32"), None)  # noqa: E731
    client = start(dataclasses.replace(predictor, run=several, outputs=outputs))
    (found,) = client.post("/predict?top_k=1", ("a", encoded("gray"))).json()
    assert [score["label"] for score in found["predictions"]] == CLASSES
    json.dumps(found)


def test_what_cannot_be_explained_is_said(start):
    client = start()
    answer = client.post("/explain", ("a", encoded("red")), name="file")
    assert answer.status == 404 and "only predicts. Serve the run's folder" in answer.json()["detail"]
    assert (
        client.post("/explain?label=pink", ("a", encoded("red"))).json()["detail"]
        == "There is no label pink. See /labels."
    )
    answer = client.post("/explain", ("a", b"no image"))
    assert answer.status == 422 and answer.json()["detail"].startswith("The image cannot be read: not a valid")
