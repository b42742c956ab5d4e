from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from attachments import errors
from attachments.api.openapi import describe_errors
from attachments.api.pagination import NewestFirstPagination
from nodus.messaging import services
from nodus.messaging.models import Message
from nodus.messaging.serializers import ConversationSerializer, MessageSerializer


class ConversationsView(generics.GenericAPIView):
    serializer_class = ConversationSerializer

    @extend_schema(
        summary=_("Start a conversation; you always take part"),
        responses={
            201: ConversationSerializer,
            **describe_errors(also={400: ("required", "invalid", "does_not_exist")}),
        },
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        conversation = services.start_conversation(
            participant_ids=serializer.validated_data["participants"]
        )
        return Response(self.get_serializer(conversation).data, status=201)


class MessagesView(generics.GenericAPIView):
    serializer_class = MessageSerializer
    pagination_class = NewestFirstPagination
    queryset = Message.objects.none()

    @extend_schema(
        summary=_("Read the messages, newest first"),
        responses={200: MessageSerializer(many=True), **describe_errors(errors.NotFound)},
    )
    def get(self, request: Request, conversation_id: int) -> Response:
        messages = services.list_messages(conversation_id=conversation_id, reader=request.user)
        page = self.paginate_queryset(messages)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        summary=_("Write a message with your attachments"),
        responses={
            201: MessageSerializer,
            **describe_errors(
                errors.NotFound,
                errors.AttachmentNotReady,
                errors.AlreadyLinked,
                also={400: ("required", "invalid", "max_length")},
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
