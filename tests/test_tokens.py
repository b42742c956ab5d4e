"""Bearer tokens: one error for all that may be wrong, and no life after the user's."""

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from nodus.authentication import get_token_user

pytestmark = pytest.mark.django_db

LIST = "/api/v1/attachments"


@pytest.fixture
def tokens(api, user):
    body = {"username": user.username, "password": "alice-demo"}
    return api().post("/api/v1/auth/token", body, format="json").json()


def ask(api, access):
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    return client.get(LIST)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_any_case(api, tokens, scheme):
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"{scheme} {tokens['access']}")

    assert client.get(LIST).status_code == 200


def refresh(api, token):
    return api().post("/api/v1/auth/token/refresh", {"refresh": token}, format="json")


def assert_is_dead(response):
    body = response.json()
    detail = body["errors"][0].pop("detail")
    assert response.status_code == 401
    assert body == {"type": "client_error", "errors": [{"code": "token_not_valid", "attr": None}]}
    assert detail
    assert response["WWW-Authenticate"].startswith("Bearer")


def delete(user):
    user.delete()


def deactivate(user):
    user.is_active = False
    user.save()


def change_password(user):
    user.set_password("another")
    user.save()


def test_a_token_opens_the_api_and_can_be_refreshed(api, tokens):
    assert ask(api, tokens["access"]).status_code == 200

    response = refresh(api, tokens["refresh"])

    assert (response.status_code, response.json().keys()) == (200, {"access"})
    assert ask(api, response.json()["access"]).status_code == 200


@pytest.mark.parametrize("change", [delete, deactivate, change_password])
def test_tokens_die_with_what_they_stand_for(api, user, tokens, change):
    refreshed = refresh(api, tokens["refresh"]).json()["access"]

    change(user)

    assert_is_dead(ask(api, tokens["access"]))
    assert_is_dead(ask(api, refreshed))
    assert_is_dead(refresh(api, tokens["refresh"]))


def test_what_is_no_access_token_gives_the_same_error(api, tokens):
    for token in ("nonsense", "two parts", tokens["refresh"], tokens["access"][:-2]):
        assert_is_dead(ask(api, token))
    for token in ("nonsense", tokens["access"], tokens["refresh"][:-2]):
        assert_is_dead(refresh(api, token))


def test_all_that_the_api_asks_of_the_user_is_one_query(user, django_assert_num_queries):
    with django_assert_num_queries(1) as queries:
        found = get_token_user(AccessToken.for_user(user))
        facts = (found.pk, found.is_active, found.is_staff, found.is_superuser)

    assert facts == (user.pk, True, False, False)
    assert "email" not in queries[0]["sql"]
