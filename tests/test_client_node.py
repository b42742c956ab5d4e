"""The client module without a browser: in Node, and as TypeScript sees it."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from attachments.models import Attachment
from tests.documents import ROOT

STATIC = ROOT / "attachments" / "static" / "attachments"
NODE_VERSION = 20  # the first that has File

# Every part of client.d.ts, as programs use it.
USES = """
import {
  createClient, chooseContentType, AttachmentError,
  type Attachment, type Client, type ClientOptions, type Progress, type RequestOptions,
  type UploadOptions, type UploadState,
} from "./client.js";

const options: ClientOptions = {
  baseUrl: "https://chat.example.com/api/v1",
  getHeaders: async ({ isRefused }) => ({ Authorization: isRefused ? "Bearer b" : "Bearer a" }),
  csrfToken: () => null,
  concurrency: 2,
  checksumMaxBytes: 0,
  patienceSeconds: 10,
};
const client: Client = createClient(options);
createClient();
createClient({ getHeaders: () => ({}), csrfToken: "token" });

export async function use(file: File, blob: Blob): Promise<number | undefined> {
  const upload: UploadOptions = {
    messageId: 7,
    metadata: { room: "kitchen" },
    signal: new AbortController().signal,
    onProgress: ({ loaded, total }: Progress) => loaded / total,
    onState: (state: UploadState, attachment) => state === "scanning" && attachment?.filename,
    onRetry: (error, seconds) => `${error.code} ${seconds.toFixed(1)}`,
    filename: "a.png",
    contentType: chooseContentType("a.png", blob.type),
  };
  try {
    const done: Attachment = await client.upload(file, upload);
    await client.upload(blob);
    const call: RequestOptions = { signal: null, patienceSeconds: 1 };
    const link: string | null = (await client.get(done.id, call)).download_url;
    await client.remove(done.id);
    const body = { text: link, attachment_ids: [done.id] };
    const sent = await client.request<{ id: number }>("conversations/1/messages", {
      method: "POST", body, headers: { "X-Request-ID": "1" }, isRepeatable: false, keepalive: true,
    });
    return sent.id + (done.media.width ?? 0);
  } catch (error) {
    if (!(error instanceof AttachmentError)) throw error;
    const { code, detail, status, attr, errors, attachment, requestId, retryAfterMs } = error;
    const first: string | undefined = errors[0]?.detail;
    const verdict: string | undefined = attachment?.error?.code;
    console.log(code, detail, attr, first, verdict, requestId, retryAfterMs, error.isTemporary);
    return status;
  }
}

// @ts-expect-error: an upload takes a file
client.upload("a.png");
// @ts-expect-error: there is no such state
const state: UploadState = "done";
"""

UPLOAD = """
import { readFile } from "node:fs/promises";
import { createClient } from "MODULE";
const { url, token, path } = JSON.parse(process.argv[2]);
const client = createClient({
  baseUrl: url, getHeaders: () => ({ Authorization: `Bearer ${token}` }),
});
const content = await readFile(path);
const seen = { states: [], progress: [] };
const onState = (state) => seen.states.push(state);
const onProgress = ({ loaded }) => seen.progress.push(loaded);
const files = [new File([content], "cat.png"), new Blob([content], { type: "image/png" })];
seen.done = await Promise.all(files.map((file, place) =>
  client.upload(file, place ? { filename: "blob.png" } : { onState, onProgress })));
seen.refused = await client.upload(new File(["x"], "cat.exe")).catch(({ code, attr }) => [code, attr]);
console.log(JSON.stringify(seen));
"""


def find_node() -> str | None:
    node = shutil.which("node")
    version = (
        node
        and subprocess.run([node, "--version"], check=False, capture_output=True, text=True).stdout
    )
    is_new = version and int(re.findall(r"\d+", version)[0]) >= NODE_VERSION
    return node if is_new else None


needs_node = pytest.mark.skipif(not find_node(), reason=f"Node {NODE_VERSION} is not installed")
needs_tsc = pytest.mark.skipif(
    not shutil.which("tsc"), reason="tsc is not installed (Debian: node-typescript)"
)


@needs_tsc
@pytest.mark.parametrize(
    "args",
    [
        ["--strict", "--noUncheckedIndexedAccess", "uses.ts"],
        ["--allowJs", "--checkJs", "client.js"],  # it has few types of its own
    ],
    ids=["programs use every part", "the module is what its types say"],
)
def test_types(tmp_path, args):
    for name in ("client.js", "client.d.ts"):
        shutil.copy(STATIC / name, tmp_path)
    (tmp_path / "uses.ts").write_text(USES)
    modern = ["--target", "es2022", "--module", "es2022", "--lib", "es2022,dom"]
    command = ["tsc", "--noEmit", *modern, *args]

    said = subprocess.run(
        command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert (said.stdout, said.returncode) == ("", 0)


@needs_node
@pytest.mark.django_db(transaction=True)
def test_node_uploads(live_server: Any, user: Any, tmp_path: Path, samples: dict[str, bytes]):
    (tmp_path / "cat.png").write_bytes(samples["image/png"])
    script = tmp_path / "upload.mjs"
    (tmp_path / "client.mjs").write_bytes((STATIC / "client.js").read_bytes())
    script.write_text(UPLOAD.replace("MODULE", "./client.mjs"))
    facts = {
        "url": f"{live_server.url}/api/v1",
        "token": str(AccessToken.for_user(user)),
        "path": str(tmp_path / "cat.png"),
    }

    said = subprocess.run(
        [find_node(), script, json.dumps(facts)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert said.stderr == ""
    seen = json.loads(said.stdout)
    assert [done["filename"] for done in seen["done"]] == ["cat.png", "blob.png"]
    assert {row.status for row in Attachment.objects.all()} == {"ready"}
    assert base64.b64decode(seen["done"][0]["checksum_sha256"])
    assert seen["states"] == ["queued", "sending", "verifying", "ready"]
    assert seen["progress"] == [0, len(samples["image/png"])]
    assert seen["refused"] == ["content_type_not_allowed", "content_type"]


# A server says in many ways when to come back. Time runs a hundred times as fast here.
RETRIES = """
import { createServer } from "node:http";
import { createClient } from "MODULE";
const ANSWERS = {
  zero: [503, { "Retry-After": "0" }, "{}"],
  past: [503, { "Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT" }, "{}"],
  date: [503, { Date: "Thu, 01 Jan 2026 00:00:00 GMT", "Retry-After": "Thu, 01 Jan 2026 00:00:07 GMT" }, "{}"],
  silent: [429, {}, "<html>Too many"],
  gateway: [503, {}, '{"errors": {"upstream": "down"}}'],
};
const server = createServer(({ url }, answer) => {
  const [status, headers, text] = ANSWERS[url.slice(1)];
  answer.writeHead(status, headers).end(text);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const wait = globalThis.setTimeout;
globalThis.setTimeout = (act, ms, ...others) => wait(act, ms / 100, ...others);
const baseUrl = `http://127.0.0.1:${server.address().port}`;
const client = createClient({ baseUrl, patienceSeconds: 40 });
const seen = {};
for (const path of Object.keys(ANSWERS)) {
  const pauses = [];
  const onRetry = (error, seconds) => {
    if (pauses.push(seconds) > 20) throw { code: "for ever" };
  };
  const code = await client.request(path, { onRetry }).catch((error) => error.code ?? `${error}`);
  seen[path] = [code, pauses];
}
server.close();
server.closeAllConnections();
console.log(JSON.stringify(seen));
"""


@needs_node
def test_whatever_servers_say_of_the_next_try_there_is_an_end(tmp_path: Path):
    script = tmp_path / "retries.mjs"
    (tmp_path / "client.mjs").write_bytes((STATIC / "client.js").read_bytes())
    script.write_text(RETRIES.replace("MODULE", "./client.mjs"))

    said = subprocess.run(
        [find_node(), script], check=False, capture_output=True, text=True, timeout=60
    )

    assert said.stderr == ""
    ours = ["bad_answer", [1, 2, 4, 8, 15]]
    assert json.loads(said.stdout) == {
        "zero": ours,
        "past": ours,
        "date": ["bad_answer", [7, 7, 7, 7, 7]],
        "silent": ours,
        "gateway": ours,
    }
