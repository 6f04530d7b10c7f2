// A project of one function, without workers that are kept warm.
import { Multinode } from "multinode";

export const mn = new Multinode();

/** A fresh worker for each execution: answers when its first line ran. */
export const fresh = mn.function(() => Number(process.hrtime.bigint()) / 1e6);
