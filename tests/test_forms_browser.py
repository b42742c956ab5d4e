"""The element of the form field, on a page of its own, against the API and the store."""

import json
from typing import Any

import pytest

from attachments.models import Attachment
from tests.test_client_browser import files, page, store, wait_until  # noqa: F401 (fixtures)
from tests.test_forms import make_form

pytestmark = pytest.mark.django_db(transaction=True)

BUILD = """
await import("/static/attachments/input.js");
document.body.innerHTML = `<form>${WIDGET}${WIDGET}<button>Send</button></form>`;
const form = document.querySelector("form");
const [one, two] = form.querySelectorAll("attachment-input");
const PROGRAM = { name: "a.exe", type: "application/x-msdownload", content: btoa("MZ") };
const sent = [];
form.addEventListener("submit", (event) => {
  if (!event.defaultPrevented) sent.push(new FormData(form).getAll("cover").length);
  event.preventDefault();
});
const choose = (element, ...chosen) => {
  const data = new DataTransfer();
  for (const file of chosen) data.items.add(file);
  const input = element.querySelector("input[type=file]");
  input.files = data.files;
  input.dispatchEvent(new Event("change"));
};
const count = (element) => element.querySelectorAll("li").length;
const until = async (isSo) => { while (!isSo()) await new Promise((go) => setTimeout(go, 50)); };
"""


@pytest.fixture
def run(page: Any, user: Any, live_server: Any) -> Any:  # noqa: F811
    page.open(live_server.url, "/nothing")  # elements of one's own need a document of HTML
    widget = json.dumps(str(make_form(user, required=False, multiple=True)["cover"]))
    return lambda script: page.run(f"const WIDGET = {widget}; {BUILD} {script}")


def test_a_form_that_waits_is_not_sent_without_a_refused_file(run):
    seen = run("""
        choose(one, makeFile(PROGRAM));
        choose(two, makeFile());
        form.requestSubmit();
        await until(() => one.querySelector("[data-state=refused]"));
        await until(() => two.querySelector("li input[type=hidden]"));
        await new Promise((go) => setTimeout(go, 1000));
        const held = [...sent];
        form.requestSubmit();
        return [held, sent];
    """)

    assert seen == [[], [1]]


def test_reset_takes_away_what_was_chosen(run):
    seen = run("""
        choose(one, makeFile());
        await until(() => one.querySelector("li input[type=hidden]"));
        choose(one, makeFile({ name: "b.png" }));
        choose(two, makeFile(PROGRAM));
        await until(() => two.querySelector("[data-state=refused]"));
        const before = [count(one), count(two)];
        form.reset();
        const after = [count(one), count(two)];
        form.requestSubmit();
        await until(() => sent.length);
        return [before, after, sent];
    """)

    assert seen == [[2, 1], [0, 0], [0]]
    wait_until(lambda: [row.filename for row in Attachment.objects.all()] == ["cat.png"])
