import { describe, expect, test } from "vitest";
import { Api, ApiError, errorText } from "../src/api";
import { SessionKeeper } from "../src/session";

const FAR = "2099-01-01T00:00:00Z";

function tokens(number: number, expires = FAR) {
  return {
    access_token: `a${number}`,
    access_expires_at: expires,
    refresh_expires_at: FAR,
  };
}

function memory() {
  const all = new Map<string, string>();
  return {
    all,
    getItem: (key: string) => all.get(key) ?? null,
    setItem: (key: string, value: string) => void all.set(key, value),
    removeItem: (key: string) => void all.delete(key),
  };
}

type Answer = { status: number; body: unknown };

function harness(answer: (path: string, init: RequestInit) => Answer | Error, expires = FAR) {
  const calls: string[] = [];
  const storage = memory();
  const sessions = new SessionKeeper(storage);
  sessions.begin({ tokens: tokens(1, expires), user: { user_id: "u", username: "admin", roles: [] } });
  const api = new Api(sessions, async (input, init = {}) => {
    const path = String(input).replace("/api/v1/", "");
    const bearer = (init.headers as Record<string, string>).authorization ?? "";
    calls.push(`${init.method} ${path} ${bearer}`.trim());
    const given = answer(path, init);
    if (given instanceof Error) throw given;
    return new Response(JSON.stringify(given.body), { status: given.status });
  });
  return { api, sessions, calls, storage };
}

const good = (data: unknown): Answer => ({ status: 200, body: { success: true, data } });
const bad = (status: number, message: string, hint = ""): Answer => ({
  status,
  body: { success: false, request_id: "q1", errors: [{ code: "c", field: "", message, hint }] },
});

describe("the API", () => {
  test("reads all pages", async () => {
    const { api } = harness((path) =>
      path.includes("page_token=next")
        ? good({ cameras: [{ camera_id: "b" }], next_page_token: "" })
        : good({ cameras: [{ camera_id: "a" }], next_page_token: "next" }),
    );
    expect((await api.cameras()).map((camera) => camera.camera_id)).toEqual(["a", "b"]);
  });

  test("opens a session only after a one-time password is replaced", async () => {
    const user = { user_id: "u", username: "vera", roles: ["viewer"], must_change_password: true };
    const { api, sessions, calls } = harness((path) => {
      if (path === "auth/login") return good({ tokens: tokens(5), user });
      return path === "auth/refresh" ? good({ tokens: tokens(6) }) : good({});
    });
    sessions.end(null);
    await api.login("vera", "once");
    expect(sessions.session.value).toBeNull();
    const login = sessions.unfinished.value;
    expect(login).not.toBeNull();
    if (login) await api.choosePassword(login, "three uncommon turnips");
    expect(calls.slice(-2)).toEqual(["POST auth/password Bearer a5", "POST auth/refresh"]);
    expect(sessions.session.value?.tokens.access_token).toBe("a6");
    expect(sessions.unfinished.value).toBeNull();
  });

  test("opens a session only after the code of a second factor", async () => {
    const user = { user_id: "u", username: "vera", roles: ["viewer"] };
    const challenge = { challenge: "c1", expires_at: FAR };
    const bodies: unknown[] = [];
    const { api, sessions, calls } = harness((path, init) => {
      bodies.push(JSON.parse(String(init.body)));
      return path === "auth/login" ? good({ second_factor: challenge }) : good({ tokens: tokens(5), user });
    });
    sessions.end(null);
    expect(await api.login("vera", "right")).toEqual(challenge);
    expect([sessions.session.value, sessions.unfinished.value]).toEqual([null, null]);
    await api.finishLogin(challenge, "123456");
    expect(calls).toEqual(["POST auth/login", "POST auth/login/factor"]);
    expect(bodies[1]).toEqual({ challenge: "c1", code: "123456" });
    expect(sessions.session.value?.tokens.access_token).toBe("a5");
  });

  test("asks for the second factor that a role requires, also in the middle of a session", async () => {
    const user = { user_id: "u", username: "vera", roles: ["viewer"], must_set_up_second_factor: true };
    const pending = `h.${btoa(JSON.stringify({ sub: "u", pending: "set up a second factor" }))}.s`;
    const { api, sessions, calls } = harness((path) => {
      if (path === "auth/me") return good({ user });
      if (path === "auth/refresh") return good({ tokens: { ...tokens(2), access_token: pending } });
      return good({ recovery_codes: ["r"] });
    });
    await api.renew();
    expect(sessions.session.value).toBeNull();
    expect(sessions.unfinished.value?.user).toEqual(user);
    expect(await api.confirmFactor("123456")).toEqual(["r"]);
    expect(calls.at(-1)).toBe(`POST auth/factor/confirm Bearer ${pending}`);
    user.must_set_up_second_factor = false;
    await api.proceed();
    expect([sessions.session.value?.user, sessions.unfinished.value]).toEqual([user, null]);
  });

  test("restores the login of the browser's cookie, and its user", async () => {
    const user = { user_id: "u", username: "vera", roles: ["viewer"] };
    const { api, sessions, calls } = harness((path) => good(path === "auth/me" ? { user } : { tokens: tokens(3) }));
    await api.restore();
    expect(calls).toEqual(["POST auth/refresh", "GET auth/me Bearer a3"]);
    expect(sessions.session.value).toEqual({ tokens: tokens(3), user });
  });

  test("shows the login form when the browser has no login, and says so only when the server is away", async () => {
    for (const [answer, because] of [
      [bad(401, "no"), null],
      [bad(503, "away"), "away (request q1)"],
    ] as const) {
      const { api, sessions } = harness(() => answer);
      await api.restore();
      expect([sessions.session.value, sessions.restoring.value]).toEqual([null, false]);
      expect(sessions.endedBecause.value).toBe(because);
    }
  });

  test("shows the user of the cookie after another user has logged in in another tab", async () => {
    const other = { user_id: "v", username: "vera", roles: ["viewer"] };
    const token = `h.${btoa(JSON.stringify({ sub: "v" }))}.s`;
    const { api, sessions } = harness((path) =>
      path === "auth/me" ? good({ user: other }) : good({ tokens: { ...tokens(2), access_token: token } }),
    );
    await api.renew();
    expect(sessions.session.value?.user).toEqual(other);
  });

  test("renews a token that is about to expire, once for concurrent requests", async () => {
    const soon = new Date(Date.now() + 10_000).toISOString();
    const { api, calls } = harness((path) => (path === "auth/refresh" ? good({ tokens: tokens(2) }) : good({})), soon);
    await Promise.all([api.sites(), api.cameras()]);
    expect(calls.filter((call) => call.includes("refresh"))).toHaveLength(1);
    expect(calls.filter((call) => call.endsWith("Bearer a2"))).toHaveLength(2);
  });

  test("renews a token that the server refuses, and repeats the request", async () => {
    const { api, calls } = harness((path, init) => {
      if (path === "auth/refresh") return good({ tokens: tokens(2) });
      return (init.headers as Record<string, string>).authorization === "Bearer a2" ? good({}) : bad(401, "no");
    });
    await api.sites();
    expect(calls).toHaveLength(3);
  });

  test("ends the session with a reason when the refresh token is refused", async () => {
    const { api, sessions, storage } = harness(() => bad(401, "no"));
    await expect(api.sites()).rejects.toBeInstanceOf(ApiError);
    expect(sessions.session.value).toBeNull();
    expect(sessions.endedBecause.value).toMatch(/Session expired/);
    expect(storage.all.size).toBe(0);
  });

  test("keeps the session when the server cannot be reached", async () => {
    const soon = new Date(Date.now() + 10_000).toISOString();
    const { api, sessions } = harness(() => new TypeError("Failed to fetch"), soon);
    await expect(api.sites()).rejects.toMatchObject({ status: 0, code: "unreachable" });
    expect(sessions.session.value).not.toBeNull();
  });

  test("reports the server's message, its hint and the request's id", async () => {
    const { api } = harness(() => bad(503, "the database does not answer", "try again later"));
    const error = await api.sites().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ message: "the database does not answer", status: 503, requestId: "q1" });
    expect(errorText(error)).toBe("the database does not answer; try again later (request q1)");
  });

  test("reports a response that is not JSON as an error", async () => {
    const { api } = harness(() => good({}));
    const broken = new Api(new SessionKeeper(memory()), async () => new Response("<html>", { status: 502 }));
    await expect(broken.login("a", "b")).rejects.toMatchObject({ status: 502 });
    await expect(api.sites()).resolves.toEqual([]);
  });

  test("ends the session at logout even if the server cannot be reached, and repeats the logout before a reload", async () => {
    let away = true;
    const { api, sessions, calls } = harness((path) => {
      if (away) return new TypeError("Failed to fetch");
      return path === "auth/logout" ? good({}) : bad(401, "no");
    });
    await api.logout();
    expect(sessions.session.value).toBeNull();
    await api.restore();
    expect(calls).toEqual(["POST auth/logout", "POST auth/logout"]);
    away = false;
    await api.restore();
    expect(calls.slice(2)).toEqual(["POST auth/logout", "POST auth/refresh"]);
    expect([sessions.session.value, sessions.logoutIsOpen]).toEqual([null, false]);
  });
});
