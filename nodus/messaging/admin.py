from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy

from attachments.admin import AttachmentInline
from nodus.messaging.models import Conversation, Message

EXCERPT_LENGTH = 80  # characters

User = get_user_model()
admin.site.unregister(User)


@admin.register(User)
class OwnerAdmin(UserAdmin):
    inlines = [AttachmentInline]
    readonly_fields = ["last_login", "date_joined"]
    filter_horizontal = ()  # its boxes have names that screen readers do not read


@admin.register(Conversation)
class ConversationAdmin(admin.ModelAdmin):
    list_display = ["__str__", "names", "created_at"]
    ordering = ["-pk"]
    raw_id_fields = ["participants"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        return super().get_queryset(request).prefetch_related("participants")

    @admin.display(description=gettext_lazy("participants"))
    def names(self, conversation: Conversation) -> str:
        return ", ".join(user.get_username() for user in conversation.participants.all())


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    list_display = ["__str__", "excerpt", "conversation", "author", "created_at"]
    list_select_related = ["conversation", "author"]
    raw_id_fields = ["conversation", "author"]
    inlines = [AttachmentInline]

    @admin.display(description=gettext_lazy("text"))
    def excerpt(self, message: Message) -> str:
        return Truncator(message.text).chars(EXCERPT_LENGTH) or "–"
