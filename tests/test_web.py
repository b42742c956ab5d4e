import json
import re

import pytest
from django.conf import settings as django_settings

from nodus.messaging import services
from nodus.messaging.models import Conversation, Message

pytestmark = pytest.mark.django_db


def read_facts(response):
    """What the page tells its script."""
    (text,) = re.findall(r'<script id="facts"[^>]*>(.*?)</script>', response.content.decode(), re.S)
    return json.loads(text)


def test_whoever_is_not_logged_in_comes_back_after_it(client, user, conversation_of):
    address = f"/conversations/{conversation_of(user).pk}"
    login = client.get(address)["Location"]
    assert login == f"/login?next={address}"

    form = {"username": "alice", "password": "alice-demo", "next": address}

    assert client.post("/login", form)["Location"] == address


@pytest.mark.parametrize("target", ["https://elsewhere.example.com/", "//elsewhere.example.com"])
def test_a_login_leads_to_no_other_site(client, user, target):
    form = {"username": "alice", "password": "alice-demo", "next": target}

    assert client.post("/login", form)["Location"] == "/"


def test_the_login_page_sends_the_form_that_people_fill_in(client):
    page = client.get("/login").content.decode()

    assert (
        len(re.findall(r'name="username"', page)) == len(re.findall(r'name="password"', page)) == 1
    )
    assert "demo" not in page


def test_demo_users_are_there_under_debug_alone(client, user, settings):
    assert client.post("/login", {"demo": "alice"}).status_code == 200  # the form again

    settings.DEBUG = True
    assert 'value="alice"' in client.get("/login").content.decode()
    assert 'value="bob"' not in client.get("/login").content.decode()  # nobody made them
    assert client.post("/login", {"demo": "bob"}).status_code == 200
    assert client.post("/login", {"demo": "alice", "next": ""})["Location"] == "/"


def test_a_demo_user_with_another_password_is_not_let_in(client, user, settings):
    settings.DEBUG = True
    user.set_password("another one")
    user.save()

    assert client.post("/login", {"demo": "alice"}).status_code == 200


def test_a_conversation_is_started_once(client, user, other_user):
    client.force_login(user)

    first, second = (client.post("/conversations", {"username": "bob"}) for _ in range(2))

    chat = Conversation.objects.get()
    assert first["Location"] == second["Location"] == f"/conversations/{chat.pk}"
    assert set(chat.participants.all()) == {user, other_user}


def test_others_are_not_in_a_conversation_of_two(
    client, user, other_user, staff_user, conversation_of
):
    crowd = conversation_of(user, other_user, staff_user)
    conversation_of(user)
    conversation_of(other_user)

    chat = services.open_conversation(user=user, other=other_user)

    assert chat != crowd
    assert chat == services.open_conversation(user=other_user, other=user)
    alone = services.open_conversation(user=user, other=user)
    assert list(alone.participants.all()) == [user]


@pytest.mark.parametrize("name", ["nobody", "bob", "", "a\0b", "x" * 151])
def test_nobody_writes_to_who_is_not_there(client, user, other_user, name):
    other_user.is_active = False
    other_user.save()
    client.force_login(user)

    response = client.post("/conversations", {"username": name})

    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()
    assert not Conversation.objects.exists()


def test_the_page_tells_its_script_what_it_needs(client, user, other_user, conversation_of):
    chat = conversation_of(user, other_user)
    client.force_login(user)

    facts = read_facts(client.get(f"/conversations/{chat.pk}"))

    assert facts.pop("texts").keys() >= {"sending", "verifying", "scanning", "ready"}
    people = {str(user.pk): "alice", str(other_user.pk): "bob"}
    assert facts == {"conversation": chat.pk, "user": user.pk, "people": people}


def test_the_list_has_the_newest_conversations_first(
    client, user, other_user, staff_user, conversation_of
):
    old, new = conversation_of(user, other_user), conversation_of(user, staff_user)
    conversation_of(other_user, staff_user)
    for chat in (new, old, new):
        Message.objects.create(conversation=chat, author=user, text=f"to {chat.pk}")
    started = conversation_of(user)

    listed = services.describe_conversations(reader=user)

    assert [(chat.pk, [str(person) for person in chat.others]) for chat in listed] == [
        (started.pk, []),
        (new.pk, ["carol"]),
        (old.pk, ["bob"]),
    ]
    assert [getattr(chat.latest, "text", None) for chat in listed] == [
        None,
        f"to {new.pk}",
        f"to {old.pk}",
    ]


def test_looking_for_news_is_cheap(
    client, user, other_user, conversation_of, django_assert_num_queries
):
    for _ in range(3):
        chat = conversation_of(user, other_user)
        Message.objects.create(conversation=chat, author=other_user, text="hi")
    client.force_login(user)
    version = client.get("/conversations/newest")["ETag"]

    with django_assert_num_queries(3):  # the session, the user, and one
        same = client.get("/conversations/newest", headers={"If-None-Match": version})
    Message.objects.create(conversation=chat, author=other_user, text="news")
    fresh = client.get("/conversations/newest", headers={"If-None-Match": version})

    assert (same.status_code, same.content) == (304, b"")
    assert (fresh.status_code, "news" in fresh.content.decode()) == (200, True)


@pytest.mark.parametrize("path", ["/", "/conversations/{}", "/conversations/newest"])
def test_a_page_takes_as_many_queries_for_many_conversations(
    client, user, other_user, conversation_of, path, django_assert_max_num_queries
):
    chats = [conversation_of(user, other_user) for _ in range(5)]
    for chat in chats:
        Message.objects.create(conversation=chat, author=other_user, text="hi")
    client.force_login(user)

    with django_assert_max_num_queries(7):
        assert client.get(path.format(chats[0].pk)).status_code == 200


def test_pages_speak_russian(client, user, conversation_of):
    client.force_login(user)
    client.cookies[django_settings.LANGUAGE_COOKIE_NAME] = "ru"

    response = client.get(f"/conversations/{conversation_of(user).pk}")

    assert '<html lang="ru">' in response.content.decode()
    assert read_facts(response)["texts"]["today"] == "Сегодня"


def test_an_address_that_does_not_exist_has_a_page(client):
    response = client.get("/nothing")

    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_login_does_not_lead_to_itself(client, user, method):
    form = {"username": "alice", "password": "alice-demo", "next": "/login"}
    if method == "get":
        client.force_login(user)

    assert getattr(client, method)("/login", form)["Location"] == "/"


def test_nobody_is_told_that_the_list_of_another_reader_is_theirs(
    client, user, other_user, conversation_of
):
    conversation_of(user, other_user)
    client.force_login(user)
    version = client.get("/conversations/newest")["ETag"]
    client.force_login(other_user)

    answer = client.get("/conversations/newest", headers={"If-None-Match": version})

    assert (answer.status_code, "alice" in answer.content.decode()) == (200, True)
