"""The login page. While DEBUG is on, the users of `make run` are one click away."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse

from nodus.dev.demo_users import DEMO_USERS
from nodus.logins import keep_rate


def find_demo_users() -> list[str]:
    """The names of those that are there; none while DEBUG is off."""
    if not settings.DEBUG:
        return []
    users = get_user_model()._default_manager.filter(username__in=DEMO_USERS, is_active=True)
    found = set(users.values_list("username", flat=True))
    return [name for name in DEMO_USERS if name in found]


class LoginPage(LoginView):
    template_name = "web/login.html"
    next_page = "home"
    redirect_authenticated_user = True

    def get_redirect_url(self, *args: Any) -> str:
        """Not to this page itself: Django takes that for a loop, and fails."""
        url = super().get_redirect_url(*args)
        return "" if url == self.request.path else url

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs = super().get_form_kwargs()
        name = self.request.POST.get("demo", "")
        if name in find_demo_users():
            kwargs["data"] = {"username": name, "password": DEMO_USERS[name]}
        return kwargs

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(demo_users=find_demo_users(), **kwargs)


def _refuse(request: HttpRequest, text: str) -> HttpResponse:
    """The page with a fresh form, because a form with data would judge the password."""
    page = LoginPage()
    page.setup(request)
    form = AuthenticationForm(request, initial={"username": request.POST.get("username", "")})
    return page.render_to_response(page.get_context_data(form=form, refusal=text))


log_in = keep_rate(LoginPage.as_view(), _refuse)
