"""The usage page as people see it: light and dark, on a desk and on a phone."""

import re
from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils import timezone
from selenium.webdriver.common.by import By

from attachments.models import Attachment

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "attachments/attachment/usage/"


@pytest.fixture
def superuser(django_user_model):
    return django_user_model.objects.create_superuser("root")


@pytest.fixture
def files(user):
    """One file for each day, each larger than the one before."""
    now = timezone.now()
    for days in range(90):
        Attachment.objects.create(
            user=user,
            filename=f"Отчёт о расходах на командировку {days}.pdf",
            content_type="application/pdf",
            size_bytes=(100 - days) * 1024**2,
            status="ready",
            created_at=now - timedelta(days=days),
            expires_at=now,
            storage_key="attachments/key",
        )


def read_colour(element, name):
    return [int(part) for part in re.findall(r"\d+", element.value_of_css_property(name))[:3]]


def measure_contrast(one, other):
    """The contrast of two colours, from 1 to 21, as WCAG 2.2 defines it."""

    def measure_luminance(colour):
        parts = [part / 255 for part in colour]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((measure_luminance(one), measure_luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_charts_are_readable(open_admin, emulate, superuser, files, scheme, width):
    emulate(scheme, width)

    page = open_admin(superuser, f"{PATH}?days=90")

    ground = read_colour(page.find_element(By.TAG_NAME, "body"), "background-color")
    assert (sum(ground) > 600) == (scheme == "light")
    charts = page.find_elements(By.CSS_SELECTOR, ".usage-chart svg")
    assert len(charts) == 5
    for chart in charts:
        bars = chart.find_elements(By.CSS_SELECTOR, ".value")
        assert any(bar.rect["width"] >= 1 and bar.rect["height"] >= 1 for bar in bars)
        assert measure_contrast(read_colour(bars[0], "fill"), ground) >= 3
        for text in chart.find_elements(By.TAG_NAME, "text"):
            assert measure_contrast(read_colour(text, "fill"), ground) >= 4.5
            assert text.rect["height"] >= 12
            assert text.rect["x"] >= 0
            assert text.rect["x"] + text.rect["width"] <= width
    for bar in page.find_elements(By.CSS_SELECTOR, ".bar"):
        name, value = bar.find_elements(By.TAG_NAME, "text")
        assert name.rect["x"] + name.rect["width"] < value.rect["x"]
    days = charts[0].find_elements(By.CSS_SELECTOR, "text.label")
    edges = [(day.rect["x"], day.rect["x"] + day.rect["width"]) for day in days]
    assert all(end + 4 < start for (_, end), (start, _) in pairwise(edges))
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_from_the_list_to_the_numbers_of_a_week(open_admin, superuser, files):
    page = open_admin(superuser, "attachments/attachment/")

    page.find_element(By.LINK_TEXT, "USAGE").click()
    page.find_element(By.LINK_TEXT, "7 days").click()
    page.find_element(By.CSS_SELECTOR, "[aria-labelledby=usage-days] summary").click()

    rows = page.find_elements(By.CSS_SELECTOR, "[aria-labelledby=usage-days] tbody tr")
    assert [row.text.split()[-3:] for row in rows] == [
        ["1", f"{size}.0", "MB"] for size in range(100, 93, -1)
    ]


def test_nothing_comes_from_elsewhere(open_admin, live_server, superuser, files):
    page = open_admin(superuser, PATH)

    sources = page.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert any(source.endswith("attachments/usage.css") for source in sources)
    assert all(source.startswith(live_server.url) for source in sources)
    assert page.find_elements(By.CSS_SELECTOR, "#content script") == []
