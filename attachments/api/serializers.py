"""Shapes of requests and responses; the rules are in services."""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from attachments.models import Attachment
from attachments.policy import get_message_model
from attachments.services import get_download_url, get_thumbnail_url
from attachments.storage import find_link_expiry

MAX_FILES_PER_BATCH = 20  # the contract


@extend_schema_field({"type": "string"})
class TextField(serializers.Field):
    """A string as it came. The rules say what is wrong with it, with codes of their own."""

    default_error_messages = {"invalid": _("Not a valid string.")}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data

    def to_representation(self, value: str) -> str:
        return value


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": 255})
class FilenameField(TextField):
    pass


@extend_schema_field(
    {"type": "string", "format": "byte", "minLength": 44, "maxLength": 44, "nullable": True}
)
class ChecksumField(TextField):
    pass


@extend_schema_field(OpenApiTypes.INT64)
class Int64Field(serializers.IntegerField):
    """Generated clients take an integer for one of 32 bits if nothing is said."""


@extend_schema_field({"type": "integer", "format": "int64", "minimum": 1, "nullable": True})
class SizeField(serializers.IntegerField):
    """The rules say what is wrong with the number, with codes of their own."""


@extend_schema_field({"type": "object", "additionalProperties": {}})
class MetadataField(serializers.Field):
    """Any JSON. The rules check that it is an object of at most 8 KiB."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class MessageIdField(serializers.Field):
    """The primary key of the host's message model, whatever its type."""

    default_error_messages = {"invalid": _("Not a valid message id.")}

    def to_internal_value(self, data: Any) -> Any:
        is_scalar = isinstance(data, int | str) and not isinstance(data, bool) and data != ""
        # Databases refuse null characters and lone surrogates, each with an error of its own.
        if not is_scalar or not str(data).isprintable():
            self.fail("invalid")
        try:
            field = get_message_model()._meta.pk
            value = field.to_python(data)
            field.run_validators(value)  # SQLite would raise OverflowError for too large a number
        except ValidationError:
            self.fail("invalid")
        return value

    def to_representation(self, value: Any) -> Any:
        return value


class UserIdField(serializers.PrimaryKeyRelatedField):
    """The primary key of the host's user model. For the API's schema alone."""


class PresignSerializer(serializers.Serializer):
    filename = FilenameField()
    content_type = TextField()
    size_bytes = SizeField(
        required=False,
        allow_null=True,
        help_text=_("If given, the store accepts exactly that many bytes."),
    )
    checksum_sha256 = ChecksumField(
        required=False,
        allow_null=True,
        help_text=_("SHA-256 in base64. If given, the store accepts only those bytes."),
    )
    message_id = MessageIdField(required=False, allow_null=True)
    metadata = MetadataField(required=False, allow_null=True)


class BatchPresignSerializer(serializers.Serializer):
    files = serializers.ListField(
        child=PresignSerializer(), min_length=1, max_length=MAX_FILES_PER_BATCH
    )


class ConfirmSerializer(serializers.Serializer):
    attachment_id = serializers.UUIDField()
    message_id = MessageIdField(required=False, allow_null=True)
    metadata = MetadataField(
        required=False,
        allow_null=True,
        help_text=_("Merged over the metadata that presign was given."),
    )


class TicketSerializer(serializers.Serializer):
    attachment_id = serializers.UUIDField()
    url = serializers.URLField()
    fields = serializers.DictField(child=serializers.CharField())  # type: ignore[assignment]
    expires_at = serializers.DateTimeField()
    expires_in = serializers.IntegerField(help_text=_("Seconds."))
    max_size_bytes = Int64Field()


class TicketsSerializer(serializers.Serializer):
    tickets = TicketSerializer(many=True)


class LimitsSerializer(serializers.Serializer):
    quota_bytes = Int64Field(allow_null=True, help_text=_("Of all files together."))
    max_unconfirmed = serializers.IntegerField(allow_null=True)
    max_size_bytes = Int64Field(help_text=_("Of one file."))
    content_types = serializers.ListField(child=serializers.CharField())
    presign_rate = serializers.CharField(
        allow_null=True, help_text=_("How often you may ask for forms, as `10/minute`.")
    )


class UsageSerializer(serializers.Serializer):
    used_bytes = Int64Field(help_text=_("Of your confirmed files."))
    files = serializers.IntegerField(help_text=_("How many there are."))
    unconfirmed_bytes = Int64Field(
        help_text=_("What your other forms allow, until their time is over.")
    )
    unconfirmed = serializers.IntegerField(help_text=_("How many such forms there are."))
    limits = LimitsSerializer(help_text=_("Null where there is no limit."))


class ErrorInfoSerializer(serializers.Serializer):
    code = serializers.CharField(read_only=True)
    detail = serializers.CharField(read_only=True)


class MediaSerializer(serializers.Serializer):
    width = serializers.IntegerField(required=False, help_text=_("As shown, in pixels."))
    height = serializers.IntegerField(required=False)
    duration_seconds = serializers.FloatField(required=False)
    page_count = serializers.IntegerField(required=False)


class AttachmentSerializer(serializers.ModelSerializer):
    # The contract's Attachment, the same in every answer. Not a docstring: the API's schema would
    # show it.

    user_id: Any = UserIdField(source="user", read_only=True)
    message_id = MessageIdField(read_only=True, allow_null=True)
    size_bytes = Int64Field(
        read_only=True, allow_null=True, help_text=_("Declared until ready, then found.")
    )
    metadata = MetadataField(read_only=True)
    checksum_sha256 = serializers.SerializerMethodField()
    media = MediaSerializer(read_only=True)
    download_url = serializers.URLField(
        read_only=True,
        allow_null=True,
        help_text=_("Null until ready. It may be signed and expire: read it anew each time."),
    )
    download_expires_at = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text=_("When download_url ends; null if it does not."),
    )
    thumbnail_url = serializers.URLField(
        read_only=True,
        allow_null=True,
        help_text=_("A small WebP of an image, soon after it is ready; served as the file is."),
    )
    error = ErrorInfoSerializer(source="error_info", read_only=True, allow_null=True)

    class Meta:
        model = Attachment
        fields = [
            "id",
            "user_id",
            "message_id",
            "filename",
            "content_type",
            "size_bytes",
            "checksum_sha256",
            "status",
            "metadata",
            "media",
            "created_at",
            "confirmed_at",
            "download_url",
            "download_expires_at",
            "thumbnail_url",
            "error",
        ]
        read_only_fields = fields

    def to_representation(self, attachment: Any) -> Any:
        """Sign each link once."""
        attachment.download_url = get_download_url(attachment)
        attachment.download_expires_at = find_link_expiry(attachment.download_url or "")
        attachment.thumbnail_url = get_thumbnail_url(attachment)
        return super().to_representation(attachment)

    @extend_schema_field({"type": "string", "format": "byte", "nullable": True})
    def get_checksum_sha256(self, attachment: Attachment) -> str | None:
        return attachment.checksum_sha256 or None


class DispositionSerializer(serializers.Serializer):
    """The query parameters of the download."""

    disposition = serializers.ChoiceField(
        choices=["inline", "attachment"],
        default="inline",
        help_text=_("`attachment` makes browsers save the file."),
    )


class AttachmentFilterSerializer(serializers.Serializer):
    """The query parameters of the list."""

    message_id = MessageIdField(required=False)
    status = serializers.ChoiceField(choices=Attachment.Status.choices, required=False)
