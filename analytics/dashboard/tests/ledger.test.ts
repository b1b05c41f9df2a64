import { describe, expect, test } from "vitest";
import type { CrossingMessage } from "../src/contract";
import { Ledger } from "../src/ledger";
import { row, snapshot } from "./messages";

describe("the ledger of today's totals", () => {
  test("counts rows that follow the snapshot one by one", () => {
    const ledger = new Ledger();
    ledger.snapshot(snapshot(10, 4, 2));
    expect(ledger.crossing(row(11, 5, 2))).toBe("counted");
    expect(ledger.crossing(row(12, 5, 3, "out"))).toBe("counted");
    expect(ledger.total("gate", "door")).toEqual({ in: 5, out: 3 });
    expect(ledger.sum()).toEqual({ in: 5, out: 3 });
    expect(ledger.sequence).toBe(12);
  });

  test("accepts no row before the first snapshot", () => {
    const ledger = new Ledger();
    expect(ledger.crossing(row(1, 1, 0))).toBe("gap");
    expect(ledger.sum()).toEqual({ in: 0, out: 0 });
  });

  test("counts a repeated row once", () => {
    const ledger = new Ledger();
    ledger.snapshot(snapshot(10, 4, 2));
    ledger.crossing(row(11, 5, 2));
    expect(ledger.crossing(row(11, 5, 2))).toBe("repeated");
    expect(ledger.crossing(row(9, 4, 2))).toBe("repeated");
    expect(ledger.total("gate", "door")).toEqual({ in: 5, out: 2 });
  });

  test("reports a missing row and does not change the totals", () => {
    const ledger = new Ledger();
    ledger.snapshot(snapshot(10, 4, 2));
    expect(ledger.crossing(row(12, 6, 2))).toBe("gap");
    expect(ledger.total("gate", "door")).toEqual({ in: 4, out: 2 });
    expect(ledger.sequence).toBe(10);
  });

  test("accepts numbers that are missing because the login may not see their cameras", () => {
    const ledger = new Ledger();
    ledger.snapshot(snapshot(10, 4, 2));
    expect(ledger.crossing({ ...row(14, 5, 2), previous: 10 })).toBe("counted");
    expect(ledger.crossing({ ...row(19, 7, 2), previous: 16 })).toBe("gap");
    expect(ledger.sequence).toBe(14);
  });

  test.each([
    ["two more than before", row(11, 6, 2)],
    ["less than before", row(11, 3, 2)],
    ["another direction moved", row(11, 5, 3)],
  ])("reports a contradiction: %s", (_, message) => {
    const ledger = new Ledger();
    ledger.snapshot(snapshot(10, 4, 2));
    expect(ledger.crossing(message)).toBe("contradiction");
    expect(ledger.total("gate", "door")).toEqual({ in: 4, out: 2 });
  });

  test("does not count a row of another day today", () => {
    const ledger = new Ledger();
    ledger.snapshot(snapshot(10, 4, 2));
    expect(ledger.crossing(row(11, 4, 2))).toBe("noted");
    expect(ledger.sequence).toBe(11);
  });

  test("starts again from a snapshot, as at midnight", () => {
    const ledger = new Ledger();
    ledger.snapshot(snapshot(10, 4, 2));
    ledger.crossing(row(11, 5, 2));
    ledger.snapshot(snapshot(11, 0, 0));
    expect(ledger.total("gate", "door")).toEqual({ in: 0, out: 0 });
    expect(ledger.crossing(row(12, 1, 0))).toBe("counted");
  });

  test("starts a line that is not in the snapshot at zero", () => {
    const ledger = new Ledger();
    ledger.snapshot({ ...snapshot(10), cameras: {} });
    expect(ledger.crossing(row(11, 1, 0))).toBe("counted");
    expect(ledger.lines("gate")).toEqual(["door"]);
  });

  test("ends with the server's totals when rows are lost, repeated and resumed", () => {
    // A seeded generator, so that a failure can be reproduced.
    for (let seed = 1; seed <= 200; seed++) {
      let state = seed;
      const random = () => {
        state = (state * 48271) % 2147483647;
        return state / 2147483647;
      };
      const rows: CrossingMessage[] = [];
      let [came, went] = [0, 0];
      for (let sequence = 1; sequence <= 60; sequence++) {
        const direction = random() < 0.5 ? "in" : "out";
        if (direction === "in") came++;
        else went++;
        rows.push(row(sequence, came, went, direction));
      }
      const ledger = new Ledger();
      ledger.snapshot(snapshot(0));
      for (let i = 0; i < rows.length; i++) {
        if (random() < 0.2) continue;
        let outcome = ledger.crossing(rows[i] as CrossingMessage);
        if (outcome === "gap") {
          // Like the server after `after`: resend all later rows, and here also some earlier ones.
          for (const missed of rows.slice(Math.max(0, (ledger.sequence ?? 0) - 2), i + 1))
            outcome = ledger.crossing(missed);
        }
        expect(outcome, `seed ${seed}`).toBe("counted");
      }
      for (const missed of rows.slice(ledger.sequence ?? 0)) ledger.crossing(missed);
      expect(ledger.sum(), `seed ${seed}`).toEqual({ in: came, out: went });
    }
  });
});
