from chat.views import edit_card, show_card
from django.contrib.auth.views import LoginView
from django.urls import include, path

urlpatterns = [
    path("files/", include("attachments.urls")),
    path("login", LoginView.as_view(template_name="form.html"), name="login"),
    path("cards/new", edit_card),
    path("cards/<uuid:pk>", show_card, name="show-card"),
    path("cards/<uuid:pk>/edit", edit_card),
]
