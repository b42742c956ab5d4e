"""The scripts of docs/clients.md, in a browser, on a page of another origin."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from tests.documents import ROOT
from tests.proxy import StoreProxy

pytestmark = pytest.mark.django_db(transaction=True)


def read_scripts() -> dict[str, str]:
    """The JavaScript of the document by the name that its first line gives."""
    blocks = re.findall(
        r"^```js\n// (\S+)\n(.*?)^```", (ROOT / "docs/clients.md").read_text(), re.M | re.S
    )
    return dict(blocks)


@pytest.fixture
def origin(live_server: Any, user: Any, settings: Any) -> Iterator[str]:
    """Where a page with the document's scripts is served, and its user's token."""
    scripts = read_scripts()
    scripts["nodus.js"] = scripts["nodus.js"].replace(
        "https://chat.example.com", live_server.url, 1
    )
    scripts["page.js"] = f"globalThis.getToken = async () => '{AccessToken.for_user(user)}'"
    scripts[""] = "<!doctype html><script src='page.js'></script>"

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script = scripts.get(self.path.removeprefix("/"))
            self.send_response(404 if script is None else 200)
            self.send_header(
                "Content-Type", "text/javascript" if self.path.endswith(".js") else "text/html"
            )
            self.end_headers()
            self.wfile.write((script or "").encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        serving = Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}"
        settings.CORS_ALLOWED_ORIGINS = [url]
        yield url
        server.shutdown()
        serving.join()


@pytest.fixture
def strict_store(s3: Any, origin: str, settings: Any) -> Iterator[StoreProxy]:
    """The store as clients reach it, which answers pages of that origin alone."""

    def name_origin(headers: Any) -> None:
        del headers["Access-Control-Allow-Origin"]
        headers["Access-Control-Allow-Origin"] = origin

    with StoreProxy(s3.meta.client.meta.endpoint_url) as proxy:
        for operation in ("PostObject", "GetObject", "OPTIONS"):
            proxy.rewrite(operation, response=name_origin, times=None)
        settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_ENDPOINT_URL": proxy.url}
        yield proxy


@pytest.fixture
def run_in_page(browser: Any, origin: str) -> Callable[[str], Any]:
    """Run the body of an async function in the page; give what it returns, or its error."""

    def run(script: str) -> Any:
        browser.get(origin)
        return browser.execute_async_script(
            f"const done = arguments[0];"
            f"(async () => {{ {script} }})().then(done, (error) => done(String(error)))"
        )

    return run


READ = """
const bytes = new Uint8Array(await blob.arrayBuffer());
return [blob.type, btoa(String.fromCharCode(...bytes))];
"""


@pytest.mark.parametrize("is_public", [True, False])
def test_a_page_of_another_origin_uploads_and_fetches(
    run_in_page, strict_store, settings, samples, is_public
):
    settings.ATTACHMENTS = {**settings.ATTACHMENTS, "PUBLIC_READ": is_public}
    content = base64.b64encode(samples["image/png"]).decode()

    seen = run_in_page(f"""
        const {{ upload }} = await import("/nodus.js");
        const {{ fetchFile }} = await import("/show.js");
        const content = Uint8Array.from(atob({json.dumps(content)}), (c) => c.charCodeAt(0));
        const file = new File([content], "cat.png", {{ type: "image/png" }});
        const blob = await fetchFile((await upload(file)).id);
        {READ}
    """)

    assert seen == ["image/png", content]
    assert {call.operation for call in strict_store.calls} >= {"PostObject", "GetObject"}


def test_a_redirect_with_a_token_is_followed_without_an_origin(
    run_in_page, strict_store, live_server, user, attachment_of
):
    """Why the document says to fetch `download_url`, and not `/download`."""
    attachment, origins = attachment_of(user), []
    for operation in ("OPTIONS", "GetObject"):
        strict_store.on(operation, lambda exchange: origins.append(exchange.headers["Origin"]))

    seen = run_in_page(f"""
        const headers = {{ Authorization: `Bearer ${{await getToken()}}` }};
        const url = "{live_server.url}/api/v1/attachments/{attachment.pk}/download";
        const blob = await (await fetch(url, {{ headers }})).blob();
        {READ}
    """)

    assert seen == "TypeError: Failed to fetch"
    assert origins == ["null"]
