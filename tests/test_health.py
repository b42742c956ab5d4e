import pytest
from django.db import OperationalError, connection

from tests.stores import take_store_away

pytestmark = pytest.mark.django_db


def test_all_is_well(api, bucket):
    response = api().get("/health")

    assert response.status_code == 200
    assert response.json() == {"status": "ok", "minio": "connected", "database": "connected"}


def test_the_store_is_down(api, settings):
    take_store_away(settings)

    response = api().get("/health")

    assert response.status_code == 503
    assert response.json() == {"status": "error", "minio": "unavailable", "database": "connected"}


def test_the_database_is_down(api, monkeypatch, caplog):
    def fail():
        raise OperationalError("connection to server at 10.0.0.1, user nodus failed")

    monkeypatch.setattr(connection, "cursor", fail)

    response = api().get("/health")

    assert response.status_code == 503
    assert response.json() == {"status": "error", "minio": "connected", "database": "unavailable"}
    assert "connection to server at 10.0.0.1, user nodus failed" in caplog.text
