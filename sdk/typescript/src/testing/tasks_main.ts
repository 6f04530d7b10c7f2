/** A main of a project, for tests that need the types of its functions. */
import { Multinode } from "../definition/multinode.js";

// Code that runs when this module is loaded: an application that imports only types must not run it.
const loads = globalThis as { [key: symbol]: number | undefined };
const LOADED = Symbol.for("multinode.testing.tasksMainLoaded");
loads[LOADED] = (loads[LOADED] ?? 0) + 1;

export const mn = new Multinode();

export const add = mn.function({ cpu: 1 }, async (a: number, b: number) => a + b);

export const count = mn.function(async function* (to: number) {
  for (let n = 1; n <= to; n += 1) yield { n };
});

/** Calls its sibling. */
export const addTwice = mn.function(async (a: number) => (await add.callRemote(a, a)) + (await add.callRemote(a, a)));
