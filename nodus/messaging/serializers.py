from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import BigIntegerField
from django.utils.translation import gettext as _
from rest_framework import serializers

from attachments.api.serializers import AttachmentSerializer, Int64Field, UserIdField
from nodus.messaging.models import Conversation, Message

MAX_TEXT_LENGTH = 10_000
MAX_PARTICIPANTS = 1_000
MAX_ATTACHMENTS = 100


class ConversationSerializer(serializers.ModelSerializer):
    id = Int64Field(read_only=True)
    participants = serializers.ListField(
        child=serializers.IntegerField(max_value=BigIntegerField.MAX_BIGINT),  # SQLite's limit
        max_length=MAX_PARTICIPANTS,
    )

    class Meta:
        model = Conversation
        fields = ["id", "participants"]

    def validate_participants(self, ids: list[int]) -> list[int]:
        """Look all users up in one query. The caller always takes part."""
        wanted = {*ids, self.context["request"].user.pk}
        users = get_user_model()._default_manager.filter(pk__in=wanted, is_active=True)
        found = set(users.values_list("pk", flat=True))
        if unknown := wanted - found:
            ids_text = ", ".join(map(str, sorted(unknown)))
            raise serializers.ValidationError(
                _("No such users: %(ids)s.") % {"ids": ids_text}, code="does_not_exist"
            )
        return sorted(found)

    def to_representation(self, conversation: Conversation) -> dict[str, Any]:
        participants = conversation.participants.order_by("pk").values_list("pk", flat=True)
        return {"id": conversation.pk, "participants": list(participants)}


class TextField(serializers.CharField):
    """A string, and not what REST framework also takes for one, such as numbers."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class MessageSerializer(serializers.ModelSerializer):
    id = Int64Field(read_only=True)
    conversation_id = Int64Field(read_only=True)
    author_id = UserIdField(source="author", read_only=True)
    text = TextField(allow_blank=True, max_length=MAX_TEXT_LENGTH)
    attachment_ids = serializers.ListField(
        child=serializers.UUIDField(), required=False, write_only=True, max_length=MAX_ATTACHMENTS
    )
    attachments = AttachmentSerializer(many=True, read_only=True, source="ready_attachments")

    class Meta:
        model = Message
        fields = [
            "id",
            "conversation_id",
            "author_id",
            "text",
            "created_at",
            "attachments",
            "attachment_ids",
        ]
        read_only_fields = ["created_at"]
