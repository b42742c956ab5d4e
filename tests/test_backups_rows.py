"""The rows of a snapshot, dumped and restored, on PostgreSQL and on SQLite."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from attachments import backups
from attachments.backups import Existing
from attachments.backups.manifests import read_lines
from attachments.backups.row_dump import list_models
from attachments.backups.row_load import RestoreCounts, restore_rows
from attachments.errors import RowsDoNotFit, WouldOverwrite
from attachments.models import Attachment
from nodus.messaging.models import Conversation, Message
from tests.databases import lose_database

pytestmark = pytest.mark.django_db(transaction=True)


def dump():
    with backups.dump_rows() as rows:
        return list(read_lines(rows.content))


def test_all_that_attachments_depend_on_comes_before_them():
    labels = [model._meta.label_lower for model in list_models()]

    assert labels == [
        "auth.user",
        "auth.group",
        "auth.group_permissions",
        "auth.user_groups",
        "auth.user_user_permissions",
        "messaging.conversation",
        "messaging.conversation_participants",
        "messaging.message",
        "attachments.attachment",
    ]


def test_there_and_back(user, other_user, message_of, attachment_of):
    message = message_of(user, other_user)
    attachment = attachment_of(
        user, message_id=message.pk, metadata={"line": "\u2028\x85", "deep": [1, {"a": None}]}
    )
    user.user_permissions.set(Permission.objects.filter(codename__endswith="_message"))
    permissions = user.get_user_permissions()
    before = dump()

    lose_database()
    restore_rows(before)

    assert dump() == before
    restored = Attachment.objects.select_related("message__conversation", "user").get()
    assert restored.key == attachment.key
    assert restored.metadata == attachment.metadata
    # Times are kept to the microsecond, and are not the moment of the restore.
    assert restored.created_at == attachment.created_at
    assert restored.message.created_at == message.created_at
    assert restored.message.conversation.created_at == message.conversation.created_at
    assert restored.user.check_password("alice-demo")
    assert restored.user.get_user_permissions() == permissions
    # New ids come after those that were restored.
    assert Conversation.objects.create().pk > message.conversation_id
    assert type(user).objects.create_user("dave").pk > other_user.pk


def test_no_id_is_given_twice(user, message_of, attachment_of):
    attachment_of(user, message_id=message_of(user).pk)
    before = dump()
    taken = Conversation.objects.create()  # and then deleted, or not committed yet
    Conversation.objects.filter(pk=taken.pk).delete()

    restore_rows(before)

    assert Conversation.objects.create().pk > taken.pk


def test_who_left_and_came_back_is_no_other(user, other_user, message_of, attachment_of):
    message = message_of(user, other_user)
    attachment_of(user, message_id=message.pk)
    before = dump()
    message.conversation.participants.remove(other_user)
    message.conversation.participants.add(other_user)  # a row of another id

    counts = restore_rows(before)

    label = "messaging.conversation_participants"
    assert counts[label] == RestoreCounts(unchanged=2)
    assert message.conversation.participants.count() == 2


def test_the_same_rows_are_left_alone(user, attachment_of):
    attachment_of(user)
    before = dump()

    counts = restore_rows(before)

    assert counts == {
        "auth.user": RestoreCounts(unchanged=1),
        "attachments.attachment": RestoreCounts(unchanged=1),
    }


def test_what_is_different_is_refused_kept_or_overwritten(user, attachment_of):
    attachment_of(user)
    before = dump()
    Attachment.objects.update(filename="other")

    with pytest.raises(WouldOverwrite):
        restore_rows(before)
    counts = restore_rows(before, existing=Existing.KEEP)
    assert counts["attachments.attachment"] == RestoreCounts(different=1)
    assert Attachment.objects.get().filename == "other"
    restore_rows(before, existing=Existing.OVERWRITE)
    assert dump() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "attachments.nothing"},
        {"fields": {"no_such_field": 1}},
        {"fields": {"user": 999999}},
        {"fields": {"user": "x"}},
    ],
)
def test_rows_that_do_not_fit_leave_the_database_as_it_was(user, attachment_of, wrong):
    attachment_of(user)
    *others, record = dump()
    lose_database()
    fields = {**record["fields"], **wrong.get("fields", {})}

    with pytest.raises(RowsDoNotFit):
        restore_rows([*others, {**record, **wrong, "fields": fields}])

    assert dump() == []


def test_a_permission_that_is_not_here_is_told(user):
    user.user_permissions.add(Permission.objects.get(codename="view_message"))
    *others, record = dump()
    permission = ["fly", "messaging", "message"]
    lose_database()

    with pytest.raises(RowsDoNotFit, match="fly"):
        restore_rows(
            [*others, {**record, "fields": {**record["fields"], "permission": permission}}]
        )


def test_queries_do_not_grow_with_the_rows(user, message_of, django_assert_max_num_queries):
    conversation = message_of(user).conversation
    Message.objects.bulk_create(
        Message(conversation=conversation, author=user, text="x") for _ in range(2500)
    )
    Attachment.objects.bulk_create(
        Attachment(user=user, filename="x", expires_at=timezone.now(), status="rejected")
        for _ in range(2500)
    )
    with django_assert_max_num_queries(25):
        before = dump()
    lose_database()

    # More than for the dump, because SQLite takes fewer values in one statement.
    with django_assert_max_num_queries(120):
        restore_rows(before)

    assert (Message.objects.count(), Attachment.objects.count()) == (2501, 2500)
    assert Attachment.objects.filter(expires_at__gt=timezone.now() - timedelta(hours=1)).exists()
