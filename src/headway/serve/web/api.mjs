/** The server's API: JSON and server-sent events. The key travels in a header, never in an address. */

/** An error that the server told, or that kept its answer from coming. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status  0: no answer came
   * @param {string | null} code
   */
  constructor(message, status, code) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

/**
 * What to show of anything that was thrown; "" for a request that was called off.
 * @param {unknown} error
 * @returns {string}
 */
export function messageOf(error) {
  if (error instanceof Error) {
    return error.name === "AbortError" ? "" : error.message;
  }
  return String(error);
}

export class Api {
  /** @param {string | null} key */
  constructor(key) {
    this.key = key;
  }

  /**
   * @param {string} path
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<any>}
   */
  async get(path, options = {}) {
    return (await this.#answer("GET", path, undefined, options.signal)).json();
  }

  /**
   * @param {string} path
   * @param {unknown} body
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<any>}
   */
  async post(path, body, options = {}) {
    return (await this.#answer("POST", path, body, options.signal)).json();
  }

  /**
   * @param {string} path
   * @returns {Promise<void>}
   */
  async remove(path) {
    await this.#answer("DELETE", path, undefined, undefined);
  }

  /**
   * The objects of a stream of server-sent events, to its end or [DONE]; POST where there is a body.
   *
   * Leaving the loop, or the signal, ends the request. An event that is {"error": {...}} with nothing else in it is
   * thrown as an ApiError.
   * @param {string} path
   * @param {unknown} [body]
   * @param {{signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<any, void, void>}
   */
  async *events(path, body, options = {}) {
    const answer = await this.#answer(body === undefined ? "GET" : "POST", path, body, options.signal);
    if (answer.body === null) {
      return;
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) {
          return;
        }
        held += value;
        const lines = held.split(/\r?\n/);
        held = lines.pop() ?? "";
        for (const line of lines) {
          if (!line.startsWith("data:")) {
            continue;
          }
          const data = line.slice(5).trim();
          if (data === "[DONE]") {
            return;
          }
          yield told(data);
        }
      }
    } finally {
      reader.cancel().catch(() => undefined);
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} body
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<Response>}
   */
  async #answer(method, path, body, signal) {
    /** @type {Record<string, string>} */
    const headers = { Accept: "application/json, text/event-stream" };
    if (this.key !== null) {
      headers["Authorization"] = `Bearer ${this.key}`;
    }
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
    }
    let answer;
    try {
      answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
    } catch (error) {
      if (error instanceof Error && error.name === "AbortError") {
        throw error;
      }
      throw new ApiError("The server does not answer. It may have been stopped, or the network is down.", 0, null);
    }
    if (!answer.ok) {
      throw await refusal(answer);
    }
    return answer;
  }
}

/**
 * @param {Response} answer
 * @returns {Promise<ApiError>}
 */
async function refusal(answer) {
  try {
    const { error } = await answer.json();
    return new ApiError(String(error.message), answer.status, error.code ?? null);
  } catch {
    return new ApiError(`The server answered ${answer.status} without a reason.`, answer.status, null);
  }
}

/**
 * @param {string} data
 * @returns {any}
 */
function told(data) {
  const event = JSON.parse(data);
  if (event !== null && typeof event === "object" && "error" in event && Object.keys(event).length === 1) {
    throw new ApiError(String(event.error.message), 200, event.error.code ?? null);
  }
  return event;
}
