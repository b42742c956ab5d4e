"""The form field: whose files it takes, and what it says of others."""

from uuid import uuid4

import pytest
from django import forms
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.http import QueryDict
from django.utils import translation

from attachments.forms import AttachmentField
from tests.test_admin import make_rows

pytestmark = pytest.mark.django_db


def make_form(user, data=None, initial=None, **options):
    """A form with one field, `cover`; ``data`` are the ids that it submits."""

    class CardForm(forms.Form):
        cover = AttachmentField(**options)

    submitted = None
    if data is not None:
        submitted = QueryDict(mutable=True)
        submitted.setlist("cover", [str(item) for item in data])
    form = CardForm(submitted, initial={"cover": initial})
    form.fields["cover"].user = user
    return form


def get_code(form):
    ((error,),) = (errors.as_data() for errors in form.errors.values())
    return error.code


def test_it_gives_a_ready_attachment_of_the_user(user):
    (row,) = make_rows(user)

    assert make_form(user, [row.pk]).errors == {}
    form = make_form(user, [row.pk])
    assert form.is_valid()
    assert form.cleaned_data == {"cover": row}


def test_several_come_in_their_order(user):
    rows = make_rows(user, 3)

    form = make_form(user, [rows[2].pk, rows[0].pk], multiple=True)

    assert form.is_valid()
    assert form.cleaned_data == {"cover": [rows[2], rows[0]]}


def test_what_may_not_be_used_looks_like_what_does_not_exist(user, other_user, message_of):
    others = {
        "missing": uuid4(),
        "no id": "garbage",
        "foreign": make_rows(other_user)[0].pk,
        "unready": make_rows(user, status="pending")[0].pk,
        "linked": make_rows(user, message=message_of(user))[0].pk,
        "infected": make_rows(user, status="infected")[0].pk,
    }

    for what, pk in others.items():
        form = make_form(user, [pk])
        assert get_code(form) == "invalid_choice", what
        assert "<li><span>" not in str(form["cover"])  # nor does the page tell its name
    assert get_code(make_form(user, others.values(), multiple=True)) == "invalid_choice"
    assert get_code(make_form(AnonymousUser(), [make_rows(user)[0].pk])) == "invalid_choice"


@pytest.mark.parametrize(("multiple", "empty"), [(False, None), (True, [])])
def test_none_is_given_or_refused(user, multiple, empty):
    optional = make_form(user, [], multiple=multiple, required=False)

    assert optional.is_valid()
    assert optional.cleaned_data == {"cover": empty}
    assert get_code(make_form(user, [""], multiple=multiple)) == "required"


def test_what_was_there_stays_whoever_it_is_of(user, other_user, message_of):
    (row,) = make_rows(other_user, message=message_of(other_user), content_type="video/mp4")

    form = make_form(user, [row.pk], initial=row.pk, content_types=["image/*"])

    assert form.is_valid()
    assert form.cleaned_data == {"cover": row}
    assert not form.has_changed()
    assert row.filename in str(form["cover"])
    assert make_form(user, [], initial=row, required=False).has_changed()


def test_limits_of_type_and_number(user):
    rows = make_rows(user, 3, content_type="application/pdf")

    typed = make_form(user, [rows[0].pk], content_types=["image/*", "video/mp4"])
    counted = make_form(user, [row.pk for row in rows], multiple=True, max_count=2)

    assert get_code(typed) == "content_type_not_allowed"
    assert get_code(counted) == "max_count"
    assert 'accept="image/jpeg,.jpg,' in str(typed["cover"])
    assert "application/pdf" not in str(typed["cover"]).partition("accept=")[2].partition(">")[0]
    with translation.override("ru"):
        texts = [make_form(user, [uuid4()]).errors["cover"][0], counted.errors["cover"][0]]
    assert texts == [
        "Этот файл использовать нельзя. Загрузите его заново.",
        "Можно не больше 2 файлов.",
    ]


def test_a_form_without_a_user_is_a_defect():
    form = make_form(None, [])

    with pytest.raises(ImproperlyConfigured, match="does not know its user"):
        form.is_valid()
    with pytest.raises(ImproperlyConfigured, match="does not know its user"):
        str(make_form(None)["cover"])


def test_the_widget_has_no_inline_script_or_style_and_escapes_names(user):
    (row,) = make_rows(user, filename="<b onclick=1>.png")
    form = make_form(user, initial=row)
    prefixed = forms.formset_factory(type(form), extra=0)(prefix="rows")

    page = f"{form.media}{form['cover']}"

    assert '<script src="/static/attachments/input.js" type="module"></script>' in page
    assert "<b onclick" not in page
    assert " style=" not in page
    assert '<input type="hidden" name="cover" disabled>' in page
    assert f'<input type="hidden" name="cover" value="{row.pk}">' in page
    assert " required" not in page.partition('type="file"')[2].partition(">")[0]
    assert " required" in str(make_form(user)["cover"])
    assert str(prefixed.media) == str(form.media)
