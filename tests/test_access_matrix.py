"""Who gets what: every call of the site, by everybody, for a file of each status.

``TABLE`` has what is right. The calls come from the URLconf and from the site of the
admin, the statuses from the model: what is new there and has no cells fails.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admindocs.views import simplify_regex
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.test import RequestFactory
from django.urls import URLPattern, get_resolver
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from rest_framework_simplejwt.tokens import AccessToken

from attachments.models import Attachment, ObjectDeletion
from attachments.tasks import purge_orphans
from nodus.messaging.models import Message
from tests.access import STATUSES, make_file, make_nonce
from tests.described import CheckedClient

# Spelled out: a new status is in none of them.
NAMED = {
    "ready": ["ready"],
    "unready": ["pending", "verifying", "scanning", "rejected", "infected"],
    "any": ["pending", "verifying", "scanning", "ready", "rejected", "infected"],
}
PRINCIPALS = [
    "anonymous", "other", "participant", "former", "uploader",
    "staff", "view", "delete", "superuser",
]  # fmt: skip
NONE = "-"
"""In the column of statuses: the call is about no one file, and files of each status are there."""


# A line is a call, the statuses, and a cell for each of PRINCIPALS: the answer's status code, or
# ``login`` for the way to the login page; then ``-`` if the file is gone, ``*`` if a new one is
# there; then ``+`` if the answer tells the file's name or key, or of which files it does.
TABLE = """
#call                                                             status             anonymous  other  participant  former  uploader   staff  view       delete     superuser
GET:api/schema                                                    -                  200        200    200          200     200        200    200        200        200
GET:api/docs                                                      -                  200        200    200          200     200        200    200        200        200
POST:api/v1/auth/token                                            -                  401        401    401          401     401        401    401        401        401
POST:api/v1/auth/token/refresh                                    -                  401        401    401          401     401        401    401        401        401
POST:api/v1/attachments/presigned                                 -                  401        404    201*         404     201*       404    404        404        404
POST:api/v1/attachments/presigned/batch                           -                  401        404    201*         404     201*       404    404        404        404
POST:api/v1/attachments/confirm                                   pending|verifying  401        404    404          404     409        404    404        404        404
POST:api/v1/attachments/confirm                                   scanning           401        404    404          404     202+       404    404        404        404
POST:api/v1/attachments/confirm                                   ready              401        404    404          404     200+       404    404        404        404
POST:api/v1/attachments/confirm                                   rejected|infected  401        404    404          404     422        404    404        404        404
GET:api/v1/attachments                                            -                  401        200    200+ready    200     200+       200+   200+       200+       200+
GET:api/v1/attachments/usage                                      -                  401        200    200          200     200        200    200        200        200
GET:api/v1/attachments/<attachment_id>/download                   unready            401        404    404          404     409        409    409        409        409
GET:api/v1/attachments/<attachment_id>/download                   ready              401        404    302+         404     302+       302+   302+       302+       302+
GET:api/v1/attachments/<attachment_id>                            unready            401        404    404          404     200+       200+   200+       200+       200+
GET:api/v1/attachments/<attachment_id>                            ready              401        404    200+         404     200+       200+   200+       200+       200+
DELETE:api/v1/attachments/<attachment_id>                         unready            401        404    404          404     204-       403    403        204-       204-
DELETE:api/v1/attachments/<attachment_id>                         ready              401        404    403          404     204-       403    403        204-       204-
POST:api/v1/conversations                                         -                  401        201    201          201     201        201    201        201        201
GET:api/v1/conversations/<conversation_id>/messages               -                  401        404    200+ready    404     200+ready  404    404        404        404
POST:api/v1/conversations/<conversation_id>/messages              any                401        404    404          404     409        404    404        404        404
{GET,POST}:api/<path>                                             -                  404        404    404          404     404        404    404        404        404
GET:health                                                        -                  200        200    200          200     200        200    200        200        200
GET:health/{live,ready}                                           -                  200        200    200          200     200        200    200        200        200
GET:metrics                                                       -                  404        404    404          404     404        404    404        404        404
POST:metrics                                                      -                  405        405    405          405     405        405    405        405        405
{GET,POST}:admin/{django_tasks_database/dbtaskresult,attachments/attachment,attachments/objectdeletion}/add/  -                  login      login  login        login   login      403    403        403        403
{GET,POST}:admin/{django_tasks_database/dbtaskresult,attachments/objectdeletion}/<object_id>/delete/  -                  login      login  login        login   login      403    403        403        403
POST:admin/{django_tasks_database/dbtaskresult,attachments/objectdeletion}/<object_id>/change/  -                  login      login  login        login   login      403    403        403        403
GET:admin/attachments/attachment/usage/                           -                  login      login  login        login   login      403    200+ready  200+ready  200+ready
POST:admin/attachments/attachment/usage/                          -                  login      login  login        login   login      403    302        302        302
GET:admin/attachments/attachment/purge/                           -                  login      login  login        login   login      403    403        200        200
POST:admin/attachments/attachment/purge/                          -                  login      login  login        login   login      403    403        302        302
{GET,POST}:admin/attachments/attachment/                          -                  login      login  login        login   login      403    200+       200+       200+
{GET,POST}:admin/attachments/attachment/<object_id>/history/      any                login      login  login        login   login      403    200+       200+       200+
GET:admin/attachments/attachment/<object_id>/delete/              any                login      login  login        login   login      403    403        200+       200+
POST:admin/attachments/attachment/<object_id>/delete/             any                login      login  login        login   login      403    403        302-       302-
GET:admin/attachments/attachment/<object_id>/change/              any                login      login  login        login   login      403    200+       200+       200+
POST:admin/attachments/attachment/<object_id>/change/             any                login      login  login        login   login      403    403        403        403
{GET,POST}:admin/attachments/attachment/<object_id>/              any                login      login  login        login   login      302    302        302        302
{GET,POST}:admin/attachments/objectdeletion/                      -                  login      login  login        login   login      403    200        200        200
{GET,POST}:admin/attachments/objectdeletion/<object_id>/history/  -                  login      login  login        login   login      403    200        200        200
GET:admin/attachments/objectdeletion/<object_id>/change/          -                  login      login  login        login   login      403    200        200        200
POST:admin/attachments/attachment/#delete_selected                any                login      login  login        login   login      403    302        302-       302-
POST:admin/attachments/attachment/#download_links                 any                login      login  login        login   login      403    200+       200+       200+
POST:admin/attachments/objectdeletion/#retry_deletions            -                  login      login  login        login   login      403    200        302        302
{GET,POST}:admin/                                                 -                  login      login  login        login   login      200    200        200        200
GET:admin/login/                                                  -                  200        200    200          200     200        302    302        302        302
POST:admin/login/                                                 -                  200        200    200          200     200        200    200        200        200
GET:admin/logout/                                                 -                  302        302    302          302     302        405    405        405        405
POST:admin/logout/                                                -                  302        302    302          302     302        200    200        200        200
{GET,POST}:admin/password_change/                                 -                  login      login  login        login   login      200    200        200        200
GET:admin/password_change/done/                                   -                  login      login  login        login   login      200    200        200        200
POST:admin/password_change/done/                                  -                  login      login  login        login   login      405    405        405        405
GET:admin/autocomplete/                                           -                  login      login  login        login   login      403    403        403        403
POST:admin/autocomplete/                                          -                  login      login  login        login   login      405    405        405        405
GET:admin/jsi18n/                                                 -                  login      login  login        login   login      200    200        200        200
POST:admin/jsi18n/                                                -                  login      login  login        login   login      405    405        405        405
{GET,POST}:admin/r/<content_type_id>/<object_id>/                 -                  login      login  login        login   login      404    404        404        404
{GET,POST}:admin/{auth/group,django_tasks_database/dbtaskresult,auth/user,messaging/conversation,messaging/message}/  -                  login      login  login        login   login      403    403        403        200
{GET,POST}:admin/{auth/group,auth/user,messaging/conversation,messaging/message}/add/  -                  login      login  login        login   login      403    403        403        200
{GET,POST}:admin/{auth/group,django_tasks_database/dbtaskresult,auth/user,messaging/conversation,messaging/message}/<object_id>/history/  -                  login      login  login        login   login      403    403        403        200
GET:admin/auth/group/<object_id>/delete/                          -                  login      login  login        login   login      403    403        403        200
POST:admin/auth/group/<object_id>/delete/                         -                  login      login  login        login   login      403    403        403        302
{GET,POST}:admin/{auth/group,messaging/conversation}/<object_id>/change/  -                  login      login  login        login   login      403    403        403        200
{GET,POST}:admin/{auth/group,django_tasks_database/dbtaskresult,attachments/objectdeletion,auth/user,messaging/conversation,messaging/message}/<object_id>/  -                  login      login  login        login   login      302    302        302        302
GET:admin/django_tasks_database/dbtaskresult/<object_id>/change/  -                  login      login  login        login   login      403    403        403        200
{GET,POST}:admin/auth/user/<id>/password/                         -                  login      login  login        login   login      403    403        403        200
GET:admin/{auth/user,messaging/conversation,messaging/message}/<object_id>/delete/  -                  login      login  login        login   login      403    403        403        200+
POST:admin/{auth/user,messaging/conversation,messaging/message}/<object_id>/delete/  -                  login      login  login        login   login      403    403        403        302-
{GET,POST}:admin/{auth/user,messaging/message}/<object_id>/change/  -                  login      login  login        login   login      403    403        403        200+
{GET,POST}:admin/<app_label>/                                     -                  login      login  login        login   login      404    200        200        200
{GET,POST}:admin/<url>                                            -                  login      login  login        login   login      404    404        404        404
GET:                                                              -                  login      200    200          200     200        200    200        200        200
POST:                                                             -                  405        405    405          405     405        405    405        405        405
GET:login                                                         -                  200        302    302          302     302        302    302        302        302
POST:login                                                        -                  200        302    302          302     302        302    302        302        302
GET:logout                                                        -                  405        405    405          405     405        405    405        405        405
POST:logout                                                       -                  302        302    302          302     302        302    302        302        302
GET:conversations                                                 -                  login      302    302          302     302        302    302        302        302
GET:conversations/newest                                          -                  login      200    200          200     200        200    200        200        200
POST:conversations/newest                                         -                  405        405    405          405     405        405    405        405        405
POST:conversations                                                -                  login      400    400          400     400        400    400        400        400
GET:conversations/<conversation_id>                               -                  login      404    200          404     200        404    404        404        404
POST:conversations/<conversation_id>                              -                  405        405    405          405     405        405    405        405        405
{GET,POST}:i18n/setlang/                                          -                  302        302    302          302     302        302    302        302        302
POST:admin/auth/group/#delete_selected                            -                  login      login  login        login   login      403    403        403        302
POST:admin/{auth/user,messaging/conversation,messaging/message}/#delete_selected  -                  login      login  login        login   login      403    403        403        302-
"""


# The calls


@dataclass(frozen=True)
class Call:
    method: str
    route: str
    action: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.route}{self.action and f'#{self.action}'}"


@cache
def list_calls() -> list[Call]:
    routes = dict(_walk(get_resolver().url_patterns))
    calls = [Call(method, route) for route, view in routes.items() for method in _methods(view)]
    request = RequestFactory().get("/")
    request.user = Superuser()
    for model, model_admin in admin.site._registry.items():
        route = f"admin/{model._meta.app_label}/{model._meta.model_name}/"
        calls += [Call("POST", route, name) for name in model_admin.get_actions(request)]
    return calls


class Superuser:
    def has_perm(self, name: str) -> bool:
        return True


def _walk(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            simple = simplify_regex(route).removeprefix("/")
            yield re.sub(r"<\w+:", "<", simple), pattern.callback
        else:
            yield from _walk(pattern.url_patterns, route)


def _methods(view: Any) -> list[str]:
    """Of a view of REST framework those that it has; other views look at the method themselves."""
    if not hasattr(view, "cls"):
        return ["GET", "POST"]
    names = getattr(view, "actions", None) or [
        name for name in view.cls.http_method_names if hasattr(view.cls, name)
    ]
    return [name.upper() for name in names if name not in ("options", "head")]


# The world that they are asked in


@dataclass(kw_only=True)
class World:
    files: dict[str, Attachment]
    clients: dict[str, CheckedClient]
    parameters: dict[str, Any]
    objects: dict[str, Any]


@pytest.fixture
def world(bucket, django_user_model, conversation_of) -> World:
    def make_user(name: str, **fields: Any) -> Any:
        return django_user_model.objects.create(username=name, **fields)

    people = {name: make_user(name) for name in PRINCIPALS[1:5]}
    people |= {name: make_user(name, is_staff=True) for name in PRINCIPALS[5:8]}
    people["superuser"] = make_user("superuser", is_staff=True, is_superuser=True)
    ours = Permission.objects.filter(content_type__app_label="attachments")
    people["view"].user_permissions.set(ours.filter(codename__startswith="view_"))
    may_delete = ours.filter(codename__regex="^(view|delete)_")
    people["delete"].user_permissions.set(may_delete)

    conversation = conversation_of(*(people[name] for name in PRINCIPALS[2:5]))
    message = Message.objects.create(conversation=conversation, author=people["uploader"])
    conversation.participants.remove(people["former"])
    files = {
        status: make_file(status, user=people["uploader"], message=message) for status in STATUSES
    }
    note = ObjectDeletion.objects.create(key="attachments/x/y/z", due_at=timezone.now())
    result = DBTaskResult.objects.get(pk=purge_orphans.enqueue().id)
    return World(
        files=files,
        clients={name: make_client(people.get(name)) for name in PRINCIPALS},
        parameters={
            "conversation_id": conversation.pk,
            "message_id": message.pk,
            "app_label": "attachments",
            "content_type_id": 1,
            "id": people["uploader"].pk,
            "url": "nothing",
            "path": "nothing",
        },
        objects={
            "auth/group": Group.objects.create(name="group").pk,
            "auth/user": people["uploader"].pk,
            "messaging/conversation": conversation.pk,
            "messaging/message": message.pk,
            "attachments/objectdeletion": note.pk,
            "django_tasks_database/dbtaskresult": result.pk,
            "r": 1,
        },
    )


def make_client(user: Any) -> CheckedClient:
    client = CheckedClient()
    if user is not None:
        client.force_login(user)  # pages of the admin
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client


# The requests


def make_request(call: Call, file: Attachment, world: World) -> tuple[str, Any]:
    """The path and the body."""
    match = re.match(r"(?:admin/)((?:\w+/\w+|r)(?=/))", call.route)
    model = match[1] if match else ""
    parameters = {
        **world.parameters,
        "attachment_id": file.pk,
        "object_id": file.pk if model == "attachments/attachment" else world.objects.get(model),
    }
    path = "/" + re.sub(r"<(\w+)>", lambda found: str(parameters[found[1]]), call.route)
    return path, make_body(call, file, world)


def make_body(call: Call, file: Attachment, world: World) -> Any:
    message_id = world.parameters["message_id"]
    described = {"filename": "new.png", "content_type": "image/png", "message_id": message_id}
    chosen = world.objects.get(call.route.removeprefix("admin/").rstrip("/"), file.pk)
    return {
        "api/v1/auth/token": {"username": "uploader", "password": "wrong"},
        "api/v1/auth/token/refresh": {"refresh": "wrong"},
        "api/v1/attachments/presigned": described,
        "api/v1/attachments/presigned/batch": {"files": [described]},
        "api/v1/attachments/confirm": {"attachment_id": str(file.pk)},
        "api/v1/conversations": {"participants": []},
        "api/v1/conversations/<conversation_id>/messages": {
            "text": "",
            "attachment_ids": [str(file.pk)],
        },
    }.get(call.route) or {
        "post": "yes",
        "action": call.action,
        ACTION_CHECKBOX_NAME: [str(chosen)] if call.action else [],
    }


def is_about_one(call: Call, world: World) -> bool:
    one, other = list(world.files.values())[:2]
    if call.method == "GET":
        return make_request(call, one, world)[0] != make_request(call, other, world)[0]
    return make_request(call, one, world) != make_request(call, other, world)


def ask(world: World, name: str, call: Call, status: str) -> str:
    """What happens, as a cell of the table says it."""
    file = world.files[STATUSES[0] if status == NONE else status]
    wanted = STATUSES if status == NONE else [status]
    path, body = make_request(call, file, world)
    client = world.clients[name]
    cookies = client.cookies.output(header="")
    data = {} if call.method == "GET" else {"data": body}
    form = {"format": "json"} if path.startswith("/api/") and data else {}
    with transaction.atomic():
        try:
            response = getattr(client, call.method.lower())(path, **data, **form)
            told = read_told(response, world)
            change = "" if call.method == "GET" else find_change(world, wanted)
        finally:
            transaction.set_rollback(True)
            client.cookies = SimpleCookie(cookies)
    code = "login" if is_to_login(response) else str(response.status_code)
    return code + change + (f"+{'' if told == wanted else '|'.join(told)}" if told else "")


def is_to_login(response: Any) -> bool:
    ways = ("/admin/login/?next=", "/login?next=")
    return response.status_code == 302 and response["Location"].startswith(ways)


def read_told(response: Any, world: World) -> list[str]:
    """The statuses of the files whose name or key is in the answer.

    Keys that are served to nobody yet are in no answer.
    """
    content = b"".join(response) if response.streaming else response.content
    text = f"{dict(response.items())} {content.decode()}"
    for status in STATUSES:
        assert status == "ready" or make_nonce(status) not in text
    return [
        status for status in STATUSES if f"{status}-secret" in text or make_nonce(status) in text
    ]


def find_change(world: World, statuses: list[str]) -> str:
    rows = dict(Attachment.objects.values_list("pk", "status"))
    gone = [status for status, file in world.files.items() if file.pk not in rows]
    assert gone in ([], statuses)
    return "-" if gone else "*" if len(rows) > len(STATUSES) else ""


# The tests


def read_matrix() -> dict[tuple[str, str], list[str]]:
    """The cells of each call and each status."""
    lines = [line.split() for line in TABLE.strip().splitlines()]
    assert lines[0] == ["#call", "status", *PRINCIPALS]
    rows = [(call, statuses, cells) for call, statuses, *cells in lines[1:]]
    return {
        (call, status): cells
        for calls, statuses, cells in rows
        for call in expand(calls.replace(":", " "))
        for status in NAMED.get(statuses, statuses.split("|"))
    }


def expand(text: str) -> list[str]:
    """``{a,b}`` stands for each of them."""
    before, brace, rest = text.partition("{")
    if not brace:
        return [text]
    choices, _, after = rest.partition("}")
    return [before + choice + end for choice in choices.split(",") for end in expand(after)]


@pytest.mark.django_db
def test_everybody_gets_what_the_table_says(world):
    matrix = read_matrix()
    statuses = {call: STATUSES if is_about_one(call, world) else [NONE] for call in list_calls()}

    rows = {(str(call), status): call for call in statuses for status in statuses[call]}
    assert rows.keys() == matrix.keys()
    found = {
        row: [ask(world, name, call, row[1]) for name in PRINCIPALS] for row, call in rows.items()
    }

    wrong = {row: (found[row], matrix[row]) for row in rows if found[row] != matrix[row]}
    assert not wrong


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["other", "superuser"])
def test_no_other_method_does_anything(world, name):
    file = world.files["ready"]
    calls = {str(call) for call in list_calls()}
    paths = {
        call.route: make_request(call, file, world)[0]
        for call in list_calls()
        if call.route.startswith("api/v1/")
    }

    for route, path in paths.items():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"):
            if f"{method} {route}" not in calls:
                response = world.clients[name].generic(method, path, "{}", "application/json")
                assert response.status_code == 405, (method, route)
                assert response.json()["errors"][0]["code"] == "method_not_allowed"
    assert Attachment.objects.count() == len(STATUSES)


# Those that act for nobody, because they look at no session.
SESSIONLESS = {"POST api/v1/auth/token", "POST api/v1/auth/token/refresh", "POST api/<path>"}


@pytest.mark.django_db
def test_a_session_alone_changes_nothing(world, django_user_model):
    """Another site can make a browser send its cookies, but not the CSRF token."""
    clients = {}
    for name in ("uploader", "superuser"):
        clients[name] = CheckedClient(enforce_csrf_checks=True)
        clients[name].force_login(django_user_model.objects.get(username=name))
    calls = [call for call in list_calls() if call.method != "GET"]
    assert {str(call) for call in calls} > SESSIONLESS

    for call in calls:
        client = clients["superuser" if call.route.startswith("admin/") else "uploader"]
        path, body = make_request(call, world.files["ready"], world)
        form = {"format": "json"} if path.startswith("/api/") else {}
        response = getattr(client, call.method.lower())(path, body, **form)
        if str(call) not in SESSIONLESS:
            assert response.status_code == 403, call
            assert "CSRF" in response.content.decode(), call
    assert Attachment.objects.count() == len(STATUSES)
