import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.contrib.auth.models import AnonymousUser, Permission
from django.db import connection, transaction
from django.utils import timezone

from attachments import services
from attachments.errors import (
    AlreadyLinked,
    AttachmentNotReady,
    NotFound,
    NotYours,
    TooManyAttachments,
)
from attachments.models import Attachment
from attachments.paging import read_page
from attachments.policy import AccessPolicy, get_message_model
from attachments.storage import find_link_expiry, steady_links
from tests.stores import list_keys

pytestmark = pytest.mark.django_db


def see(attachment, user):
    return services.get_attachment(attachment_id=attachment.pk, user=user)


# Seeing


def test_who_sees_what(user, other_user, staff_user, django_user_model, attachment_of, message_of):
    stranger = django_user_model.objects.create_user("mallory")
    attachment = attachment_of(user, message_id=message_of(user, other_user).pk)

    for reader in (user, other_user, staff_user):
        assert see(attachment, reader) == attachment
    with pytest.raises(NotFound):
        see(attachment, stranger)
    assert list(Attachment.objects.visible_to(other_user)) == [attachment]
    assert list(Attachment.objects.visible_to(stranger)) == []


def test_nobody_else_sees_what_hangs_nowhere(user, other_user, attachment_of, message_of):
    message_of(user, other_user)
    attachment = attachment_of(user)

    with pytest.raises(NotFound):
        see(attachment, other_user)


def test_a_participant_who_leaves_sees_no_more(user, other_user, attachment_of, message_of):
    message = message_of(user, other_user)
    attachment = attachment_of(user, message_id=message.pk)

    message.conversation.participants.remove(other_user)

    with pytest.raises(NotFound):
        see(attachment, other_user)
    assert see(attachment, user) == attachment


def test_one_attachment_is_listed_once(user, other_user, attachment_of, message_of):
    """Also with many participants, and although two rules make it visible."""
    attachment = attachment_of(user, message_id=message_of(user, other_user).pk)

    assert list(Attachment.objects.visible_to(user)) == [attachment]


# Links


def test_a_public_link_works(user, attachment_of, samples):
    url = services.get_download_url(attachment_of(user))

    assert "X-Amz-Signature" not in url
    assert requests.get(url, timeout=10).content == samples["image/png"]


def test_a_private_link_is_signed_and_works(user, attachment_of, samples, settings):
    attachment = attachment_of(user)
    private = {"PUBLIC_READ": False, "DOWNLOAD_EXPIRES_SECONDS": 77}
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, **private}

    url = services.get_download_url(attachment)

    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["77"]
    assert requests.get(url, timeout=10).content == samples["image/png"]


@pytest.mark.parametrize("as_attachment", [False, True])
def test_a_private_link_opens_one_file_until_it_ends(
    user, attachment_of, settings, monkeypatch, as_attachment
):
    private = {"PUBLIC_READ": False, "DOWNLOAD_EXPIRES_SECONDS": 600}
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, **private}
    one, other = attachment_of(user), attachment_of(user)
    seconds = {"past": time.time() - 901, "now": time.time()}
    links = {}
    for name, moment in seconds.items():
        monkeypatch.setattr(steady_links, "time", SimpleNamespace(time=lambda at=moment: at))
        links[name] = services.get_download_url(one, as_attachment=as_attachment)

    ends = {name: find_link_expiry(link).timestamp() for name, link in links.items()}
    assert ends["past"] < time.time() < ends["now"]

    assert requests.get(links["now"], timeout=10).status_code == 200
    assert requests.get(links["past"], timeout=10).status_code == 403
    signature = parse_qs(urlsplit(links["now"]).query)["X-Amz-Signature"][0]
    prolonged = links["past"].replace("X-Amz-Expires=600", "X-Amz-Expires=6000")
    for forged in (
        links["now"].replace(one.key, other.key),
        links["now"].replace(signature, "0" * 64),
        links["now"].replace("response-content-disposition=attachment", "response-content-disposition=inline"),
        links["now"] + "&response-content-type=text/html",
        prolonged,
    ):  # fmt: skip
        if forged != links["now"]:
            assert requests.get(forged, timeout=10).status_code == 403, forged


@pytest.mark.parametrize("public_read", [True, False])
def test_players_may_seek(user, attachment_of, samples, settings, public_read):
    attachment = attachment_of(user, content_type="video/mp4")
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": public_read}
    url = services.get_download_url(attachment)

    def read(range_header):
        response = requests.get(url, headers={"Range": range_header}, timeout=10)
        return response.status_code, response.content

    assert read("bytes=2-5") == (206, samples["video/mp4"][2:6])
    assert read("bytes=-4") == (206, samples["video/mp4"][-4:])
    assert read("bytes=999999999-")[0] == 416
    assert read("rubbish")[0] in (200, 416)


@pytest.mark.parametrize("public_read", [True, False])
def test_forms_and_links_work_where_clients_reach_the_store(
    user, attachment_of, samples, settings, public_read
):
    """The clients' name of the store is not Django's, and a signature holds for one name."""
    ours = settings.S3_ENDPOINT_URL
    theirs = ours.replace("localhost", "127.0.0.1")
    assert theirs != ours
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "PUBLIC_ENDPOINT_URL": theirs,
        "PUBLIC_READ": public_read,
    }

    url = services.get_download_url(attachment_of(user))  # posts its file to a form, too

    assert url.startswith(f"{theirs}/")
    assert requests.get(url, timeout=10).content == samples["image/png"]
    if not public_read:
        assert requests.get(url.replace(theirs, ours), timeout=10).status_code == 403


@pytest.mark.parametrize("public_read", [True, False])
def test_a_cdn_goes_first(user, attachment_of, settings, public_read):
    attachment = attachment_of(user, filename="Cat photo.png")
    settings.ATTACHMENTS = {
        **settings.ATTACHMENTS,
        "CDN_URL": "https://cdn.example.com/",
        "PUBLIC_READ": public_read,
    }

    assert services.get_download_url(attachment) == (f"https://cdn.example.com/{attachment.key}")


def test_no_link_before_it_is_ready(user, upload):
    upload(user)

    assert services.get_download_url(Attachment.objects.get()) is None


def test_no_thumbnail_of_what_was_taken_down(user, attachment_of):
    """The row names none then, but a receiver of the signal has the attachment as it was read."""
    attachment = attachment_of(user)
    attachment.thumbnail_key = attachment.make_thumbnail_key()
    assert services.get_thumbnail_url(attachment)

    attachment.status = Attachment.Status.INFECTED

    assert services.get_thumbnail_url(attachment) is None


# Linking


def link(user, message, *attachments):
    with transaction.atomic():
        services.link_attachments(
            attachment_ids=[attachment.pk for attachment in attachments], message=message, user=user
        )


@pytest.mark.parametrize("count", [1, 3])
def test_link_takes_as_many_queries_for_one_as_for_many(
    user, attachment_of, message_of, django_assert_num_queries, count
):
    message, attachments = message_of(user), [attachment_of(user) for _ in range(count)]

    with django_assert_num_queries(6):  # a savepoint and its end, the message, two counts, UPDATE
        services.link_attachments(
            attachment_ids=[attachment.pk for attachment in attachments], message=message, user=user
        )

    assert message.attachments.count() == count


def test_a_message_carries_no_more_than_its_limit(user, attachment_of, message_of, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_ATTACHMENTS_PER_MESSAGE": 2}
    message = message_of(user)
    attachments = [attachment_of(user) for _ in range(3)]

    def link(*some):
        ids = [attachment.pk for attachment in some]
        services.link_attachments(attachment_ids=ids, message=message, user=user)

    with pytest.raises(TooManyAttachments) as raised:
        link(*attachments)
    assert (raised.value.attr, raised.value.params) == ("attachment_ids", {"max_count": 2})
    link(*attachments[:2])
    link(*attachments[:2])  # again is no error
    with pytest.raises(TooManyAttachments):
        link(attachments[2])
    with pytest.raises(TooManyAttachments):
        services.confirm_upload(attachment_id=attachments[2].pk, user=user, message_id=message.pk)
    with pytest.raises(TooManyAttachments):
        services.presign_upload(
            user=user, filename="a", content_type="image/png", message_id=message.pk
        )

    assert message.attachments.count() == 2
    attachments[0].change(where={}, status="rejected")  # it takes no place any more
    link(attachments[2])


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_many_confirms_at_once_never_pass_the_limit(user, attachment_of, message_of, settings):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "MAX_ATTACHMENTS_PER_MESSAGE": 3}
    message = message_of(user)
    attachments = [attachment_of(user) for _ in range(8)]

    def link(attachment):
        try:
            services.confirm_upload(attachment_id=attachment.pk, user=user, message_id=message.pk)
        except TooManyAttachments:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(link, attachments)) == 3
    assert message.attachments.count() == 3


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_message_that_is_locked_keeps_no_other_waiting(user, attachment_of, message_of):
    older, free, newer = (message_of(user) for _ in range(3))
    attachment = attachment_of(user)

    def link():
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '3s'")
            services.confirm_upload(attachment_id=attachment.pk, user=user, message_id=free.pk)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
            connection.close()

    with ThreadPoolExecutor(1) as thread, transaction.atomic():
        others = get_message_model().objects.filter(pk__in=[older.pk, newer.pk])
        assert len(others.select_for_update()) == 2
        thread.submit(link).result(timeout=30)

    assert free.attachments.get() == attachment


def test_what_is_not_ready_is_seen_by_its_uploader_and_staff_alone(
    user, other_user, staff_user, upload, message_of
):
    message = message_of(user, other_user)
    ticket = upload(user, message_id=message.pk)

    def see(viewer):
        return services.get_attachment(attachment_id=ticket.attachment_id, user=viewer)

    for status in Attachment.Status:
        now = timezone.now()
        Attachment.objects.update(
            status=status, size_bytes=1, lease_expires_at=now, waiting_since=now
        )
        assert see(user).pk == see(staff_user).pk == ticket.attachment_id
        if status == "ready":
            assert see(other_user)
        else:
            with pytest.raises(NotFound):
                see(other_user)


class OpenPolicy(AccessPolicy):
    """A host that forgot those who are not signed in."""

    def readable_messages(self, user):
        return get_message_model().objects.all()


def test_who_is_of_a_model_without_staff_is_no_staff(
    user, other_user, attachment_of, message_of, settings
):
    shared, _hidden = attachment_of(user, message_id=message_of(user).pk), attachment_of(user)
    policy = f"{__name__}.{OpenPolicy.__name__}"
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ACCESS_POLICY": policy}
    reader = SimpleNamespace(pk=other_user.pk)

    assert read_page(services.VisibleAttachments(user=reader), size=10).rows == [shared]
    with pytest.raises(NotYours):
        delete(shared, reader)


def test_who_is_not_signed_in_sees_nothing_whatever_the_policy_says(
    user, attachment_of, message_of, settings
):
    attachment_of(user, message_id=message_of(user).pk)
    policy = f"{__name__}.{OpenPolicy.__name__}"
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "ACCESS_POLICY": policy}
    nobody = AnonymousUser()

    assert not Attachment.objects.visible_to(nobody).exists()
    assert read_page(services.VisibleAttachments(user=nobody), size=10).rows == []


def test_link_refuses_what_is_not_the_users(
    user, other_user, staff_user, attachment_of, message_of
):
    """Not even an attachment that the user may see: seeing is not owning."""
    theirs = attachment_of(other_user, message_id=message_of(user, other_user).pk)

    for linker in (user, staff_user):
        with pytest.raises(NotFound):
            link(linker, message_of(linker), theirs)


def test_link_is_all_or_nothing(user, upload, attachment_of, message_of):
    message, ready = message_of(user), attachment_of(user)
    pending = Attachment.objects.get(pk=upload(user).attachment_id)

    with pytest.raises(AttachmentNotReady) as raised:
        link(user, message, ready, pending)

    assert raised.value.params == {"status": "pending"}
    assert message.attachments.count() == 0


def test_link_again_to_the_same_message_is_fine_and_to_another_is_not(
    user, attachment_of, message_of
):
    message, attachment = message_of(user), attachment_of(user)
    link(user, message, attachment)

    link(user, message, attachment)
    with pytest.raises(AlreadyLinked):
        link(user, message_of(user), attachment)

    assert Attachment.objects.get().message == message


# Deleting


def delete(attachment, user):
    services.delete_attachment(attachment_id=attachment.pk, user=user)


@pytest.mark.django_db(transaction=True)
def test_delete_removes_row_and_objects(user, attachment_of, bucket, post_file, upload):
    ticket = upload(user)
    attachment = services.confirm_upload(attachment_id=ticket.attachment_id, user=user)
    post_file(ticket, b"again")  # the form still works

    delete(attachment, user)

    assert not Attachment.objects.exists()
    assert not [key for key in list_keys(bucket) if str(attachment.pk) in key]


@pytest.mark.django_db(transaction=True)
def test_staff_may_delete_and_readers_may_not(
    user, other_user, staff_user, attachment_of, message_of
):
    attachment = attachment_of(user, message_id=message_of(user, other_user).pk)

    permission = Permission.objects.get(codename="delete_attachment")
    other_user.user_permissions.add(permission)
    for stranger in (other_user, staff_user):  # neither the permission nor to be staff is enough
        with pytest.raises(NotYours):
            delete(attachment, stranger)
    staff_user.user_permissions.add(permission)
    delete(attachment, type(staff_user).objects.get(pk=staff_user.pk))

    assert not Attachment.objects.exists()


def test_delete_of_what_one_cannot_see(user, other_user, attachment_of):
    with pytest.raises(NotFound):
        delete(attachment_of(user), other_user)


def test_delete_of_what_another_request_has_just_deleted(user, attachment_of, monkeypatch):
    attachment, find = attachment_of(user), Attachment.find

    def find_before_the_other(attachment_id):
        found = find(attachment_id)
        Attachment.objects.all()._raw_delete("default")
        return found

    monkeypatch.setattr(Attachment, "find", find_before_the_other)

    with pytest.raises(NotFound):
        delete(attachment, user)
