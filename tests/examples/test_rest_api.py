"""The HTTP service localizes as the localizer, and refuses what it should with the right status."""

import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from spg_lightning import Localizer, UserError
from tests.conftest import ROOT
from tests.trees import photo_like

pytest.importorskip("fastapi")
testclient = pytest.importorskip("fastapi.testclient", reason="needs httpx")


@pytest.fixture(scope="module")
def service():
    sys.path.insert(0, str(ROOT / "examples" / "rest_api"))
    import service

    yield service
    sys.path.remove(str(ROOT / "examples" / "rest_api"))


@pytest.fixture(scope="module")
def client(service, tiny_run):
    return testclient.TestClient(service.create_app(str(tiny_run[0].checkpoint)))


def encoded(picture, kind="PNG", **options):
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def test_localize(client, tiny_run):
    picture = photo_like((80, 60), 0)
    answer = client.post("/localize?top_k=2", content=encoded(picture))
    assert answer.status_code == 200
    expected = Localizer.load(tiny_run[0].checkpoint)(picture, top_k=2)
    for got, one in zip(answer.json(), expected, strict=True):
        assert got["class"] == one.class_name
        assert got["score"] == pytest.approx(one.score)
        assert got["box"] == pytest.approx(one.box)


def test_health(client):
    assert client.get("/health").json() == {
        "status": "ok",
        "classes": 3,
        "score_map": client.get("/health").json()["score_map"],
    }


def test_the_orientation_of_a_camera_is_followed(client):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture = photo_like((80, 60), 0)
    turned = client.post("/localize", content=encoded(picture, "JPEG", exif=exif, quality=100)).json()
    upright = client.post("/localize", content=encoded(picture, "JPEG", quality=100)).json()
    assert turned[0]["box"] != upright[0]["box"]


def test_refused(client, service, monkeypatch):
    good = encoded(photo_like((80, 60), 0))
    for content, status, word in (
        (b"", 400, "send the image"),
        (b"no image", 415, "JPEG, PNG, WEBP"),
        (encoded(np.zeros((4, 4, 3), np.uint8), "TIFF"), 415, "JPEG, PNG, WEBP"),
        (good[:2000], 400, "damaged"),
        (encoded(np.zeros((5001, 5000, 3), np.uint8)), 413, "25005000"),
        (b"x" * (service.MAX_BYTES + 1), 413, "bytes"),
    ):
        answer = client.post("/localize", content=content)
        assert answer.status_code == status, answer.text
        assert word in answer.json()["detail"]
    for top_k, word in ((0, "choose 1 to 3"), (4, "choose 1 to 3")):
        answer = client.post(f"/localize?top_k={top_k}", content=good)
        assert answer.status_code == 422
        assert word in answer.json()["detail"]
    with pytest.raises(UserError, match="no such file"):
        service.create_app("missing.onnx")
