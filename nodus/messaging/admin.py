from django.contrib import admin

from nodus.messaging.models import Conversation, Message


@admin.register(Conversation)
class ConversationAdmin(admin.ModelAdmin):
    list_display = ["id", "created_at"]
    raw_id_fields = ["participants"]


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    list_display = ["id", "conversation", "author", "created_at"]
    list_select_related = ["author"]
    raw_id_fields = ["conversation", "author"]
