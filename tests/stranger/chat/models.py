"""Users and messages unlike those of nodus."""

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Guest(AbstractBaseUser):
    """A user model without is_staff and permissions, whose primary key is no number."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50, unique=True)

    objects = BaseUserManager()

    USERNAME_FIELD = "name"


class Post(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="posts"
    )
    readers = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="readable_posts")

    def __str__(self):
        return str(self.pk)


class Card(models.Model):
    """A page with a picture that hangs on no post."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    title = models.CharField(max_length=50)
    cover = models.ForeignKey("attachments.Attachment", on_delete=models.PROTECT, related_name="+")

    def __str__(self):
        return self.title
