/**
 * Uploads files from a browser, or Node 20, to a server that runs `attachments`.
 *
 * client.d.ts says what each part gives; docs/client.md shows how to use it.
 */

const BATCH_WAIT_MS = 5; // files given within this time share a presign
const MAX_BATCH = 20; // the API's own limit
const MAX_FORMS = 3; // forms that may expire under one upload before it is given up
const MAX_PAUSE_MS = 15_000;
const FIRST_LOOK_MS = 500;
const STALL_MS = 120_000; // a connection that moves no byte for so long is dead
const MIB = 2 ** 20;

// The same call may pass later.
const TEMPORARY_STATUS = new Set([429, 502, 503, 504]);
const TEMPORARY_CODES = new Set(["network_error", "upload_in_progress"]);
// Nobody knows whether the server did what it was asked.
const UNCERTAIN_STATUS = new Set([0, 502, 504]);
// What was uploaded is not what was meant, or did not arrive: once more may help.
const WORTH_ANOTHER = new Set([
  "not_uploaded",
  "upload_expired",
  "size_mismatch",
  "checksum_mismatch",
  "object_missing",
]);

// As the server's table of file types has them (attachments/rules/file_types.py).
const EXTENSIONS = {
  "image/jpeg": "jpg jpeg jpe jfif",
  "image/png": "png apng",
  "image/gif": "gif",
  "image/webp": "webp",
  "image/bmp": "bmp dib",
  "image/vnd.microsoft.icon": "ico",
  "image/avif": "avif avifs",
  "image/heic": "heic heics",
  "image/heif": "heif hif heifs",
  "image/svg+xml": "svg",
  "video/mp4": "mp4 m4v f4v mpg4",
  "video/webm": "webm",
  "video/quicktime": "mov qt",
  "video/3gpp": "3gp 3gpp",
  "video/3gpp2": "3g2 3gpp2",
  "video/x-matroska": "mkv mk3d",
  "video/ogg": "ogv",
  "audio/mpeg": "mp3 mp2 mpga m2a mpa",
  "audio/ogg": "ogg oga spx",
  "audio/opus": "opus",
  "audio/webm": "weba",
  "audio/mp4": "m4a m4b f4a",
  "audio/wav": "wav",
  "audio/flac": "flac",
  "application/pdf": "pdf",
  "application/msword": "doc dot",
  "application/vnd.ms-excel": "xls xlt",
  "application/vnd.ms-powerpoint": "ppt pps pot",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
  "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
  "application/vnd.oasis.opendocument.text": "odt",
  "application/vnd.oasis.opendocument.spreadsheet": "ods",
  "application/vnd.oasis.opendocument.presentation": "odp",
  "application/vnd.oasis.opendocument.graphics": "odg",
  "application/epub+zip": "epub",
  "application/zip": "zip",
  "application/gzip": "gz tgz",
  "text/plain":
    "txt text log tsv ini conf cfg yaml yml toml sql srt tex rst diff patch",
  "text/csv": "csv",
  "text/markdown": "md markdown",
  "text/calendar": "ics ifb",
  "text/vcard": "vcf",
  "text/javascript": "js mjs",
  "text/html": "html htm",
  "application/json": "json",
  "application/xml": "xml",
};
const TYPE_BY_EXTENSION = new Map(
  Object.entries(EXTENSIONS).flatMap(([type, names]) =>
    names.split(" ").map((name) => [name, type]),
  ),
);

export class AttachmentError extends Error {
  /** @param {ConstructorParameters<typeof import("./client").AttachmentError>[0]} facts */
  constructor({ cause, ...facts }) {
    super(facts.detail, { cause });
    this.name = "AttachmentError";
    this.code = facts.code;
    this.detail = facts.detail;
    this.status = facts.status ?? 0;
    this.attr = facts.attr ?? null;
    this.errors = facts.errors ?? [];
    this.attachment = facts.attachment ?? null;
    this.requestId = facts.requestId ?? null;
    this.retryAfterMs = facts.retryAfterMs ?? null;
  }

  get isTemporary() {
    return TEMPORARY_STATUS.has(this.status) || TEMPORARY_CODES.has(this.code);
  }
}

/** The content type to declare for a file: see client.d.ts. */
export function chooseContentType(filename, type = "") {
  const given = type.split(";")[0].trim().toLowerCase();
  const extension = /\.([^.]+)$/.exec(filename)?.[1].toLowerCase();
  const usual = TYPE_BY_EXTENSION.get(extension);
  // With Excel installed, Windows gives every .csv the type of Excel's own files.
  const isKnown = given in EXTENSIONS && !(extension === "csv" && given.endsWith("ms-excel"));
  return (!isKnown && usual) || given || "application/octet-stream";
}

/**
 * @param {import("./client").ClientOptions} options
 * @returns {import("./client").Client}
 */
export function createClient({
  baseUrl = "/api/v1",
  getHeaders,
  csrfToken = readCsrfToken,
  concurrency = 4,
  checksumMaxBytes = 16 * MIB,
  patienceSeconds = 180,
} = {}) {
  const patienceMs = patienceSeconds * 1000;
  const request = makeRequest({ baseUrl, getHeaders, csrfToken, patienceSeconds });
  const waiting = [];
  let running = 0;
  let timer = null;

  function upload(file, options = {}) {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      if (signal?.aborted) return reject(signal.reason);
      const job = { file, options, signal, key: makeKey(), ticket: null, resolve, reject };
      setState(job, "queued");
      job.leave = () => leaveQueue(job);
      signal?.addEventListener("abort", job.leave);
      waiting.push(job);
      timer ??= setTimeout(startNext, BATCH_WAIT_MS);
    });
  }

  function leaveQueue(job) {
    waiting.splice(waiting.indexOf(job), 1);
    discard(job);
    job.reject(job.signal.reason);
  }

  function startNext() {
    timer = null;
    while (running < concurrency && waiting.length) {
      const job = waiting.shift();
      job.signal?.removeEventListener("abort", job.leave);
      if (!job.ticket) {
        const others = waiting.filter((other) => !other.ticket);
        presignTogether([job, ...others.slice(0, MAX_BATCH - 1)]);
      }
      running++;
      run(job);
    }
  }

  async function run(job) {
    try {
      const confirmed = await transfer(job).finally(() => {
        running--;
        startNext();
      });
      job.resolve(await settle(job, confirmed));
    } catch (error) {
      if (!error?.attachment) discard(job);
      job.reject(error);
    }
  }

  /** Post the file and confirm it; the answer of confirm. */
  async function transfer(job) {
    for (let isAgain = false; ; isAgain = true) {
      await post(job);
      setState(job, "verifying");
      try {
        return await confirm(job);
      } catch (error) {
        if (isAgain || !WORTH_ANOTHER.has(error?.code)) throw error;
        presignAgain(job);
      }
    }
  }

  async function post(job) {
    let isRefused = false;
    for (let forms = 1; ; forms++) {
      const ticket = await getTicket(job);
      setState(job, "sending");
      const { signal, onRetry } = job.options;
      const answer = await persist(() => postOnce(job, ticket), { patienceMs, signal, onRetry });
      if (answer.isOk) return;
      const isOver = hasExpired(ticket);
      if (forms === MAX_FORMS || (isRefused && !isOver)) throw describeRefusal(answer, isOver);
      isRefused ||= !isOver;
      presignAgain(job);
    }
  }

  /** A form of this job that is still good. */
  async function getTicket(job) {
    const ticket = await untilAborted(job.ticket, job.signal);
    if (ticket && !hasExpired(ticket)) return ticket;
    presignAgain(job);
    return untilAborted(job.ticket, job.signal);
  }

  /** Presign for all of them in one call. What becomes of it is each job's `ticket`. */
  function presignTogether(jobs) {
    const asked = askForTickets(jobs);
    for (const job of jobs) {
      job.ticket = asked.then((outcomes) => outcomes.get(job)());
      job.ticket.catch(() => {}); // the job may have left
    }
  }

  /** For each job a function that gives its ticket, null if it has to ask alone, or throws. */
  async function askForTickets(jobs) {
    const outcomes = new Map(jobs.map((job) => [job, () => null]));
    for (const job of jobs) {
      if (job.signal?.aborted) continue;
      try {
        job.body = await describe(job);
      } catch (error) {
        outcomes.set(job, raise(error));
      }
    }
    let rest = jobs.filter((job) => job.body && !job.signal?.aborted);
    if (rest.length === 1) {
      const [job] = rest;
      outcomes.set(job, await askAlone(job).then((ticket) => () => ticket, raise));
      return outcomes;
    }
    while (rest.length) {
      try {
        const tickets = await askForBatch(rest);
        rest.forEach((job, place) => {
          job.isInBatch = true;
          outcomes.set(job, () => tickets[place]);
        });
        break;
      } catch (error) {
        const named = findNamed(error);
        // The room may be enough for some of them.
        if (!named.size && error.code === "quota_exceeded") break;
        rest.forEach((job, place) => {
          if (!named.size || named.has(place)) outcomes.set(job, raise(named.get(place) ?? error));
        });
        rest = named.size ? rest.filter((job, place) => !named.has(place)) : [];
      }
    }
    return outcomes;
  }

  async function askForBatch(jobs) {
    const { tickets } = await request("attachments/presigned/batch", {
      method: "POST",
      body: { files: jobs.map((job) => job.body) },
      headers: { "Idempotency-Key": makeKey() },
      isRepeatable: true,
      onRetry: (...facts) => jobs.forEach((job) => job.options.onRetry?.(...facts)),
    });
    return tickets.map(noteExpiry);
  }

  async function askAlone(job) {
    // Without the signal: an answer that comes too late names what has to be deleted.
    const ticket = await request("attachments/presigned", {
      method: "POST",
      body: job.body,
      headers: { "Idempotency-Key": job.key },
      isRepeatable: true,
      onRetry: job.options.onRetry,
    });
    return noteExpiry(ticket);
  }

  /** A fresh form. The job's own key gives the same attachment again; a batch's would give all. */
  function presignAgain(job) {
    const before = job.isInBatch ? discard(job) : Promise.resolve();
    job.isInBatch = false;
    job.ticket = before.then(() => askAlone(job));
    job.ticket.catch(() => {});
  }

  async function describe({ file, options }) {
    await checkReadable(file); // a folder that was dropped is not
    const filename = options.filename ?? file.name ?? "file";
    const body = {
      filename,
      content_type: options.contentType ?? chooseContentType(filename, file.type),
      size_bytes: file.size,
    };
    if (options.messageId != null) body.message_id = options.messageId;
    if (options.metadata) body.metadata = options.metadata;
    if (file.size && file.size <= checksumMaxBytes && globalThis.crypto?.subtle) {
      body.checksum_sha256 = await hash(file);
    }
    return body;
  }

  async function postOnce(job, ticket) {
    const form = new FormData();
    for (const [name, value] of Object.entries(ticket.fields)) form.append(name, value);
    form.append("file", job.file, job.body.filename); // the last one
    const { size } = job.file;
    const onProgress = (loaded) => job.options.onProgress?.({ loaded, total: size });
    onProgress(0);
    const answer = await postForm(ticket.url, form, { size, signal: job.signal, onProgress });
    if (answer.status === 0) await checkReadable(job.file);
    const isDown = answer.status === 0 || answer.status === 429 || answer.status >= 500;
    if (isDown && !hasExpired(ticket)) throw describeFailure(answer);
    if (answer.isOk) onProgress(size);
    return answer;
  }

  async function confirm(job) {
    const { attachment_id } = await job.ticket;
    try {
      return await request("attachments/confirm", {
        method: "POST",
        body: { attachment_id },
        isRepeatable: true,
        signal: job.signal,
        onRetry: job.options.onRetry,
      });
    } catch (error) {
      if (error?.status === 422) error.attachment = await get(attachment_id).catch(() => null);
      throw error;
    }
  }

  /** Look again until workers have judged it, however long they, or the network, are away. */
  async function settle(job, confirmed) {
    const { signal, onRetry } = job.options;
    let attachment = confirmed;
    for (let waitMs = FIRST_LOOK_MS; ; waitMs = Math.min(waitMs * 1.5, MAX_PAUSE_MS)) {
      if (attachment.error) throw describeVerdict(attachment);
      setState(job, attachment.status, attachment);
      if (attachment.status === "ready") return attachment;
      await pause(waitMs, signal);
      attachment = await get(attachment.id, { signal, onRetry, patienceSeconds: Infinity });
    }
  }

  function get(id, options = {}) {
    return request(`attachments/${id}`, options);
  }

  async function remove(id, options = {}) {
    try {
      await request(`attachments/${id}`, { method: "DELETE", keepalive: true, ...options });
    } catch (error) {
      if (error.status !== 404) throw error;
    }
  }

  /** Delete what an upload that was given up has begun; the purge does it where this fails. */
  async function discard(job) {
    try {
      const ticket = await job.ticket;
      if (ticket) await remove(ticket.attachment_id);
    } catch {
      // Nobody waits for it.
    }
  }

  return { upload, get, remove, request };
}

function setState(job, state, attachment = null) {
  if (job.state === state) return;
  job.state = state;
  job.options.onState?.(state, attachment);
}

// The API

function makeRequest({ baseUrl, getHeaders, csrfToken, patienceSeconds }) {
  const root = baseUrl.replace(/\/$/, "");
  const page = globalThis.location;
  const isSameOrigin = Boolean(page) && new URL(root, page.href).origin === page.origin;

  async function send(path, call, isRefused) {
    const { method, body, headers, signal, keepalive } = call;
    /** @type {RequestInit} */
    const options = {
      method,
      signal,
      keepalive,
      credentials: isSameOrigin ? "same-origin" : "omit",
      headers: {
        ...describeBody(body),
        ...describeLanguage(),
        ...(isSameOrigin && method !== "GET" ? describeCsrf(csrfToken) : {}),
        ...(await getHeaders?.({ isRefused })),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    };
    let response, text;
    try {
      response = await fetch(`${root}/${path}`, options);
      text = await response.text();
    } catch (cause) {
      signal?.throwIfAborted();
      throw new AttachmentError({
        code: "network_error",
        detail: "The server does not answer.",
        cause,
      });
    }
    return readAnswer(response, text);
  }

  return async function request(path, /** @type {any} */ options = {}) {
    const call = { method: "GET", patienceSeconds, ...options };
    const { isRepeatable = call.method !== "POST", signal, onRetry } = call;
    const attempt = async () => {
      try {
        return await send(path, call, false);
      } catch (error) {
        if (error?.status !== 401 || !getHeaders) throw error;
        return send(path, call, true);
      }
    };
    const patienceMs = call.patienceSeconds * 1000;
    return persist(attempt, { isRepeatable, signal, onRetry, patienceMs });
  };
}

function describeBody(body) {
  return body === undefined ? {} : { "Content-Type": "application/json" };
}

/** Errors come in the language of the page, not in that of the browser. */
function describeLanguage() {
  const language = globalThis.document?.documentElement.lang;
  return language ? { "Accept-Language": language } : {};
}

function describeCsrf(csrfToken) {
  const token = typeof csrfToken === "function" ? csrfToken() : csrfToken;
  return token ? { "X-CSRFToken": token } : {};
}

/** From a field of the page, which is there with any of Django's settings, or else the cookie. */
function readCsrfToken() {
  const page = globalThis.document;
  /** @type {HTMLInputElement | undefined} */
  const field = page?.querySelector("input[name=csrfmiddlewaretoken]");
  return field?.value || /(?:^|;\s*)csrftoken=([^;]+)/.exec(page?.cookie ?? "")?.[1] || null;
}

function readAnswer(response, text) {
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
    if (response.ok) return data;
  } catch {
    // The page of a proxy, or of a login.
  }
  throw describeAnswer(response, Array.isArray(data?.errors) ? data.errors : []);
}

function describeAnswer(response, errors) {
  const [first] = errors;
  return new AttachmentError({
    code: first?.code ?? "bad_answer",
    detail: first?.detail ?? `The server answered ${response.status}.`,
    attr: first?.attr,
    status: response.status,
    errors,
    requestId: response.headers.get("X-Request-ID"),
    retryAfterMs: readRetryAfter(response.headers),
  });
}

/** Null unless it asks to wait: for so many seconds, or until a moment by the server's clock. */
function readRetryAfter(headers) {
  const text = headers.get("Retry-After") ?? "";
  const now = Date.parse(headers.get("Date")) || Date.now();
  const ms = /^[\d.\s]+$/.test(text) ? Number.parseFloat(text) * 1000 : Date.parse(text) - now;
  return ms > 0 ? ms : null;
}

/** The errors of a batch by the place of their file, each as if its file had come alone. */
function findNamed(error) {
  const named = new Map();
  for (const { attr, ...others } of error.errors ?? []) {
    const [, place, name] = /^files\.(\d+)\.?(.*)$/.exec(attr ?? "") ?? [];
    if (place === undefined || named.has(Number(place))) continue;
    const single = { ...others, attr: name || null };
    const { status, requestId } = error;
    named.set(
      Number(place),
      new AttachmentError({ ...single, status, requestId, errors: [single] }),
    );
  }
  return named;
}

function describeVerdict(attachment) {
  return new AttachmentError({ ...attachment.error, status: 422, attachment });
}

/** Repeat what failed for a time. A throttled call passes once its time is over. */
async function persist(attempt, { isRepeatable = true, patienceMs, signal, onRetry }) {
  let leftMs = patienceMs;
  for (let pauseMs = 1000; ; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
    signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (!error?.isTemporary) throw error;
      if (!isRepeatable && UNCERTAIN_STATUS.has(error.status)) throw error;
      const waitMs = error.retryAfterMs ?? pauseMs;
      if (error.status !== 429 || error.retryAfterMs === null) leftMs -= waitMs;
      if (leftMs < 0 || waitMs > patienceMs) throw error;
      onRetry?.(error, waitMs / 1000);
      await pause(waitMs, signal);
    }
  }
}

// The store

/** `{status, text, isOk}`; status 0 if there was no answer. Rejects if aborted. */
function postForm(url, form, options) {
  const isOwnOrigin = globalThis.location && new URL(url).origin === globalThis.location.origin;
  // XMLHttpRequest would send the site's cookies to a store of the same origin.
  return globalThis.XMLHttpRequest && !isOwnOrigin
    ? postByXhr(url, form, options)
    : postByFetch(url, form, options);
}

async function postByFetch(url, form, { signal }) {
  try {
    const response = await fetch(url, {
      method: "POST",
      body: form,
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal,
    });
    return { status: response.status, text: await response.text(), isOk: response.ok };
  } catch {
    signal?.throwIfAborted();
    return { status: 0, text: "", isOk: false };
  }
}

function postByXhr(url, form, { size, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason); // by whoever was told of the progress
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    let stall = setTimeout(abort, STALL_MS);
    xhr.upload.onprogress = ({ loaded, total }) => {
      clearTimeout(stall);
      stall = setTimeout(abort, STALL_MS);
      onProgress(Math.max(0, loaded - (total - size))); // the fields come before the file
    };
    xhr.onloadend = () => {
      clearTimeout(stall);
      signal?.removeEventListener("abort", abort);
      if (signal?.aborted) return reject(signal.reason);
      const { status, responseText: text } = xhr;
      resolve({ status, text, isOk: status >= 200 && status < 300 });
    };
    signal?.addEventListener("abort", abort);
    xhr.open("POST", url);
    xhr.send(form);
  });
}

function describeFailure({ status }) {
  return status
    ? new AttachmentError({ code: "storage_unavailable", detail: `The store answered ${status}.`, status: 503 })
    : new AttachmentError({ code: "network_error", detail: "The store does not answer." });
}

function describeRefusal({ status, text }, isOver) {
  if (isOver) {
    const detail = "The form expires before the file has arrived.";
    return new AttachmentError({ code: "upload_expired", detail, status });
  }
  const message = /<Message>([^<]*)</.exec(text)?.[1] ?? `status ${status}`;
  const detail = `The store refused the file: ${message}`;
  return new AttachmentError({ code: "store_refused", detail, status });
}

/** `expires_in` counts by our own clock: that of the device may be wrong. */
function noteExpiry(ticket) {
  return { ...ticket, endsAt: performance.now() + ticket.expires_in * 1000 };
}

function hasExpired(ticket) {
  return performance.now() >= ticket.endsAt;
}

// Files, keys and time

async function hash(file) {
  const bytes = await file.arrayBuffer().catch(rejectUnreadable);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return btoa(String.fromCharCode(...digest));
}

/** Browsers tell of a file that was changed or removed as they tell of a lost connection. */
async function checkReadable(file) {
  await file.slice(0, 1).arrayBuffer().catch(rejectUnreadable);
}

function rejectUnreadable(cause) {
  const detail = "The file cannot be read, or was changed meanwhile.";
  throw new AttachmentError({ code: "file_unreadable", detail, status: 400, cause });
}

/** crypto.randomUUID is missing on pages of plain http. */
function makeKey() {
  return crypto.randomUUID?.() ?? crypto.getRandomValues(new Uint32Array(4)).join("-");
}

function raise(error) {
  return () => {
    throw error;
  };
}

function pause(ms, signal) {
  return untilAborted(new Promise((resolve) => setTimeout(resolve, ms)), signal);
}

function untilAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave, { once: true });
    promise
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", leave));
  });
}
