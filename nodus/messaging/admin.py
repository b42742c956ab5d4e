from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin

from attachments.admin import AttachmentInline
from nodus.messaging.models import Conversation, Message

User = get_user_model()
admin.site.unregister(User)


@admin.register(User)
class OwnerAdmin(UserAdmin):
    inlines = [AttachmentInline]


@admin.register(Conversation)
class ConversationAdmin(admin.ModelAdmin):
    list_display = ["id", "created_at"]
    raw_id_fields = ["participants"]


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    list_display = ["id", "conversation", "author", "created_at"]
    list_select_related = ["conversation", "author"]
    raw_id_fields = ["conversation", "author"]
    inlines = [AttachmentInline]
