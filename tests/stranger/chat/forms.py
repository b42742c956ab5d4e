from django import forms

from attachments.forms import AttachmentField
from chat.models import Card


class CardForm(forms.ModelForm):
    cover = AttachmentField(content_types=["image/*"])

    class Meta:
        model = Card
        fields = ["title", "cover"]

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["cover"].user = user
