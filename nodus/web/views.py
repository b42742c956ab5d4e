"""The pages of the messenger. Its script reads and writes messages by the API, as any client."""

from hashlib import sha256
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.views.decorators.cache import never_cache
from django.views.decorators.http import condition, require_safe

from attachments.errors import NotFound
from nodus.messaging import services
from nodus.web.forms import StartForm
from nodus.web.login import find_demo_users
from nodus.web.texts import SCRIPT_TEXTS

_MODULES = [
    f"web/{name}.js"
    for name in ("api", "composer", "files", "lightbox", "messages", "news", "words")
]
"""Browsers fetch them all at once, and not each when another one imports it."""


@require_safe
@never_cache
@login_required
def show_home(request: HttpRequest) -> HttpResponse:
    return _show(request, StartForm())


@require_safe
@never_cache
@login_required
def show_conversation(request: HttpRequest, conversation_id: int) -> HttpResponse:
    try:
        conversation = services.get_conversation(conversation_id, request.user)
    except NotFound as error:
        raise Http404 from error
    people = conversation.participants.only("username").order_by("pk")
    script = {
        "conversation": conversation.pk,
        "user": request.user.pk,
        "people": {person.pk: str(person) for person in people},
        "texts": SCRIPT_TEXTS,
    }
    others = [person for person in people if person.pk != request.user.pk]
    return _show(request, StartForm(), conversation=conversation, others=others, script=script)


def _tell_version(request: HttpRequest) -> str:
    """Another one as soon as a conversation has a new message, and for each reader."""
    places = services.list_conversations(reader=request.user).values_list("pk", "latest_id")
    shown = repr([request.user.pk, get_language(), *places]).encode()
    return f'"{sha256(shown).hexdigest()}"'


@require_safe
@never_cache
@login_required
@condition(etag_func=_tell_version)
def list_conversations(request: HttpRequest) -> HttpResponse:
    """The list alone, which the script asks for again and again."""
    context = {"conversations": services.describe_conversations(reader=request.user)}
    return render(request, "web/conversations.html", context)


@never_cache
@login_required
def start_conversation(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":  # somebody logged in on the way, or chose another language
        return redirect("home")
    form = StartForm(request.POST)
    if not form.is_valid():
        return _show(request, form, status=400)
    other = form.cleaned_data["username"]
    conversation = services.open_conversation(user=request.user, other=other)
    return redirect("show-conversation", conversation.pk)


def _show(
    request: HttpRequest, form: StartForm, *, status: int = 200, **context: Any
) -> HttpResponse:
    conversations = services.describe_conversations(reader=request.user)
    demo_users = [name for name in find_demo_users() if name != request.user.username]
    context |= {
        "form": form,
        "conversations": conversations,
        "demo_users": demo_users,
        "modules": _MODULES,
    }
    return render(request, "web/messenger.html", context, status=status)
