from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from attachments import errors
from attachments.api.json_view import JSONViewMixin
from attachments.api.openapi import describe_errors
from attachments.api.pagination import NewestFirstPagination
from nodus.messaging import services
from nodus.messaging.models import Message
from nodus.messaging.serializers import ConversationSerializer, MessageSerializer

_TAGS = ["Conversations"]
_ID = OpenApiParameter("conversation_id", OpenApiTypes.INT64, OpenApiParameter.PATH)
_LIST_CODES = ["not_a_list", "max_length"]
_TEXT_CODES = ["null_characters_not_allowed", "surrogate_characters_not_allowed"]


class ConversationsView(JSONViewMixin, generics.GenericAPIView):
    serializer_class = ConversationSerializer

    @extend_schema(
        operation_id="createConversation",
        tags=_TAGS,
        summary=_("Start a conversation; you always take part"),
        examples=[
            OpenApiExample(
                _("With nobody else yet"),  # type: ignore[arg-type]
                {"participants": []},
            )
        ],
        responses={
            201: ConversationSerializer,
            **describe_errors(
                also={400: [*_LIST_CODES, "max_value", "max_string_length", "does_not_exist"]},
                has_body=True,
            ),
        },
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        conversation = services.start_conversation(
            participant_ids=serializer.validated_data["participants"]
        )
        return Response(self.get_serializer(conversation).data, status=201)


class MessagesView(JSONViewMixin, generics.GenericAPIView):
    serializer_class = MessageSerializer
    pagination_class = NewestFirstPagination
    queryset = Message.objects.none()

    @extend_schema(
        operation_id="listMessages",
        tags=_TAGS,
        summary=_("Read the messages, newest first"),
        parameters=[_ID],
        responses={200: MessageSerializer(many=True), **describe_errors(errors.NotFound)},
    )
    def get(self, request: Request, conversation_id: int) -> Response:
        messages = services.list_messages(conversation_id=conversation_id, reader=request.user)
        page = self.paginate_queryset(messages)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="createMessage",
        tags=_TAGS,
        summary=_("Write a message with your attachments"),
        parameters=[_ID],
        examples=[
            OpenApiExample(
                _("A text alone"),  # type: ignore[arg-type]
                {"text": "Hello"},
                request_only=True,
            )
        ],
        responses={
            201: MessageSerializer,
            **describe_errors(
                errors.NotFound,
                errors.AttachmentNotReady,
                errors.AlreadyLinked,
                errors.TooManyAttachments,
                also={400: [*_LIST_CODES, *_TEXT_CODES]},
                has_body=True,
            ),
        },
    )
    def post(self, request: Request, conversation_id: int) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        message = services.post_message(
            conversation_id=conversation_id, author=request.user, **serializer.validated_data
        )
        return Response(self.get_serializer(message).data, status=201)
