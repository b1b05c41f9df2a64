/**
 * Who is logged in, for this tab: tokens in memory and in sessionStorage, so that a reload does not ask again and
 * closing the tab forgets them.
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
  /** Why the login form is shown although somebody was logged in. */
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
      // Written by another version of this page: log in anew.
      this.storage.removeItem(KEY);
      return null;
    }
  }
}
