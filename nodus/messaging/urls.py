from django.urls import path

from nodus.messaging.views import ConversationsView, MessagesView

urlpatterns = [
    path("conversations", ConversationsView.as_view(), name="conversations"),
    path("conversations/<int:conversation_id>/messages", MessagesView.as_view(), name="messages"),
]
