import pytest

from attachments.models import Attachment
from nodus.messaging.models import Conversation, Message

pytestmark = pytest.mark.django_db

BASE = "/api/v1/conversations"


def post_message(client, conversation, **body):
    body = {"text": "hi", **body}
    return client.post(f"{BASE}/{conversation.pk}/messages", body, format="json")


def test_start_a_conversation(api, user, other_user):
    response = api(user).post(BASE, {"participants": [other_user.pk]}, format="json")

    assert response.status_code == 201
    conversation = Conversation.objects.get()
    assert response.json() == {
        "id": conversation.pk,
        "participants": sorted([user.pk, other_user.pk]),
    }


def test_the_caller_takes_part_once(api, user):
    response = api(user).post(BASE, {"participants": [user.pk, user.pk]}, format="json")

    assert response.json()["participants"] == [user.pk]


@pytest.mark.parametrize("participants", [[10**6], ["x"], "x", None, [2**80]])
def test_no_such_participants(api, user, participants):
    response = api(user).post(BASE, {"participants": participants}, format="json")

    assert response.status_code == 400
    assert not Conversation.objects.exists()


def test_a_message_with_attachments_is_read_by_the_other(
    api, user, other_user, conversation_of, attachment_of
):
    conversation = conversation_of(user, other_user)
    first, second = attachment_of(user), attachment_of(user)

    response = post_message(
        api(user), conversation, text="Смотри", attachment_ids=[first.pk, second.pk]
    )

    assert response.status_code == 201
    message = response.json()
    assert message.keys() == {
        "id",
        "conversation_id",
        "author_id",
        "text",
        "created_at",
        "attachments",
    }
    assert (message["text"], message["author_id"]) == ("Смотри", user.pk)
    assert [item["id"] for item in message["attachments"]] == [str(first.pk), str(second.pk)]
    page = api(other_user).get(f"{BASE}/{conversation.pk}/messages").json()
    assert page == {"next": None, "previous": None, "results": [message]}
    detail = api(other_user).get(f"/api/v1/attachments/{first.pk}").json()
    assert detail == message["attachments"][0]


def test_messages_come_newest_first(api, user, conversation_of):
    conversation = conversation_of(user)
    for text in "abc":
        post_message(api(user), conversation, text=text)

    page = api(user).get(f"{BASE}/{conversation.pk}/messages", {"page_size": 2}).json()

    assert [item["text"] for item in page["results"]] == ["c", "b"]
    assert [item["text"] for item in api(user).get(page["next"]).json()["results"]] == ["a"]


def test_reading_takes_as_many_queries_for_many_messages(
    api, user, conversation_of, attachment_of, django_assert_num_queries
):
    conversation = conversation_of(user)
    for _ in range(3):
        post_message(api(user), conversation, attachment_ids=[attachment_of(user).pk])

    with django_assert_num_queries(4):
        api(user).get(f"{BASE}/{conversation.pk}/messages")


def test_strangers_neither_read_nor_write(api, user, other_user, conversation_of):
    conversation = conversation_of(user)

    for response in (
        api(other_user).get(f"{BASE}/{conversation.pk}/messages"),
        post_message(api(other_user), conversation),
        api(other_user).get(f"{BASE}/{conversation.pk + 1}/messages"),
    ):
        assert response.status_code == 404
        assert response.json()["errors"][0]["code"] == "not_found"
    assert not Message.objects.exists()


def test_a_message_that_cannot_take_its_attachments_is_not_written(
    api, user, other_user, upload, attachment_of, conversation_of
):
    conversation, taken = conversation_of(user), attachment_of(user)
    post_message(api(user), conversation, attachment_ids=[taken.pk])
    cases = {
        upload(user).attachment_id: (409, "attachment_not_ready"),
        attachment_of(other_user).pk: (404, "not_found"),
        taken.pk: (409, "already_linked"),
    }

    for attachment_id, (status, code) in cases.items():
        response = post_message(
            api(user), conversation, attachment_ids=[attachment_of(user).pk, attachment_id]
        )
        error = response.json()["errors"][0]
        assert (response.status_code, error["code"]) == (status, code)
        assert error["attr"] == "attachment_ids"

    assert Message.objects.count() == 1
    assert Attachment.objects.exclude(message=None).count() == 1


def test_a_message_shows_what_is_ready_alone(api, user, upload, message_of):
    message = message_of(user)
    upload(user, message_id=message.pk)

    page = api(user).get(f"{BASE}/{message.conversation_id}/messages").json()

    assert page["results"][0]["attachments"] == []


def test_nobody_gets_in_without_a_token(api, conversation_of, user):
    for response in (
        api().post(BASE, {"participants": []}, format="json"),
        api().get(f"{BASE}/{conversation_of(user).pk}/messages"),
    ):
        assert response.status_code == 401


def test_tokens(api, user):
    client = api()

    pair = client.post(
        "/api/v1/auth/token", {"username": "alice", "password": "alice-demo"}, format="json"
    )
    fresh = client.post(
        "/api/v1/auth/token/refresh", {"refresh": pair.json()["refresh"]}, format="json"
    )

    assert pair.status_code == fresh.status_code == 200
    assert pair.json().keys() == {"access", "refresh"}
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {fresh.json()['access']}")
    assert client.get("/api/v1/attachments").status_code == 200


def test_a_wrong_password(api, user):
    response = api().post(
        "/api/v1/auth/token", {"username": "alice", "password": "x"}, format="json"
    )

    assert response.status_code == 401
    assert response.json()["errors"][0]["code"] == "no_active_account"
