"""The admin as people use it: in a browser, on the real servers."""

import pytest
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def superuser(django_user_model):
    return django_user_model.objects.create_superuser("root", password="root-demo")


def test_staff_log_in(browser, live_server, superuser):
    browser.get(f"{live_server.url}/admin/attachments/attachment/")
    browser.find_element(By.NAME, "username").send_keys("root")
    browser.find_element(By.NAME, "password").send_keys("root-demo")

    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()

    assert browser.find_element(By.ID, "changelist").is_displayed()


def test_the_list_opens(open_admin, superuser, attachment_of):
    attachment_of(superuser, filename="Кот.png")

    page = open_admin(superuser, "attachments/attachment/")

    assert "Кот.png" in page.find_element(By.ID, "result_list").text
