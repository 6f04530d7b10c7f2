// A project of functions that keep no worker warm: each execution gets a fresh one, and answers when its first line ran.
import { Multinode } from "multinode";

export const mn = new Multinode();

const firstLine = () => Number(process.hrtime.bigint()) / 1e6;

/** One CPU, as what the yardstick runs may take. */
export const fresh = mn.function({ cpu: 1 }, firstLine);

/** The default: a tenth of a CPU. */
export const freshOfDefaults = mn.function(firstLine);
