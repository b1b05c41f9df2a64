/**
 * The login of this tab. Tokens are in memory and in sessionStorage: a reload keeps the login, closing the tab ends it.
 */

import { signal } from "@preact/signals";
import type { Tokens, User } from "./contract";

export interface Session {
  tokens: Tokens;
  user: User;
}

const KEY = "countline.session";

export class SessionKeeper {
  readonly session = signal<Session | null>(null);
  /** Message for the login form if the session ended by itself; null after a logout. */
  readonly endedBecause = signal<string | null>(null);

  constructor(private readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem">) {
    this.session.value = this.stored();
  }

  begin(session: Session): void {
    this.endedBecause.value = null;
    this.keep(session);
  }

  renew(tokens: Tokens): void {
    const session = this.session.value;
    if (session) this.keep({ ...session, tokens });
  }

  end(because: string | null): void {
    this.storage.removeItem(KEY);
    this.endedBecause.value = because;
    this.session.value = null;
  }

  private keep(session: Session): void {
    this.storage.setItem(KEY, JSON.stringify(session));
    this.session.value = session;
  }

  private stored(): Session | null {
    const text = this.storage.getItem(KEY);
    if (text === null) return null;
    try {
      const session = JSON.parse(text) as Session;
      return Date.parse(session.tokens.refresh_expires_at) > Date.now() ? session : null;
    } catch {
      // Another version of this page wrote the session: require a new login.
      this.storage.removeItem(KEY);
      return null;
    }
  }
}
