/** Who shows the token of an execution. */
import type { Authority } from "../platform/rpc/principal.js";
import type { InvocationDeps } from "./deps.js";

export function executionAuthority({ tokens, db, store }: InvocationDeps): Authority {
  return async (token) => {
    const named = tokens.verify(token);
    if (named === undefined) return undefined;
    const [stored] = await db.read((tx) => store.load(tx, [named.invocationId]));
    // The token dies with its execution.
    if (stored?.life.current?.id !== named.executionId) return undefined;
    const { projectName, versionId } = stored.identity;
    return { kind: "execution", ...named, projectName, versionId };
  };
}
