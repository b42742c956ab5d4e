"""The Russian texts are complete, and people who ask for Russian get them."""

import ast
import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from io import StringIO
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import ngettext
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

from attachments.models import Attachment
from nodus import foreign_texts
from tests import commands
from tests.databases import get_database_url
from tests.documents import ROOT

PARTS = ["attachments", "nodus"]
CATALOGUE = "locale/ru/LC_MESSAGES/django.po"
LIST = "/admin/attachments/attachment/"
RUSSIAN = {"Accept-Language": "ru"}


def read_catalogue(part, root=ROOT):
    return polib.pofile(str(root / part / CATALOGUE))


# The catalogues


@pytest.mark.parametrize("part", PARTS)
def test_every_text_is_translated(part):
    catalogue = read_catalogue(part)

    assert [entry.msgid for entry in catalogue if not entry.translated()] == []
    assert [entry.msgid for entry in catalogue if entry.fuzzy or entry.obsolete] == []
    assert catalogue.metadata["Plural-Forms"].startswith("nplurals=4;")


def find_placeholders(text):
    names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
    return sorted(re.findall(r"%(?:\(\w+\))?[sd]", text)), names


@pytest.mark.parametrize("part", PARTS)
def test_translations_have_the_placeholders_of_their_texts(part):
    for entry in read_catalogue(part):
        wanted = find_placeholders(entry.msgid_plural or entry.msgid)
        for text in entry.msgstr_plural.values() or [entry.msgstr]:
            assert find_placeholders(text) == wanted, entry.msgid


@pytest.mark.parametrize("part", PARTS)
def test_the_compiled_catalogue_is_the_written_one(part):
    def read(catalogue):
        return {
            (entry.msgctxt, entry.msgid): entry.msgstr_plural or entry.msgstr for entry in catalogue
        }

    compiled = polib.mofile(str((ROOT / part / CATALOGUE).with_suffix(".mo")))

    assert read(compiled) == read(read_catalogue(part))


@pytest.mark.skipif(not shutil.which("xgettext"), reason="gettext is not installed")
@pytest.mark.parametrize("part", PARTS)
def test_make_messages_finds_nothing_new(part, tmp_path):
    shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (command,) = re.findall(r"^MAKE_MESSAGES := (.+)$", (ROOT / "Makefile").read_text(), re.M)
    program, *arguments = shlex.split(command)
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}

    subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        cwd=tmp_path / part,
        env=environment,
        check=True,
    )

    def read(root):
        return {(e.msgctxt, e.msgid, e.msgid_plural) for e in read_catalogue(part, root)}

    assert read(tmp_path) == read(ROOT), "run `make messages`, and translate what it found"


SHOWN_NAMES = {"help", "help_text", "verbose_name", "verbose_name_plural", "summary"}
SHOWN_NAMES |= {"description", "short_description", "search_help_text", "default_detail"}
SHOWN_BY = {"CommandError", "ValidationError", "ParseError", "ArgumentTypeError", "OpenApiResponse"}
SPELLED_ALIKE = {"SHA-256"}


def find_shown_values(tree):
    """Find what people read, by the names that hold it and by the calls that show it."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg=name, value=value) if name in SHOWN_NAMES:
                yield value
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in SHOWN_NAMES:
                yield value
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=values):
                if name in SHOWN_BY:
                    yield from values


def find_plain_texts(path):
    """Find literals with words that are shown as they stand."""
    for value in find_shown_values(ast.parse(path.read_text())):
        if isinstance(value, ast.Constant | ast.JoinedStr):
            parts = [part.value for part in ast.walk(value) if isinstance(part, ast.Constant)]
            text = "".join(part for part in parts if isinstance(part, str))
            if re.search("[A-Za-z]{2}", text) and text not in SPELLED_ALIKE:
                yield f"{path.relative_to(ROOT)}:{value.lineno}: {text}"


def test_no_text_of_the_code_goes_past_gettext():
    paths = [path for part in PARTS for path in (ROOT / part).rglob("*.py")]
    ours = [path for path in paths if not {"migrations", "dev"} & set(path.parts)]

    assert [text for path in ours for text in find_plain_texts(path)] == []


def test_xgettext_sees_every_text():
    """No text is marked inside an f-string, where xgettext does not look."""
    for path in [path for part in PARTS for path in (ROOT / part).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                text = ast.unparse(node)
                assert not re.search(r"\b(_|n?gettext\w*)\(", text), (path, text)


def test_no_text_of_the_templates_goes_past_gettext():
    marked = "|".join(
        [
            "{% blocktranslate.*?{% endblocktranslate %}",
            "{% block bodyclass %}.*?{% endblock %}",
            "{[%{#].*?[%}#]}",
            "<style>.*?</style>",
            "<.*?>",
            r"&\w+;",
        ]
    )
    for path in [path for part in PARTS for path in (ROOT / part).rglob("*.html")]:
        rest = re.sub(marked, "", path.read_text(), flags=re.S)
        assert not re.search("[A-Za-z]{2}", rest), (path, rest.split())


@pytest.mark.parametrize(
    ("texts", "module"),
    [
        (foreign_texts.SIMPLEJWT, "rest_framework_simplejwt"),
        (foreign_texts.REST_FRAMEWORK, "rest_framework"),
        (foreign_texts.DJANGO_TASKS_DB, "django_tasks_db"),
    ],
)
def test_the_libraries_still_say_what_is_translated_for_them(texts, module):
    package = Path(import_module(module).__file__).parent
    source = "".join(path.read_text() for path in package.glob("*.py"))

    assert [text for text in texts if text not in source] == []


# Who gets Russian


@pytest.mark.django_db
def test_errors_of_the_api_follow_accept_language(api, user):
    client = api(user)

    def ask(language):
        body = {"filename": "a.png", "content_type": "image/png", "size_bytes": 10**9}
        url = "/api/v1/attachments/presigned"
        response = client.post(url, body, format="json", headers={"Accept-Language": language})
        assert response.status_code == 400
        return response.json()["errors"][0]["detail"]

    english = "The file is too large: 1000000000 bytes, at most 104857600."
    russian = "Файл слишком велик: 1000000000 Б при допустимых 104857600 Б."
    assert ask("ru") == ask("ru-RU,ru;q=0.9,en;q=0.8") == russian
    assert ask("en") == ask("de") == ask("") == english


@pytest.mark.django_db
def test_the_libraries_errors_are_russian_too(api):
    client = api()
    client.credentials(HTTP_AUTHORIZATION="Bearer nonsense")

    refused = client.get("/api/v1/attachments", headers=RUSSIAN).json()
    unknown = api().post(
        "/api/v1/auth/token",
        {"username": "nobody", "password": "x"},
        format="json",
        headers=RUSSIAN,
    )

    assert refused["errors"][0]["detail"] == "Токен недействителен."
    assert (
        unknown.json()["errors"][0]["detail"] == "Нет действующей учётной записи с такими данными."
    )


@pytest.mark.django_db
def test_the_status_in_an_error_is_russian(api, user, upload):
    ticket = upload(user, content=None)

    response = api(user).get(
        f"/api/v1/attachments/{ticket.attachment_id}/download", headers=RUSSIAN
    )

    assert response.json()["errors"] == [
        {
            "code": "attachment_not_ready",
            "detail": "Вложение не готово, его статус: «ожидается».",
            "attr": None,
        }
    ]


@pytest.mark.django_db
def test_the_admin_follows_accept_language_until_the_user_chooses(client, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("root"))

    def read(**headers):
        return client.get(LIST, headers=headers).content.decode()

    assert "Select attachment to view" in read()
    assert "Выберите вложение для просмотра" in read(**RUSSIAN)

    chosen = client.post("/i18n/setlang/", {"language": "ru", "next": LIST})
    assert chosen.status_code == 302
    assert chosen.headers["Location"] == LIST
    assert client.cookies[settings.LANGUAGE_COOKIE_NAME].value == "ru"
    assert "Выберите вложение для просмотра" in read(**{"Accept-Language": "en"})

    client.post("/i18n/setlang/", {"language": "en", "next": LIST})
    assert "Select attachment to view" in read(**RUSSIAN)


def test_the_description_of_the_api_is_russian(api):
    schema = api().get("/api/schema", headers={"Accept": "application/json", **RUSSIAN}).json()

    operations = [
        operation
        for path in schema["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict)
    ]
    for operation in operations:
        assert re.search("[а-я]", operation["summary"]), operation["summary"]
        assert re.search("[а-я]", operation.get("description", "я")), operation["description"]


def test_libraries_leave_no_english_where_the_admin_names_them(django_user_model, client, db):
    client.force_login(django_user_model.objects.create_superuser("root"))

    page = client.get("/admin/", headers=RUSSIAN).content.decode()

    assert "Фоновые задачи" in page
    assert "Результаты задач" in page
    assert "Переписка" in page


@pytest.mark.parametrize(
    ("count", "deleted", "days"),
    [
        (1, "Удалено 1 вложение.", "1 день"),
        (2, "Удалено 2 вложения.", "2 дня"),
        (5, "Удалено 5 вложений.", "5 дней"),
        (21, "Удалено 21 вложение.", "21 день"),
        (112, "Удалено 112 вложений.", "112 дней"),
    ],
)
def test_plural_forms(count, deleted, days):
    with translation.override("ru"):
        text = ngettext("Deleted %(count)d attachment.", "Deleted %(count)d attachments.", count)
        assert text % {"count": count} == deleted
        assert ngettext("%(days)s day", "%(days)s days", count) % {"days": count} == days


def test_days_stand_in_the_genitive():
    """Django's own Russian has "24 Ноябрь" in the date hierarchy."""
    from attachments.admin.dates import _name_date

    with translation.override("ru"):
        assert _name_date([2026, 11, 24]) == "24 ноября"
        assert _name_date([2026, 11]) == "Ноябрь 2026 г."
    with translation.override("en"):
        assert _name_date([2026, 11, 24]) == "November 24"


# Commands


def manage(*args, language="ru", **variables):
    result = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=ROOT,
        env={**os.environ, "DJANGO_LANGUAGE_CODE": language, "COLUMNS": "200", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_help_is_in_the_language_of_the_environment():
    russian = " ".join(manage("purge_orphans", "--help").split())  # argparse wraps lines
    english = " ".join(manage("purge_orphans", "--help", language="en").split())

    assert "Удаляет вложения без сообщения" in russian
    assert "строк в одной транзакции, не больше 10000 (по умолчанию 1000)" in russian
    assert "Remove attachments that hang on no message" in english
    assert "rows in one transaction, at most 10000 (default: 1000)" in english


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_output_is_in_the_language_of_the_environment(user, attachment_of):
    attachment_of(user)
    long_ago = timezone.now() - timedelta(days=8)
    Attachment.objects.update(created_at=long_ago, confirmed_at=long_ago)
    database_url = get_database_url()

    text = manage("purge_orphans", "--dry-run", DATABASE_URL=database_url)
    report = json.loads(manage("purge_orphans", "--dry-run", "--json", DATABASE_URL=database_url))

    assert re.search(r"│ Без сообщения +│ +1 │", text)
    assert "Размер: " in text
    assert (report["orphans"], report["dry_run"]) == (1, True)


def run(language, *args):
    with translation.override(language):
        return commands.run(*args, no_color=True)


def test_setup_storage_tells_people_in_russian_and_programs_in_english(bucket):
    from attachments import storage

    storage.setup_bucket()

    lines = run("ru", "setup_storage").splitlines()
    assert lines[0] == f"бакет           без изменений {bucket.name}"
    assert lines[1].startswith("политика        без изменений attachments/* и thumbnails/* может")
    assert lines[3].startswith("сроки хранения  без изменений pending/ истекает через 2 дня")
    assert run("ru", "setup_storage", "--json") == run("en", "setup_storage", "--json")


@pytest.mark.django_db(transaction=True)
def test_reconcile_storage_tells_people_in_russian_and_programs_in_english(
    user, attachment_of, bucket
):
    bucket.objects.all().delete()
    attachment_of(user)

    assert "Сверено строк" in run("ru", "reconcile_storage")
    assert run("ru", "reconcile_storage", "--json") == run("en", "reconcile_storage", "--json")


def test_thousands_are_grouped_as_the_language_does():
    from django.core.management.base import OutputWrapper

    from attachments.management.terminal import print_table

    def show(language):
        out = StringIO()
        with translation.override(language):
            print_table(OutputWrapper(out), ["n"], [[1234567]])
        return out.getvalue()

    assert "1,234,567" in show("en")
    assert "1\u00a0234\u00a0567" in show("ru")


# The switch in the admin's header


@pytest.mark.django_db(transaction=True)
def test_staff_switch_the_language_and_stay_on_the_page(
    open_admin, django_user_model, attachment_of, message_of
):
    superuser = django_user_model.objects.create_superuser("root", password="root-demo")
    message = message_of(superuser)
    attachment_of(superuser, content_type="application/pdf", message_id=message.pk)
    page = open_admin(superuser, "attachments/attachment/?status__exact=ready")
    address = page.current_url

    def switch():
        html = page.find_element(By.TAG_NAME, "html")
        page.find_element(By.CSS_SELECTOR, ".languages button").click()
        WebDriverWait(page, 10).until(staleness_of(html))

    switch()
    assert page.current_url == address
    assert page.find_element(By.TAG_NAME, "html").get_attribute("lang") == "ru"
    assert page.find_element(By.CSS_SELECTOR, ".attachment-status").text == "готово"
    results = page.find_element(By.CSS_SELECTOR, "#changelist .results")
    overflow = "return arguments[0].scrollWidth - arguments[0].clientWidth"
    assert page.execute_script(overflow, results) == 0

    switch()
    assert page.find_element(By.CSS_SELECTOR, ".attachment-status").text == "ready"


def test_who_is_not_signed_in_has_the_switch_too(client, db):
    page = client.get("/admin/login/").content.decode()

    assert 'value="ru" lang="ru">Русский</button>' in page
    assert page.count('class="languages"') == 1
