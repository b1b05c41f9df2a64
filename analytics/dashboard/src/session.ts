/**
 * The login of this tab. The access token is in memory only. The refresh token is in a cookie that no script can read;
 * a reload gets a new access token through it. docs/security.md says why nothing is in localStorage.
 */

import { signal } from "@preact/signals";
import type { Tokens, User } from "./contract";

export interface Session {
  tokens: Tokens;
  user: User;
}

/** Set while a logout has not reached the server, so that a reload does not use the cookie, which is still there. */
const LOGOUT_OPEN = "countline.logout-open";

export class SessionKeeper {
  readonly session = signal<Session | null>(null);
  /**
   * A login of a user who has to do something before the session begins: replace a one-time password, or set up the
   * second factor that a role requires.
   */
  readonly unfinished = signal<Session | null>(null);
  /** True until it is known whether the browser has a login. */
  readonly restoring = signal(true);
  /** Message for the login form if the session ended by itself; null after a logout. */
  readonly endedBecause = signal<string | null>(null);

  constructor(private readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem">) {}

  /** Begins a session, or asks first for what the user has to do before. */
  begin(session: Session): void {
    const { must_change_password, must_set_up_second_factor } = session.user;
    const unfinished = must_change_password || must_set_up_second_factor || false;
    this.storage.removeItem(LOGOUT_OPEN);
    this.endedBecause.value = null;
    this.unfinished.value = unfinished ? session : null;
    this.session.value = unfinished ? null : session;
    this.restoring.value = false;
  }

  end(because: string | null): void {
    this.endedBecause.value = because;
    this.unfinished.value = null;
    this.session.value = null;
    this.restoring.value = false;
  }

  get logoutIsOpen(): boolean {
    return this.storage.getItem(LOGOUT_OPEN) !== null;
  }

  set logoutIsOpen(open: boolean) {
    if (open) this.storage.setItem(LOGOUT_OPEN, "1");
    else this.storage.removeItem(LOGOUT_OPEN);
  }
}
