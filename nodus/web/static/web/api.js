// The API of this site.

export const ROOT = "/api/v1";

/** Give the answer, or throw an error with the API's `code` and `detail`. */
export async function call(path, { method = "GET", body } = {}) {
  const headers = { "Accept-Language": document.documentElement.lang };
  if (method !== "GET") {
    headers["Content-Type"] = "application/json";
    headers["X-CSRFToken"] = document.querySelector("[name=csrfmiddlewaretoken]").value;
  }
  let response;
  try {
    response = await fetch(`${ROOT}/${path}`, { method, headers, body: JSON.stringify(body) });
  } catch {
    throw makeError({ code: "network_error" });
  }
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  throw makeError(answer?.errors?.[0] ?? { code: "bad_answer" });
}

function makeError({ code, detail }) {
  return Object.assign(new Error(detail ?? code), { code, detail });
}
