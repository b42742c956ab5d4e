/** Uploads files to a server that runs `attachments`: types of client.js. */

export interface ClientOptions {
  /** Where the API is; absolute in Node and for another origin. Default: "/api/v1". */
  baseUrl?: string;
  /**
   * Headers of each call of the API, as `{ Authorization: "Bearer ..." }`. After a 401 it is asked
   * once more with `isRefused`: then refresh the token. The store never gets them.
   */
  getHeaders?: (call: { isRefused: boolean }) => HeadersRecord | Promise<HeadersRecord>;
  /**
   * The CSRF token of a Django session, sent to an API of the page's own origin alone. Default: the
   * field `csrfmiddlewaretoken` of the page, or else the cookie `csrftoken`.
   */
  csrfToken?: string | (() => string | null);
  /** So many files are sent at once; the others wait. Default: 4. */
  concurrency?: number;
  /** Files up to this size are sent with their SHA-256. Default: 16 MiB; 0: none. */
  checksumMaxBytes?: number;
  /** For how many seconds of waiting a call that fails is repeated. Default: 180. */
  patienceSeconds?: number;
}

export type HeadersRecord = Record<string, string>;

/** Makes a client. It keeps a queue, so one for a page is enough. */
export function createClient(options?: ClientOptions): Client;

export interface Client {
  /**
   * Upload a file and wait until it is ready. Rejects with `AttachmentError`, or with the reason of
   * the signal. What was begun is deleted from the server, unless the server judged the file.
   *
   * Files given at the same moment share a call for their forms.
   */
  upload(file: File | Blob, options?: UploadOptions): Promise<Attachment>;
  /** The attachment as it is now: with a link that works, and what was found in the file. */
  get(id: string, options?: RequestOptions): Promise<Attachment>;
  /** Delete it. An attachment that does not exist counts as deleted. */
  remove(id: string, options?: RequestOptions): Promise<void>;
  /**
   * Any other call of the API, with the same headers, errors and retries: its JSON, or null. Not
   * repeated if the server may have done it, unless `isRepeatable`.
   */
  request<Answer = unknown>(path: string, options?: RequestOptions): Promise<Answer>;
}

export interface UploadOptions {
  /** The message that the file will hang on; it has to exist. */
  messageId?: string | number | null;
  /** A JSON object of your own, at most 8 KiB. */
  metadata?: Record<string, unknown> | null;
  /** Aborts the upload. */
  signal?: AbortSignal | null;
  /** How much of the file was sent. Begins anew when the file has to be sent again. */
  onProgress?: (progress: Progress) => void;
  /** What happens to the file. `attachment` is there from the answer of the confirm on. */
  onState?: (state: UploadState, attachment: Attachment | null) => void;
  /** Something failed for now, and is tried again after so many seconds. */
  onRetry?: (error: AttachmentError, seconds: number) => void;
  /** Default: the name of the file. A Blob has none. */
  filename?: string;
  /** Default: what `chooseContentType` says. */
  contentType?: string;
}

/** Bytes. Where the browser does not tell, as in Node, only the beginning and the end. */
export interface Progress {
  loaded: number;
  total: number;
}

/**
 * `queued`: waits for other files. `sending`: on its way to the store. `verifying`: the server looks
 * at it. `scanning`: it waits for the virus scanner. `ready`: as the promise is kept.
 */
export type UploadState = "queued" | "sending" | "verifying" | "scanning" | "ready";

export interface RequestOptions {
  /** Default: GET. */
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Sent as JSON. */
  body?: unknown;
  headers?: HeadersRecord;
  signal?: AbortSignal | null;
  /** The call goes on when the page is left. */
  keepalive?: boolean;
  /** The server may be asked twice. Default: true for all methods but POST. */
  isRepeatable?: boolean;
  onRetry?: (error: AttachmentError, seconds: number) => void;
  /** Default: that of the client. */
  patienceSeconds?: number;
}

export interface Attachment {
  id: string;
  user_id: string | number;
  message_id: string | number | null;
  filename: string;
  content_type: string;
  size_bytes: number | null;
  checksum_sha256: string | null;
  status: "pending" | "verifying" | "scanning" | "ready" | "rejected" | "infected";
  metadata: Record<string, unknown>;
  media: { width?: number; height?: number; duration_seconds?: number; page_count?: number };
  created_at: string;
  confirmed_at: string | null;
  /** Null until ready. It may be signed and expire: see `download_expires_at`. */
  download_url: string | null;
  download_expires_at: string | null;
  thumbnail_url: string | null;
  error: { code: string; detail: string } | null;
}

export interface ApiError {
  code: string;
  detail: string;
  attr: string | null;
}

export class AttachmentError extends Error {
  constructor(facts: {
    code: string;
    detail: string;
    status?: number;
    attr?: string | null;
    errors?: ApiError[];
    attachment?: Attachment | null;
    requestId?: string | null;
    retryAfterMs?: number | null;
    cause?: unknown;
  });
  /**
   * The code of the API (docs/clients.md lists them), or one of the client: `network_error`,
   * `store_refused`, `file_unreadable`, `bad_answer`.
   */
  readonly code: string;
  /** For people; that of the API is in the language of the page. */
  readonly detail: string;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** The field at fault. */
  readonly attr: string | null;
  /** All that the API said was wrong. */
  readonly errors: ApiError[];
  /** The attachment that the server refused, after it had looked into the file. */
  readonly attachment: Attachment | null;
  /** Of the answer: name it when you ask the operator for help. */
  readonly requestId: string | null;
  /** When the server wants to be asked again. */
  readonly retryAfterMs: number | null;
  /** The same call may pass later. */
  readonly isTemporary: boolean;
}

/**
 * The content type to declare for a file: what the browser says if it is a canonical name, else what
 * the extension says, else what the browser says.
 */
export function chooseContentType(filename: string, type?: string): string;
