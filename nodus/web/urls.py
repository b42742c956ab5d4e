from django.contrib.auth.views import LogoutView
from django.urls import path

from nodus.web import views
from nodus.web.login import log_in

urlpatterns = [
    path("", views.show_home, name="home"),
    path("login", log_in, name="login"),
    path("logout", LogoutView.as_view(next_page="login"), name="logout"),
    path("conversations", views.start_conversation, name="start-conversation"),
    path("conversations/newest", views.list_conversations, name="newest-conversations"),
    path("conversations/<int:conversation_id>", views.show_conversation, name="show-conversation"),
]
