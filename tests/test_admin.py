import pytest

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("root"))
    return client


def test_staff_look(admin, user, attachment_of):
    attachment = attachment_of(user, filename="Кот.png")

    listing = admin.get("/admin/attachments/attachment/")
    detail = admin.get(f"/admin/attachments/attachment/{attachment.pk}/change/")

    assert listing.status_code == detail.status_code == 200
    assert "Кот.png" in listing.content.decode()
    assert attachment.storage_key.name in detail.content.decode()


def test_nothing_is_edited_or_added(admin, user, attachment_of):
    attachment = attachment_of(user)
    address = f"/admin/attachments/attachment/{attachment.pk}/change/"

    assert admin.post(address, {"filename": "x"}).status_code == 403
    assert admin.get("/admin/attachments/attachment/add/").status_code == 403


def test_only_staff(client, user):
    client.force_login(user)

    assert client.get("/admin/attachments/attachment/").status_code == 302
